r"""Arithmetic that an output states, checked by exact value.

    stated_equations("so 60 km/h × 2.5 h = 150 km, and 25% of 80 = 19")  ->  [Equation(20, True), Equation(45, False)]

At every equals sign the longest expression that ends there is compared with the longest that starts
there. An equation counts where both have a value and one calculates: `x = 5` and `1 m = 100 cm` do not.

What it says may not be torn out of something longer: `x1 + 3 = 7` says nothing of 1 + 3, nor `twice 3 + 1 = 7` of
3 + 1. And it is false only if no other reading of its spelling can be meant: `60 / 3/4 = 80`, `4s - 4 = 116` and
`2 × 30 minutes = 1 hour` are left out.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from stagewise.structure.arithmetic import LONGEST, NoValue, Side, read
from stagewise.structure.context import begins, ends, is_named
from stagewise.structure.dressing import undressed
from stagewise.structure.signs import Token, tokenized
from stagewise.structure.vocabulary import DIMENSIONS, UNIT_LETTERS, singular

__all__ = ["Equation", "stated_equations", "undressed"]

# Words in the rest of a sentence that tell why a whole number is not the exact quotient.
_ROUNDED = re.compile(
    r"(?:[^.;=\n]|\.(?=\d))*?\b(?:remain\w*|left|leftover|rest|round\w*|approx\w*|nearest|about|full|whole)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Equation:
    at: int
    """Position of its equals sign in the output as `undressed` gives it."""
    true: bool


def stated_equations(output: str) -> list[Equation]:
    """Every equation whose two sides have a value, in order; a chain `a = b = c` is two."""
    text, found = undressed(output), []
    lines = list(re.finditer(r"[^\n]*\S[^\n]*", text))
    for number, line in enumerate(lines):
        tokens = tokenized(text, *line.span())
        above = _last_sign(lines[number - 1][0]) if number else ""
        below = lines[number + 1][0].lstrip()[:1] if number + 1 < len(lines) else ""
        for index, token in enumerate(tokens):
            if token.kind != "equals":
                continue
            start, end = _start(tokens[:index], above), _end(tokens, index + 1, below)
            if start is not None and end is not None:
                true = _is_true(tokens, start, index, end, text[token.at + 1 : line.end()])
                found += [] if true is None else [Equation(token.at, true)]
    return found


def _last_sign(line: str) -> str:
    """Nothing where it is a rule, `---`."""
    return line.rstrip()[-1:] if re.search(r"\w", line) else ""


def _start(tokens: list[Token], above: str) -> int | None:
    """Where the longest expression starts that ends with `tokens`."""
    equal = next((place for place in range(len(tokens) - 1, -1, -1) if tokens[place].kind == "equals"), -1)
    for start in range(max(equal + 1, len(tokens) - LONGEST), len(tokens)):
        if begins(tokens, start, above):
            try:
                if read(tokens, start)[1] == len(tokens):
                    return start
            except NoValue:
                continue
    return None


def _end(tokens: list[Token], start: int, below: str) -> int | None:
    """Where the longest expression ends that starts at `start`, unless it goes on into what has no value."""
    try:
        end = read(tokens, start)[1]
    except NoValue:
        return None
    return end if ends(tokens, end, below) else None


def _is_true(tokens: list[Token], start: int, index: int, end: int, rest: str) -> bool | None:
    """None where it doesn't count, or may be meant in another way, which is then not false."""
    roughly = tokens[index].text == "≈"
    left, right = read(tokens[:index], start)[0], read(tokens[:end], index + 1)[0]
    rights = [right, *_shorter(tokens, index + 1, end)]
    truths = [_agree(left, each, roughly) for each in rights if left.calculates or each.calculates]
    if not truths or _converts(left, right):
        return None
    if True in truths or _agree_in_percent(tokens, start, index, end):
        return True
    shares = any(token.kind == "sign" and token.text == "of" for token in tokens[index:end])  # = 1/3 of 150 …
    doubtful = None in truths or shares or is_named(tokens, start) or _doubtful(left, right, rest)
    return None if doubtful else False


