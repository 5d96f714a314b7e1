r"""Arithmetic that an output states, checked by exact value.

    stated_equations("so 60 km/h × 2.5 h = 150 km, and 25% of 80 = 19")  ->  [Equation(20, True), Equation(45, False)]

At every equals sign the longest expression that ends there is compared with the longest that starts
there. An equation counts where both have a value and one calculates: `x = 5` and `1 m = 100 cm` do not.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from stagewise.structure.arithmetic import NoValue, Side, Token, read, tokenized

LONGEST = 60  # tokens of one side
# Two of these in a sum are a conversion (`1 hour + 30 minutes = 90 minutes`), which numbers alone cannot judge.
_MEASURES = (
    "s sec second min minute h hr hour day week month year mm cm m meter metre km kilometer kilometre inch foot "
    "feet yard mile g gram kg kilogram oz ounce lb pound ml l liter litre cup pint quart gallon cent dollar"
)
# Dressing that is no arithmetic: a calculator's annotations (GSM8K), LaTeX, currency.
_REWRITTEN = (
    (re.compile(r"<<[^<>\n]*>>"), ""),
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"\\div\b"), "÷"),
    (re.compile(r"\\(?:text|mathrm)\s*\{([^{}]*)\}"), r" \1"),
    (re.compile("²"), "^2"),
    (re.compile("³"), "^3"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"[$€£¥]|\\[,!; ]"), ""),
)


@dataclass(frozen=True, slots=True)
class Equation:
    at: int
    """Position of its equals sign in the output as `undressed` gives it."""
    true: bool


def undressed(output: str) -> str:
    for pattern, replacement in _REWRITTEN:
        output = pattern.sub(replacement, output)
    return output


def stated_equations(output: str) -> list[Equation]:
    """Every equation whose two sides have a value, in order; a chain `a = b = c` is two."""
    text, found = undressed(output), []
    for line in re.finditer(r"[^\n]+", text):
        tokens = tokenized(text, *line.span())
        for index, token in enumerate(tokens):
            if token.kind != "equals":
                continue
            left = _ending(tokens[max(0, index - LONGEST) : index])
            right = _starting(tokens[index + 1 : index + 1 + LONGEST])
            if left and right and (left.calculates or right.calculates) and not _converts(left, right):
                found.append(Equation(token.at, _agree(left, right, roughly=token.text == "≈")))
    return found


def _ending(tokens: list[Token]) -> Side | None:
    """The longest expression that ends with `tokens`."""
    for start in range(len(tokens)):
        if _can_start(tokens, start):
            try:
                side, end = read(tokens, start)
            except NoValue:
                continue
            if end == len(tokens):
                return side
    return None


def _starting(tokens: list[Token]) -> Side | None:
    """The longest expression that `tokens` begin with, unless it goes on into something without a value."""
    try:
        side, end = read(tokens, 0)
    except NoValue:
        return None
    follows = tokens[end : end + 1]
    if follows and follows[0].kind == "sign" and follows[0].text != ")" and not follows[0].spaced:
        return None
    return side


def _can_start(tokens: list[Token], start: int) -> bool:
    """Not in the middle of a longer expression; the dash of a list's item is no minus."""
    token, behind, before = tokens[start], tokens[start + 1 :], tokens[:start][-1:]
    if token.kind not in ("number", "sign") or (token.text == "-" and (not behind or behind[0].spaced)):
        return False
    if not before:
        return True
    if token.text == "(":
        return token.spaced or before[0].kind in ("equals", "other") or before[0].text == "("
    if before[0].kind == "sign" and before[0].text in "+-×÷^":
        return start == 1 and token.spaced
    return token.spaced or (token.text != "-" and before[0].text != ":")  # 7:50 is a time


def _converts(*sides: Side) -> bool:
    units = {unit.lower() for side in sides for unit in side.units}
    known = {unit.removesuffix("s") if len(unit) > 2 else unit for unit in units} & set(_MEASURES.split())
    return len(known) > 1 and not any(side.multiplies for side in sides)


def _agree(left: Side, right: Side, roughly: bool) -> bool:
    """Equal, or the decimals of a plain number are the other side rounded; after ≈, its whole number too."""
    places = [side.last_place for side in (left, right) if not side.calculates and (roughly or side.last_place < 1)]
    return abs(left.value - right.value) <= max(places, default=Fraction(0)) / 2
