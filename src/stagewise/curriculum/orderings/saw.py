"""Saw (arXiv 2605.30334): `stair` whose windows are zigzagged and not folded."""

from typing import Any

from numpy.typing import NDArray

from stagewise.config.arm import Saw
from stagewise.curriculum.order import Numbers
from stagewise.curriculum.orderings.stair import windowed
from stagewise.curriculum.orderings.zigzag import zigzagged


def order(values: NDArray[Any], settings: Saw) -> Numbers:
    return windowed(values, settings, zigzagged)
