"""Measures of how an output reasons: a module each, with a function of its name.

    def steps(response: Response) -> float | None: …    # None where it has no value for this output

`KIND` is `rate` (0 or 1), `share` (from 0 to 1) or `amount` (0 or more). ∞ in the docstring: it reads the output as it
is; every other one reads it with a loop's repeats left out.
"""

import math
from collections.abc import Callable
from typing import Any

from stagewise.evaluation.structure.response import Response
from stagewise.registry import Registry, function

__all__ = ["MEASURES", "Measure"]

Measure = Callable[[Response], float | None]


def _own(reference: str, found: Any) -> Measure:
    measure: Measure = function(reference, found, ("response",), _is_number, "a finite number or None")
    return measure


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


MEASURES: Registry[Measure] = Registry("measure", _own)
