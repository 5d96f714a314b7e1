"""Round-robin: an example of each stage in turn, each stage at random; one that has no more is passed over.

stages a a a b b    a0 b0 a1 b1 a2
"""

import numpy as np
from numpy.typing import NDArray

from stagewise.curriculum.order import Numbers, permutation


def order(stages: NDArray[np.int32], salt: str) -> Numbers:
    """The order of rows, given their stages' numbers; the stages take turns in the order of their numbers."""
    turn = np.empty(len(stages), dtype=np.int64)
    for stage in np.unique(stages):
        (places,) = np.nonzero(stages == stage)
        turn[places[permutation(len(places), f"{salt}/{stage}")]] = np.arange(len(places))
    return np.lexsort((stages, turn))
