"""Easiest first, or hardest first: the classic curriculum (Bengio et al. 2009, doi:10.1145/1553374.1553380)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagewise.config.arm import Sorted
from stagewise.curriculum.order import Numbers


def order(values: NDArray[Any], settings: Sorted) -> Numbers:
    return np.argsort(-values if settings.descending else values, kind="stable")
