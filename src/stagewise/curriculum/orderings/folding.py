"""Folding (DELT, arXiv 2506.21545): ascending, dealt to L layers in turn; each layer is a curriculum of its own.

ascending 0 1 2 3 4 5 6, 3 layers    0 3 6 · 1 4 · 2 5
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagewise.config.arm import Folding
from stagewise.curriculum.order import Numbers


def order(values: NDArray[Any], settings: Folding) -> Numbers:
    return folded(np.argsort(values, kind="stable"), settings.layers)


def folded(ascending: Numbers, layers: int) -> Numbers:
    return np.concatenate([ascending[layer::layers] for layer in range(layers)])
