"""Stair (arXiv 2605.30334): ascending in sections, with a folded window around each cut between them.

0 … n-1, 2 sections    ascending up to the window of round(n · ratio) on either side of n/2, there folded
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagewise.config.arm import Saw, Stair
from stagewise.curriculum.order import Numbers
from stagewise.curriculum.orderings.folding import folded


def order(values: NDArray[Any], settings: Stair) -> Numbers:
    return windowed(values, settings, folded)


def windowed(values: NDArray[Any], settings: Stair | Saw, within: Callable[[Numbers, int], Numbers]) -> Numbers:
    """Ascending but for the windows, whose order is `within`'s."""
    ascending = np.argsort(values, kind="stable")
    count, half = len(ascending), round(len(ascending) * settings.ratio)
    for number in range(1, settings.sections):
        middle = round(count * number / settings.sections)
        window = slice(max(0, middle - half), min(count, middle + half))
        ascending[window] = within(ascending[window].copy(), settings.layers)
    return ascending
