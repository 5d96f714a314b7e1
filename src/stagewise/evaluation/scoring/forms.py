r"""What a text can be worth: a number, several in one form, or mathematics with symbols; and when two are the same.

Number(Fraction(1000))                                                    $1,000
Number(Fraction(60), "percent")                                           60 %
Several("compound", (Number(1, "hour"), Number(30, "minute")))            1 hour 30 minutes
Several("time", (Number(3), Number(15)), "p")                             3:15 PM
Symbols(r"3\sqrt2", r"3\sqrt{2}")                                         3√2
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Number:
    worth: Fraction
    unit: str = ""
    """Of measure, or `percent`; nouns such as `jars` are not kept."""


@dataclass(frozen=True, slots=True)
class Several:
    form: str
    """`compound`, `range`, `list`, `ratio`, `remainder` or `time`."""
    parts: tuple[Number, ...]
    half: str = ""
    """Of the day: `am`, `pm`, or not said."""


@dataclass(frozen=True, slots=True)
class Symbols:
    """Mathematics with letters or roots in it."""

    text: str
    """Spelled in one way, by which two are compared."""
    said: str = field(compare=False)
    """As it stands in the plain text."""


Value = Number | Several | Symbols


class Reading(NamedTuple):
    value: Value | None
    """None for a calculation, and for a number that goes on into what is none."""
    start: int
    end: int


def same(left: Value, right: Value) -> bool:
    """Equal worth in one form. A unit that only one side names changes nothing; two that differ do."""
    if isinstance(left, Number) and isinstance(right, Number):
        return left.worth == right.worth and (not left.unit or not right.unit or left.unit == right.unit)
    if isinstance(left, Several) and isinstance(right, Several):
        return _same_parts(left, right)
    return isinstance(left, Symbols) and left == right


def _same_parts(left: Several, right: Several) -> bool:
    if left.form == right.form == "list":
        return Counter(part.worth for part in left.parts) == Counter(part.worth for part in right.parts)
    forms = {left.form, right.form}
    # `3 to 4` may be a ratio, and `3:15` a time.
    if len(forms) > 1 and forms not in ({"ratio", "range"}, {"ratio", "time"}):
        return False
    if left.half and right.half and left.half != right.half:
        return False
    return len(left.parts) == len(right.parts) and all(map(same, left.parts, right.parts))
