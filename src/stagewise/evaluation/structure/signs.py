"""A line of prose and arithmetic as numbers, signs, words and other marks.

tokenized("3 apples x 2.5")    [number 3, word apples, sign ×, number 2.5]
"""

from dataclasses import dataclass

import regex

from stagewise.evaluation.scoring.text import WORD

LONGEST = 60  # tokens of an expression
THIN = "\u00a0\u2009\u202f"  # spaces that group the digits of one number
_COMPOUND = rf"{WORD}(?:[-'’]{WORD})*"  # first-place, that's
_TOKEN = regex.compile(
    r"(?P<other>0[xXbBoO][0-9a-fA-F]+(?!\w)|!={1,2}|[<>:]=|=/=|=>|<=|->|\.{3,}|…)"
    rf"|(?P<word>\d+-(?={WORD}){_COMPOUND})"  # 12-pound
    r"|(?P<number>(?<![\d.])"
    rf"(?:(?:(?>\d{{1,3}}(?:,\d{{3}})+)(?![\d,])|(?>\d{{1,3}}(?:[{THIN}]\d{{3}})+)(?!\d)|(?>\d+))(?:\.\d+)?|\.\d+)"
    r"(?:[eE][+-]?\d{1,2}(?!\w|\.\d))?)"
    rf"|(?P<equals>={{2,3}}|[=≈])|(?P<sign>[-+×÷^()%!√∛]|\bmod\b)|(?P<word>{_COMPOUND})|(?P<other>\S)"
)
_FACTOR = regex.compile(r"\s*(?:\.?\d|[(√∛])")  # what has to follow an `x`, an `of` or a `%` that calculates


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    """number, equals, sign, word or other"""
    text: str
    at: int
    spaced: bool
    """White space or nothing stands before it."""


def tokenized(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    found: list[Token] = []
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        kind, sign = str(match.lastgroup), match[0]
        if kind == "equals" and sign != "≈":
            sign = "="
        elif found and _FACTOR.match(text, match.end()) and (operator := _operator(sign, found)):
            kind, sign = "sign", operator
        spaced = match.start() == start or text[match.start() - 1].isspace()
        found.append(Token(kind, sign, match.start(), spaced))
    return found


def _operator(sign: str, before: list[Token]) -> str | None:
    """`3 apples x 2`, `25% of 80` and `1/2 of 6`, but neither `a total of 80` nor `2 of 5`; `17 % 5`."""
    last = before[-1]
    ends_operand = last.kind == "number" or last.text in ("%", ")", "!")
    if sign in ("x", "X"):
        return "×" if ends_operand or last.kind == "word" else None
    if sign == "of":
        fraction = last.kind == "number" and ("." in last.text or [token.text for token in before[-2:-1]] == ["÷"])
        return "of" if fraction or last.text in ("%", ")") else None
    if sign == "%":
        return "%%" if last.kind == "number" or last.text == ")" else None
    return None