def _shorter(tokens: list[Token], start: int, end: int) -> Iterator[Side]:
    """What a right side is if its end belongs to what follows: `7!`, `7 (2 points)`, `42 150 + 2 = 152`."""
    if tokens[end - 1].text == "!":
        yield read(tokens[: end - 1], start)[0]
    try:
        side, stop = read(tokens, start, joined=False)
        if stop < end and (tokens[stop].text == "(" or tokens[read(tokens, stop)[1]].kind == "equals"):
            yield side
    except (NoValue, IndexError):
        pass  # there is no such reading, or nothing follows


def _agree(left: Side, right: Side, roughly: bool) -> bool | None:
    """Equal, or the decimals of a plain number are the other side rounded; after ≈, its last digit that is not 0 too.

    None where they can't be compared.
    """
    for said, other in ((left, right), (right, left)):
        if said.remainder is not None:
            return other.remainder is None and _divides(other, said)
    if right.modulus and not (left.value - right.value) % right.modulus:
        return True  # 7 + 8 = 3 mod 12
    places = [_place(side, roughly) for side in (left, right) if not side.calculates]
    if abs(left.value - right.value) <= max(places, default=Fraction(0)):
        return True
    return None if roughly and not places else False  # 19 × 21 ≈ 20 × 20


def _divides(side: Side, said: Side) -> bool | None:
    if side.division is None or said.remainder is None:
        return None
    dividend, divisor = side.division
    return dividend == divisor * said.value + said.remainder and 0 <= said.remainder < abs(divisor)


def _place(side: Side, roughly: bool) -> Fraction:
    """By how much the exact value may differ from a plain number."""
    if side.cut:
        return side.last_place  # 0.666… may be cut or rounded
    if side.last_place < 1:
        return side.last_place / 2
    place = side.last_place
    while roughly and side.value and not side.value % (10 * place):
        place *= 10
    return place / 2 if roughly else Fraction(0)


def _agree_in_percent(tokens: list[Token], start: int, index: int, end: int) -> bool:
    """If % changes no value: `30 / 50 × 100 = 60%`, but not `3 / 4 = 0.75%`."""
    if not any(token.text == "%" for token in tokens[start:end]):
        return False
    try:
        left, right = read(tokens[:index], start, Fraction(1))[0], read(tokens[:end], index + 1, Fraction(1))[0]
    except NoValue:
        return False
    return _agree(left, right, tokens[index].text == "≈") is True and not (right.percents and abs(left.value) <= 1)


def _converts(left: Side, right: Side) -> bool:
    """A sum of two measures, whose numbers say nothing."""
    return _has_two_measures(left.units | right.units) and not left.multiplies and not right.multiplies


def _has_two_measures(units: frozenset[str]) -> bool:
    known = {singular(unit) for unit in units}
    return any(len(known & dimension) > 1 for dimension in DIMENSIONS)


def _doubtful(left: Side, right: Side, rest: str) -> bool:
    """Whether two sides that don't agree may be meant to, in a way that numbers alone do not show."""
    units, bare = left.units | right.units, left.bare or right.bare
    a_letter = not UNIT_LETTERS.isdisjoint(units)  # 4s - 4 = 116, 2g + 4s = 70
    sums = not left.multiplies and not right.multiplies
    cents = [bool(side.units & {"cent", "cents"}) for side in (left, right)]
    whole = left.division and right.remainder is None and right.value in (math.floor(left.value), math.ceil(left.value))
    return (
        left.doubtful
        or right.doubtful
        or (a_letter and (bare or (sums and len(units) > 1)))
        or cents[0] != cents[1]
        or (cents[0] and bare and sums)
        or left.scaled != right.scaled
        or _has_two_measures(units | left.rates)  # 60 km/h × 30 minutes = 30 km
        or (not left.calculates and bool(left.units | left.rates))  # 8 batches = 5.5 × 8
        or bool(whole and _ROUNDED.match(rest))  # 100 / 3 = 33, with 1 remaining
    )
