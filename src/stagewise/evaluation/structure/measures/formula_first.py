"""1 where an equation that calculates with names (`distance = speed × time`) stands before the first of those that
count, else 0; only of outputs that calculate. Our own definition of "a formula is stated before it is used".
"""

import regex

from stagewise.evaluation.structure.equations import undressed
from stagewise.evaluation.structure.response import Response

KIND = "rate"
# `distance = speed × time`, `P = 2l + 2w`: a name, and a right side that calculates with names; but not
# `d = 60 km/h × 2.5 h`, which has units only.
_FORMULA = regex.compile(
    r"\b\p{L}\w*[ \t)]*=(?!\s*\d[\d.]*\s+\p{L})[^=\n]*?"
    r"(?:\p{L}\p{M}*\)*\s*[-+×÷*/^]|[-+×÷*/^]\s*\(?\p{L})"
)


def formula_first(response: Response) -> float | None:
    stated = response.equations
    if not stated:
        return None
    formula = _FORMULA.search(undressed(response.once))
    return formula is not None and formula.start() < stated[0].at
