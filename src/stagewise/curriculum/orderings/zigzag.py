"""Zigzag (arXiv 2605.30334): folding with every second layer backwards, so that difficulty never jumps.

ascending 0 1 2 3 4 5 6, 3 layers    0 3 6 · 4 1 · 2 5
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagewise.config.arm import Zigzag
from stagewise.curriculum.order import Numbers


def order(values: NDArray[Any], settings: Zigzag) -> Numbers:
    return zigzagged(np.argsort(values, kind="stable"), settings.layers)


def zigzagged(ascending: Numbers, layers: int) -> Numbers:
    return np.concatenate([ascending[layer::layers][:: -1 if layer % 2 else 1] for layer in range(layers)])
