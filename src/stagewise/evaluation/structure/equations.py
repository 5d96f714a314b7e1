r"""Arithmetic that an output states, checked by exact value.

    stated_equations("so 60 km/h × 2.5 h = 150 km, and 25% of 80 = 19")  ->  [Equation(20, True), Equation(45, False)]

At every equals sign the longest expression that ends there is compared with the longest that starts
there. An equation counts where both have a value and one calculates: `x = 5` and `1 m = 100 cm` do not.

What it says may not be torn out of something longer: `x1 + 3 = 7` says nothing of 1 + 3, nor `twice 3 + 1 = 7` of
3 + 1. What is asked, or may be meant in more than one way, does not count. Whether an equation counts never depends
on whether it is true (`doubt.py`).
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from stagewise.evaluation.structure.arithmetic import read
from stagewise.evaluation.structure.context import begins, ends, is_named
from stagewise.evaluation.structure.doubt import is_asked, is_doubtful, is_inexact
from stagewise.evaluation.structure.dressing import undressed
from stagewise.evaluation.structure.exact import NoValue
from stagewise.evaluation.structure.side import Side
from stagewise.evaluation.structure.signs import LONGEST, Token, tokenized

__all__ = ["Equation", "stated_equations", "undressed"]

_RULE = re.compile(r"\s*[=≈]{2,}\s*")


@dataclass(frozen=True, slots=True)
class Equation:
    at: int
    """Position of its equals sign in the output as `undressed` gives it."""
    true: bool


@dataclass(frozen=True, slots=True)
class _Link:
    """What stands on both sides of the equals sign at `index`, with the tokens from `start` to `end`."""

    left: Side
    right: Side
    factorial: Side | None
    """The right side if the mark at its end is that of a factorial: `24!`."""
    start: int
    index: int
    end: int


def stated_equations(output: str) -> list[Equation]:
    """Every equation that counts, in order; a chain `a = b = c` is two."""
    text, found = undressed(output), []
    lines = _lines(text)
    for number, (first, last) in enumerate(lines):
        tokens = tokenized(text, first, last)
        above = _last_sign(text[slice(*lines[number - 1])]) if number else ""
        below = text[slice(*lines[number + 1])].lstrip()[:1] if number + 1 < len(lines) else ""
        previous = -1
        for index, token in enumerate(tokens):
            if token.kind != "equals":
                continue
            link = _link(tokens, previous, index, above, below)
            if link and _counts(text, tokens, link, last):
                found.append(Equation(token.at, _is_true(link, token.text == "≈")))
            previous = index
    return found


def _lines(text: str) -> list[tuple[int, int]]:
    """Where those that say something start and end; one that starts with an equals sign goes on with the one above,
    and one that ends with it goes on in the next, unless that has its own."""
    found: list[tuple[int, int]] = []
    for match in re.finditer(r"[^\n]*\S[^\n]*", text):
        line = match[0].strip()
        if found and found[-1][1] + 1 == match.start() and not _RULE.fullmatch(line):
            start, end = found[-1]
            open_ended = text[max(start, end - 80) : end].rstrip().endswith(("=", "≈"))
            if line[0] in "=≈" or (open_ended and not re.search("[=≈]", line)):
                found[-1] = start, match.end()
                continue
        found.append(match.span())
    return found


def _last_sign(line: str) -> str:
    """Nothing where it is a rule, `---`."""
    return line.rstrip()[-1:] if re.search(r"\w", line) else ""


def _link(tokens: list[Token], previous: int, index: int, above: str, below: str) -> _Link | None:
    """What the equals sign at `index` says, `previous` being the one before it; None where it is no equation.

    `above` is the last sign of the line before, `below` the first of the next.
    """
    if (before := _before(tokens, previous, index, above)) is None:
        return None
    try:
        (left, start), (right, end) = before, read(tokens, index + 1)
        factorial = None
        if left.calculates and tokens[end - 1].text == "!":
            right, factorial = read(tokens[index + 1 : end - 1], 0)[0], right
    except NoValue:
        return None
    whole = (left.calculates or right.calculates) and ends(tokens, end, below)
    return _Link(left, right, factorial, start, index, end) if whole else None


def _before(tokens: list[Token], previous: int, index: int, above: str) -> tuple[Side, int] | None:
    """The longest expression that ends at `index`, and where it starts."""
    for start in range(max(previous + 1, index - LONGEST), index):
        if begins(tokens, start, above):
            try:
                side, end = read(tokens, start)
            except NoValue:
                continue
            if end == index:
                return side, start
    return None


def _counts(text: str, tokens: list[Token], link: _Link, stop: int) -> bool:
    """It is claimed, and in a way that leaves no doubt what; `stop`: where the line ends in `text`."""
    left, right, start, index, end = link.left, link.right, link.start, link.index, link.end
    roughly = tokens[index].text == "≈"
    shares = left.calculates and any(token.text == "of" and token.kind == "sign" for token in tokens[index:end])
    return not (
        shares  # = 1/3 of 150 …
        or _is_run_on(tokens, left, start, index)
        or _is_run_on(tokens, right, index + 1, end)
        or is_named(tokens, start, index)
        or is_doubtful(left, right, roughly)
        or is_asked(text, tokens[end - 1].at + len(tokens[end - 1].text), stop)
        or (not roughly and is_inexact(text, tokens[index + 1].at, stop, left, right))
    )


def _is_run_on(tokens: list[Token], side: Side, start: int, end: int) -> bool:
    """A result and what is calculated next, with nothing between: `… = 42 150 + 2 = 152`."""
    if not (side.paired and side.calculates and start > 0 and end < len(tokens)):
        return False
    return tokens[start - 1].kind == tokens[end].kind == "equals"


def _is_true(link: _Link, roughly: bool) -> bool:
    return _agree(link.left, link.right, roughly) or (
        link.factorial is not None and _agree(link.left, link.factorial, roughly)
    )


def _agree(left: Side, right: Side, roughly: bool) -> bool:
    """Equal, or the decimals of a plain number are the other side rounded; after ≈, its last digit not 0 as well."""
    for said, other in ((left, right), (right, left)):
        if said.remainder is not None:
            return _divides(other, said)
    if right.modulus and not (left.value - right.value) % right.modulus:
        return True  # 7 + 8 = 3 mod 12
    if _same(left, right, roughly):
        return True
    return any(_agrees_in_points(*sides, roughly) for sides in ((left, right), (right, left)))


def _agrees_in_points(work: Side, said: Side, roughly: bool) -> bool:
    """`30 / 50 × 100 = 60%`: the number 60."""
    if not said.percents or said.calculates or work.percents or abs(work.value) <= 1:
        return False
    return _same(work, replace(said, value=said.value * 100, last_place=said.last_place * 100), roughly)


def _same(left: Side, right: Side, roughly: bool) -> bool:
    places = [_place(side, roughly) for side in (left, right) if not side.calculates]
    return abs(left.value - right.value) <= max(places, default=Fraction(0))


def _divides(side: Side, said: Side) -> bool:
    """`15 ÷ 2 = 7 remainder 1`."""
    if side.division is None or said.remainder is None:
        return False
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
