"""The values, in one form: numbers, and compounds, ranges, times, ratios and lists of them.

A unit that only one side names is no difference, and 60 % is 60; it is never the share 0.6.
"""

from stagewise.evaluation.scoring.forms import same
from stagewise.evaluation.scoring.values import value


def number(answer: str, expected: str) -> bool:
    left, right = value(answer), value(expected)
    return left is not None and right is not None and same(left, right)
