"""Orders of examples within an epoch, one file each.

    ordered(Sorted(sorted="steps"), stages, values_of, salt)    a permutation: the rows in this order

An ordering is a pure function of its settings and of the values of its signal, in source order; ties stay in it. A new
one is a file here, its settings in `config/arm.py`, and a line in `BY_SIGNAL`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagewise.config.arm import Folding, Interleaved, Ordering, Saw, Sorted, Stair, Zigzag
from stagewise.curriculum.order import Numbers
from stagewise.curriculum.orderings import folding, interleaved, saw, sorting, stair, zigzag

BY_SIGNAL: Mapping[type, tuple[str, Callable[[NDArray[Any], Any], Numbers]]] = {
    Sorted: ("sorted", sorting.order),
    Folding: ("folding", folding.order),
    Zigzag: ("zigzag", zigzag.order),
    Stair: ("stair", stair.order),
    Saw: ("saw", saw.order),
}


def ordered(
    settings: Ordering, stages: NDArray[np.int32], values_of: Callable[[str], NDArray[Any]], salt: str
) -> Numbers:
    """The order of rows of these stages; `values_of` gives a signal's value of each row."""
    if isinstance(settings, Interleaved):
        return interleaved.order(stages, salt)
    key, order = BY_SIGNAL[type(settings)]
    return order(values_of(getattr(settings, key)), settings)
