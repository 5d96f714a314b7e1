"""Reads one arithmetic expression out of words, and gives its exact value.

    read(tokenized("3 apples x 2 dollars/apple"), 0)  ->  (Side(value=6, …), 7)

    sum     = product {("+" | "-") product}
    product = power {("×" | "÷") power}
    power   = ["-"] atom ["^" number]
    atom    = (number ["!"] | "(" sum ")") ["%"] [up to three words, and "/" word]

Units are skipped: a value says nothing of them.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

LARGEST_POWER = 64
LARGEST_FACTORIAL = 20
LONGEST_NUMBER = 60  # characters
LARGEST = 10**LONGEST_NUMBER  # beyond this nothing is checked: powers of powers would take for ever
UNIT_WORDS = 3  # "12 cookies per batch"
_ONE_LETTER_UNITS = "mgshlLVWJKNCF"  # directly after a number any other letter is a variable: 2x, 3n
_TOKEN = re.compile(
    r"(?P<number>(?<![\d.])(?:(?>\d{1,3}(?:,\d{3})+)(?![\d,])|(?>\d+))(?:\.\d+)?|(?<![\d.])\.\d+)"
    r"|(?P<equals>[=≈])|(?P<sign>[-+−–*×·/÷^()%!])|(?P<word>[^\W\d_]+)|(?P<other>\S)"
)
_SAME = {"−": "-", "–": "-", "*": "×", "·": "×", "/": "÷"}
_TIMES = re.compile(r"\s*[\d(.]")  # what has to follow an `x` or `of` that multiplies


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    """number, equals, sign, word or other"""
    text: str
    at: int
    spaced: bool
    """White space or nothing stands before it."""


@dataclass(frozen=True, slots=True)
class Side:
    value: Fraction
    calculates: bool
    multiplies: bool
    last_place: Fraction
    """What the last digit of its first number is worth: 1/100 of 10.14."""
    units: tuple[str, ...]
    """The word after each number."""


class NoValue(Exception):
    """What was read is no arithmetic expression."""


def tokenized(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    found: list[Token] = []
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        kind, sign = str(match.lastgroup), _SAME.get(match[0], match[0])
        if found and _TIMES.match(text, match.end()) and _multiplies(sign, found[-1]):
            kind, sign = "sign", "×"
        spaced = match.start() == start or text[match.start() - 1].isspace()
        found.append(Token(kind, sign, match.start(), spaced))
    return found


def _multiplies(word: str, before: Token) -> bool:
    """`3 apples x 2` and `25% of 80`, but not `a total of 80`."""
    if before.kind == "word":
        return word in ("x", "X")
    return word in ("x", "X", "of") and (before.kind == "number" or before.text in ("%", ")"))


def read(tokens: list[Token], start: int) -> tuple[Side, int]:
    """The longest expression from `start` on, and the index behind it. Raises `NoValue`."""
    reader = _Reader(tokens, start)
    try:
        value = reader.sum()
    except ZeroDivisionError as error:
        raise NoValue from error
    read_tokens = tokens[start : reader.index]
    signs = {token.text for token in read_tokens if token.kind == "sign"}
    first = next(token.text for token in read_tokens if token.kind == "number")
    places = len(first.partition(".")[2]) + (2 if "%" in signs else 0)
    calculates = bool(signs & set("+×÷^!")) or any(token.text == "-" for token in read_tokens[1:])
    return (
        Side(value, calculates, bool(signs & set("×÷")), Fraction(1, 10**places), tuple(reader.units)),
        reader.index,
    )


class _Reader:
    def __init__(self, tokens: list[Token], start: int) -> None:
        self.tokens, self.index, self.units = tokens, start, list[str]()

    def sum(self) -> Fraction:
        total = self._product()
        while sign := self._take("+", "-"):
            term = self._product()
            total += term if sign == "+" else -term
        return total

    def _product(self) -> Fraction:
        total = self._power()
        while sign := self._take("×", "÷"):
            factor = self._power()
            total = _bounded(total * factor if sign == "×" else total / factor)
        return total

    def _power(self) -> Fraction:
        sign = -1 if self._take("-") else 1
        base = self._atom()
        if not self._take("^"):
            return sign * base
        exponent = self._number()
        if exponent.denominator != 1 or exponent > LARGEST_POWER:
            raise NoValue
        return sign * _bounded(base**exponent.numerator)

    def _atom(self) -> Fraction:
        if self._take("("):
            value = self.sum()
            if not self._take(")"):
                raise NoValue
        else:
            value = self._number()
            if self._take("!"):
                if value.denominator != 1 or value > LARGEST_FACTORIAL:
                    raise NoValue
                value = Fraction(math.factorial(value.numerator))
        if self._take("%"):
            value /= 100
        self._skip_units()
        return value

    def _number(self) -> Fraction:
        token = self._next()
        if token is None or token.kind != "number" or len(token.text) > LONGEST_NUMBER:
            raise NoValue
        self.index += 1
        return _bounded(Fraction(token.text.replace(",", "")))

    def _skip_units(self) -> None:
        for count in range(UNIT_WORDS):
            token = self._next()
            if token is None or token.kind != "word":
                break
            if not token.spaced and len(token.text) == 1 and token.text not in _ONE_LETTER_UNITS:
                raise NoValue  # a variable
            if count == 0:
                self.units.append(token.text)
            self.index += 1
        following = self.tokens[self.index : self.index + 2]
        if [token.kind for token in following] == ["sign", "word"] and following[0].text == "÷":
            self.index += 2

    def _take(self, *signs: str) -> str | None:
        token = self._next()
        if token is None or token.kind != "sign" or token.text not in signs:
            return None
        self.index += 1
        return token.text

    def _next(self) -> Token | None:
        return self.tokens[self.index] if self.index < len(self.tokens) else None


def _bounded(value: Fraction) -> Fraction:
    if max(abs(value.numerator), value.denominator) > LARGEST:
        raise NoValue
    return value
