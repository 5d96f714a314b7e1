r"""Whether an extracted answer is the expected one, by declared rules: a module each, with a function of its name.

    MATCHERS["normalised"]("The Paris.", "paris")   ->  True
    MATCHERS["number"]("$1,000", "1000.0")          ->  True
    MATCHERS["math_verify"](r"x^2 + 1", "1 + x^2")  ->  True

Each is a pure function of the two texts, and symmetric.
"""

from collections.abc import Callable
from typing import Any

from stagewise.evaluation.scoring.verifier import MatchTimeout
from stagewise.registry import Registry, function

__all__ = ["MATCHERS", "Matcher"]

Matcher = Callable[[str, str], bool]


def _own(reference: str, found: Any) -> Matcher:
    takes, expected = ("answer", "expected"), "True or False"
    match: Matcher = function(
        reference, found, takes, lambda value: isinstance(value, bool), expected, raises=(MatchTimeout,)
    )
    return match


MATCHERS: Registry[Matcher] = Registry("matcher", _own)
