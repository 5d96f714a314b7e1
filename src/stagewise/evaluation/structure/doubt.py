"""Whether an equation's spelling leaves open what it says, so that it does not count.

`60 / 3/4 = 80`, `4s - 4 = 116` and `2 × 30 minutes = 1 hour` may be meant in more than one way. Whether the result is
right is never asked here: an equation with the right result and the same one with a wrong result both count, or
neither does. What is looked at is the spelling, and the values of what calculates.
"""

import re
from collections.abc import Iterable

from stagewise.evaluation.structure.side import Side
from stagewise.evaluation.structure.vocabulary import COLLECTIVE, DIMENSIONS, PAIRS, PARTS, UNIT_LETTERS, singular

# Words in the rest of a sentence that tell why a whole number is not the exact quotient.
_ROUNDED = re.compile(
    r"(?:[^.;=\n]|\.(?=\d))*?\b(?:remain\w*|left|leftover|rest|round\w*|approx\w*|nearest|about|full|whole)\b",
    re.IGNORECASE,
)
# The rest of a clause, where it is a question.
_ASKED = re.compile(r"(?:[^.,;:=≈!?\n]|\.(?=\d))*\?")


def is_doubtful(left: Side, right: Side, roughly: bool) -> bool:
    """`roughly`: the sign is ≈."""
    both = left.calculates and right.calculates
    return (
        left.doubtful
        or right.doubtful
        or (roughly and both)  # 19 × 21 ≈ 20 × 20: to which digit?
        or (right.beside and left.calculates)  # 3 + 4 = 7 (2)
        or (not left.calculates and not left.units | left.rates <= right.units | right.rates)  # 8 batches = 5.5 × 8
        or _has_two_measures(left, right)
        or _has_letters(left, right)
        or _has_cents(left, right)
        or _has_parts(left, right)
        or _has_no_division(left, right)
        or (not both and (_is_scaled(left, right) or _lacks_percent(left, right) or _is_rate(left, right)))
    )


def is_asked(text: str, end: int, stop: int) -> bool:
    """What stands in `text` from `end` on, to the end of the line at `stop`, makes it a question."""
    return _ASKED.match(text, end, stop) is not None


def is_inexact(text: str, start: int, stop: int, left: Side, right: Side) -> bool:
    """From `start` on it is said why a whole number is not the quotient: `100 / 3 = 33 (rounded)`."""
    inexact = any(side.division and side.value.denominator != 1 for side in (left, right))
    whole = any(not side.calculates and side.value.denominator == 1 for side in (left, right))
    reads = inexact and whole and right.remainder is None
    return reads and _ROUNDED.match(text, start, stop) is not None


def _has_two_measures(left: Side, right: Side) -> bool:
    """Of one dimension, which numbers alone cannot judge: `2 × 30 minutes = 1 hour`, `60 km/h × 30 minutes = 30 km`.

    Hours cancel in `60 minutes/hour × 2 hours`, and `2 hours × 60 minutes = 120 minutes` is said in minutes.
    """
    work, result = _in_order(left, right)
    inside, said = _singular(work.units), _singular(result.units)
    for dimension in DIMENSIONS:
        units, shown = (inside | said) & dimension, said & dimension
        if work.multiplies:
            units ^= _singular(work.rates) & dimension
        if len(units) > 1 and (work.adds or not work.multiplies or not shown or not shown <= inside):
            return True
    return False


def _in_order(left: Side, right: Side) -> tuple[Side, Side]:
    """The side that calculates, and then the result."""
    return (left, right) if left.calculates else (right, left)


def _singular(units: Iterable[str]) -> set[str]:
    return {singular(unit.lower()) for unit in units}


def _has_letters(left: Side, right: Side) -> bool:
    """Letters that may be variables: `4s - 4 = 116`, `2g + 4s = 70`, `6W / 6 = 30 / 6`, but not `1.5m × 2 = 3m`."""
    units = left.units | right.units
    letters = left.letters | right.letters | (UNIT_LETTERS & units)
    if not letters:
        return False
    sides = (left, right)
    mixed = any(side.adds and (side.bare or len(_letters(side)) > 1) for side in sides if _letters(side))
    rates = left.rates | right.rates
    alone = any(one.letters - other.units - other.letters - rates for one, other in ((left, right), (right, left)))
    return mixed or alone


def _letters(side: Side) -> frozenset[str]:
    return side.letters | (UNIT_LETTERS & side.units)


def _has_cents(left: Side, right: Side) -> bool:
    """Beside what may be dollars: `4 × 25 cents = 1`, `1 - 25 cents = 75 cents`."""
    cents = [bool(side.units & {"cent", "cents"}) for side in (left, right)]
    sums = not left.multiplies and not right.multiplies
    return cents[0] != cents[1] or (cents[0] and sums and (left.bare or right.bare))


def _has_parts(left: Side, right: Side) -> bool:
    """Units that may be factors, `2 dozen × 12`, unless all is counted in them: `2 dozen + 3 dozen = 5 dozen`."""
    work, result = _in_order(left, right)
    if _singular(work.units) & PAIRS and work.adds and (work.bare or not _singular(result.units) & PAIRS):
        return True  # 2 pairs + 1 = 5
    units = left.units | right.units
    parts = {unit for unit in units if singular(unit) in PARTS and (unit == "half" or unit != singular(unit))}
    if not parts and not (_singular(units) - _singular(left.rates | right.rates)) & COLLECTIVE:
        return False
    sums = not left.multiplies and not right.multiplies
    return not sums or _singular(left.units) != _singular(right.units) or left.bare or right.bare


def _has_no_division(left: Side, right: Side) -> bool:
    """A remainder is said, but not of one division."""
    said = [(one, other) for one, other in ((left, right), (right, left)) if one.remainder is not None]
    return any(other.division is None or other.remainder is not None for _, other in said)


def _is_scaled(left: Side, right: Side) -> bool:
    """Only the result is in millions: `5 × 3 = 15 million`, but not `2000 × 3000 = 6 million`."""
    work, result = _in_order(left, right)
    return result.scale > work.scale == 1 and abs(work.value) < result.scale


def _lacks_percent(left: Side, right: Side) -> bool:
    """`50% + 25% = 75`, `3/4 × 100% = 75`."""
    work, result = _in_order(left, right)
    if not work.percents or result.percents:
        return False
    return work.hundred or (not work.multiplies and result.value.denominator == 1)


def _is_rate(left: Side, right: Side) -> bool:
    """`12 / 4 = 3%`, `0.5 × 3 = 1.5%` are right of a rate and wrong of a ratio. What is at most one is a ratio; a whole
    number without a division and a hundredfold may be either, and are judged as both."""
    work, result = _in_order(left, right)
    if not result.percents or work.percents or work.hundredfold or abs(work.value) <= 1:
        return False
    return work.divides or work.value.denominator != 1
