r"""The grammar of values: what stands at a place of a plain text, read whole or not at all.

    read("1 hour 30 minutes long", 0)    ->  Reading(Several("compound", …), 0, 17)
    read("5 or 7 jars", 0)               ->  Reading(Several("list", …), 0, 6)
    read("2x + 3", 0)                    ->  Reading(Symbols("2x+3", …), 0, 6)
    read("12 × 5 jars", 0)               ->  Reading(None, 0, 6): a calculation has yet to be calculated
    readings("3 + 4 = 7 jars")           ->  those of `3 + 4` and `7`

What this cannot read has no value: it is never the number that it starts with.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from stagewise.evaluation.scoring.forms import Number, Reading, Several, Value
from stagewise.evaluation.scoring.numerals import VULGAR, numeral
from stagewise.evaluation.scoring.spelled import ONES, STARTS, TENS
from stagewise.evaluation.scoring.symbols import bracketed, run, symbolic
from stagewise.evaluation.scoring.units import MONTHS, NUMBER_WORDS, inches, unit

MOST_PARTS = 50

_S = r"[ \t\u2009]"
_SIGN = re.compile(rf"[-–+]{_S}?(?=[$0-9.\\{VULGAR}])|(?i:(?:minus|negative)\s)")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_FUNCTIONS = (
    "sqrt|frac|log|ln|exp|sin|cos|tan|alpha|beta|gamma|theta|lambda|mu|sigma|phi|omega|mod|bmod|pmod|cup|cap|overline"
    "|binom|sum|int|cdots|equiv|bar|vec|hat"
)
_OLD = r"(?:year|month|week|day)s?-old\b"
_UNKNOWN = rf"{_S}*[A-Za-z]{_S}*(?:[.,;]|\Z|\n)"  # 10 = b
# What, right behind a number, makes it part of something else.
_GOES_ON = re.compile(
    rf"""
      [\w√π∞(\[{{^²³⁰¹⁴⁵⁶⁷⁸⁹⁻⁺] | ![\w(+*/×÷^=-]
    | [-–](?!{_OLD})[\w(] | [.,:'/][0-9] | \.\\
    | {_S}*(?:!?[+×÷*^≤≥≠<>±√π∞]|/(?!{_S}?[A-Za-z]{{2}})|=(?!{_UNKNOWN})|\\(?:{_FUNCTIONS})(?![A-Za-z]))
    | (?:{_S}[A-Za-z]+(?:/[A-Za-z]+)?){{1,3}}{_S}*(?:[+×÷*=]|[-–/]{_S}*[$0-9])
    | {_S}*[-–]{_S}*[0-9.(\\√{VULGAR}] | {_S}-{_S}[a-z]\b(?!\s+[a-z])
    | {_S}+[xX]\b{_S}*(?=[0-9(]|$) | {_S}+of{_S}+\$?[0-9]
    | {_S}+(?:plus|minus|multiplied|divided|squared|cubed|factorial|mod|modulo|to{_S}+the{_S}+power)\b
    | {_S}+times{_S}+(?:[$0-9(]|as\b|more\b|the\b|that\b)
    | (?!,{_S}or{_S}\$?[0-9.,]+{_S}[a-z]){_S}*,?{_S}+(?:or|to){_S}+(?:\$?[0-9]|(?:{NUMBER_WORDS})\b)
    | {_S}+(?:of\s+)?{MONTHS} | (?<=[a-z]){_S}(?:{"|".join([*ONES, *TENS])})\b
    """,
    re.VERBOSE,
)
_CONTINUED = re.compile(r"\.\.|…")  # 0.333...
_TIME = re.compile(
    r"([0-9]{1,2})(?::([0-5][0-9]))?(?::([0-5][0-9]))?\s?(?:([aApP])\.?\s?[mM]\b\.?|(?:o'clock)\b(?:\s?([aApP])\.?[mM]\b\.?)?)"
)
_COLON = re.compile(r":(?=[0-9.])|\s:\s(?=[0-9.])")
_TO = re.compile(rf"{_S}?–{_S}?|-|{_S}+(?:to|through){_S}+")
_BETWEEN = re.compile(r"\bbetween\s\Z", re.IGNORECASE)
_SPAN = re.compile(r"(?:between|from)\s(?=\$?[0-9.])", re.IGNORECASE)
_OR = re.compile(rf",{_S}(?:or|i\.e\.,?|that{_S}is,?){_S}(?=\$?[0-9.])")
_ABOUT = re.compile(rf"{_S}*≈{_S}*(?=[-$0-9.])")
_IN_BRACKETS = re.compile(rf"{_S}\((?:(?:or|i\.e\.,?|that{_S}is,?|=|about){_S}?)?(?=\$?[0-9.])")
_REMAINDER = re.compile(rf"{_S}?[rR]{_S}?(?=[0-9])|,?{_S}(?:with{_S})?(?:a{_S})?remainder{_S}(?:of{_S})?(?=[0-9])")
_COMPOUND = re.compile(rf"{_S}*(?:,?{_S}*and{_S}|,)?{_S}*")
_COMMA = re.compile(rf"{_S}*,{_S}*(?:(?:and|or|&){_S}+)?|{_S}+(?P<word>and|or|&){_S}+|{_S}*;{_S}*")
_RATE = re.compile(rf"{_S}(?:an?|per|each|every)\b")
_NAMED = re.compile(rf"[A-Za-z]\w?{_S}*={_S}*")
_NOUNS = re.compile(rf"(?:{_S}[a-z]+){{1,2}}(?={_S}*(?:[,;.:!?)\]]|$|\n)|{_S}+(?:and|or){_S})")
_CLAUSE_ENDS = re.compile(rf"{_S}*(?:[.;:!?)\]}}\n]|,(?!{_S}*[0-9$])|\Z)")


class _Part(NamedTuple):
    number: Number
    end: int


def read(text: str, at: int, nouns: bool = True) -> Reading | None:
    """The value that stands at `at` of a plain text, with all that belongs to it; None where no number does.

    With `nouns`, what is counted may stand between the numbers of a list: `4 faces and 6 edges`.
    """
    if text[at : at + 1] in ("(", "["):
        points = bracketed(text, at)
        return Reading(points, at, at + len(points.said)) if points else None
    if span := _SPAN.match(text, at):
        inner = read(text, span.end(), nouns)
        is_range = inner is not None and isinstance(inner.value, Several) and inner.value.form == "range"
        return inner._replace(start=at) if inner and is_range else inner
    if time := _TIME.match(text, at):
        return _time(time)
    first, torn_at = _part(text, at)
    if first is None:
        return None if torn_at is None else _about(text, _torn(text, at, torn_at))
    found = (
        _remainder(text, at, first) or _ratio(text, at, first) or _compound(text, at, first) or _range(text, at, first)
    )
    found = found or _list(text, at, first, nouns) or Reading(first.number, at, first.end)
    return _about(text, _torn(text, at, found.end) if _GOES_ON.match(text, found.end) else found)


def _torn(text: str, at: int, past: int) -> Reading:
    """The mathematics that a number is the start of: symbols where it has some, else a calculation."""
    said = run(text, at)
    end = at + len(said)
    return Reading(symbolic(said) if end >= past else None, at, max(end, past))


def _about(text: str, found: Reading) -> Reading:
    """With what says it again, about or in another unit: `10/3 ≈ 3.33`, `3 weeks, or 21 days`. They are one answer, and
    its value is the first."""
    about, bracket = _ABOUT.match(text, found.end), _IN_BRACKETS.match(text, found.end)
    again = about or bracket or _OR.match(text, found.end)
    part = _part(text, again.end())[0] if again and found.value is not None else None
    if part is None or _GOES_ON.match(text, part.end) or (not about and not _is_restated(found.value, part)):
        return found
    if bracket and not text.startswith(")", part.end):
        return found
    return found._replace(end=part.end + (bracket is not None))


def _part(text: str, at: int) -> tuple[_Part | None, int | None]:
    """One number, its sign and unit with it; else, of a number without a value, its end."""
    sign = _SIGN.match(text, at)
    start = sign.end() if sign else at
    found = numeral(text, start)
    if found is not None and "." in text[start : found.end] and _CONTINUED.match(text, found.end):
        return None, found.end
    if found is None:
        return None, at + 1 if not re.match(r"[A-Za-z]", text[at : at + 1]) and run(text, at) else None
    if found.value is None:
        return None, found.end
    negative = sign is not None and sign[0][0] != "+"
    worth = -found.value if negative else found.value
    ordinal = _ORDINAL.match(text, found.end)
    end = ordinal.end() if ordinal else found.end
    measure = unit(text, end)
    return (_Part(Number(worth, measure[0]), measure[1]) if measure else _Part(Number(worth), end)), None


def _time(match: re.Match[str]) -> Reading:
    hour, minute, second, half, half_of_clock = match.groups()
    parts = [int(each) for each in (hour, minute or "0", second) if each]
    said = (half or half_of_clock or "").lower()
    return Reading(Several("time", tuple(Number(Fraction(part)) for part in parts), said), match.start(), match.end())


def _ratio(text: str, at: int, first: _Part) -> Reading | None:
    parts = [first]
    while len(parts) < MOST_PARTS and (colon := _COLON.match(text, parts[-1].end)):
        part, _ = _part(text, colon.end())
        if part is None:
            return Reading(None, at, colon.end())
        parts.append(part)
    return _several("ratio", at, parts)


def _remainder(text: str, at: int, first: _Part) -> Reading | None:
    """`7 R 1`, `7 remainder 1`."""
    said = _REMAINDER.match(text, first.end)
    part = _part(text, said.end())[0] if said else None
    return _several("remainder", at, [first, part]) if part else None


def _compound(text: str, at: int, first: _Part) -> Reading | None:
    parts = [first]
    while parts[-1].number.unit not in ("", "percent") and len(parts) < MOST_PARTS:
        part, _ = _part(text, _end(_COMPOUND, text, parts[-1].end))
        if part is not None and parts[-1].number.unit == "foot" and (end := inches(text, part.end)):
            part = _Part(Number(part.number.worth, "inch"), end)
        if part is not None and part.number.unit == "meter" and parts[-1].number.unit == "hour":
            part = _Part(Number(part.number.worth, "minute"), part.end)  # 1h30m
        if part is None or part.number.unit in ("", "percent", *(each.number.unit for each in parts)):
            break
        parts.append(part)
    said = [part for part in parts if part.number.worth]  # 10 dollars and 0 cents
    if len(said) == 1 < len(parts):
        return Reading(said[0].number, at, parts[-1].end)
    return _several("compound", at, parts)


def _range(text: str, at: int, first: _Part) -> Reading | None:
    to = _TO.match(text, first.end)
    last = _part(text, to.end())[0] if to and not _SIGN.match(text, to.end()) else None
    if last is None or last.number.worth <= first.number.worth:
        return None
    return _several("range", at, [first, last])


def _list(text: str, at: int, first: _Part, nouns: bool) -> Reading | None:
    """`5, 7 and 9`; `5 or 7`; `x = 5 or x = 7`; `12 apples and 3 pears`, where a clause ends behind the last."""
    parts, word = [first], ""
    while len(parts) < MOST_PARTS:
        comma = _COMMA.match(text, _end(_NOUNS, text, parts[-1].end) if nouns else parts[-1].end)
        part = _part(text, _end(_NAMED, text, comma.end()))[0] if comma else None
        if comma is None or part is None:
            break
        word = comma["word"] or ("or" if "or" in comma[0] else word)
        parts.append(part)
        again = len(parts) == 2 and "," in comma[0] and word == "or"
        if again and (_RATE.match(text, part.end) or _is_restated(first.number, part)):
            return None  # one thing said twice: `1500, or 125 a month`
    behind = _end(_NOUNS, text, parts[-1].end)
    if len(parts) == 1 or not (word == "or" or _CLAUSE_ENDS.match(text, behind)):
        return None
    if len({part.number.worth for part in parts}) == 1:
        return Reading(parts[0].number, at, parts[-1].end)
    if word == "and" and len(parts) == 2 and _BETWEEN.search(text, max(0, at - 10), at):
        return _several("range", at, parts)
    return _several("list", at, parts)


def _is_restated(first: Value | None, second: _Part) -> bool:
    """`3 weeks, or 21 days`, `1 hour and 30 minutes, or 90 minutes`: one thing in two units."""
    parts = first.parts if isinstance(first, Several) and first.form == "compound" else (first,)
    units = {part.unit for part in parts if isinstance(part, Number)}
    return "" not in units and second.number.unit not in ("", *(units if len(units) == 1 else ()))


def _several(form: str, at: int, parts: list[_Part]) -> Reading | None:
    if len(parts) == 1:
        return None
    return Reading(Several(form, tuple(part.number for part in parts)), at, parts[-1].end)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


_START = re.compile(
    rf"(?<![A-Za-z0-9_.\\^])(?<![A-Za-z]-)(?:[-–+±](?=[$0-9.√π\\{VULGAR}]))?"
    rf"(?:\$?(?=[0-9]|\.[0-9])|(?=[{VULGAR}√π∞]|\\(?:frac|sqrt)(?![A-Za-z])|[(\[]{_S}?[-–]?[0-9.√π∞\\]))"
    rf"|(?<![\w.-])(?i:(?:between|from)\s(?=\$?[0-9])|(?:minus\s|negative\s)?{STARTS}(?!\sof\b|\sanother\b))"
)
_MONTH_BEFORE = re.compile(rf"\b{MONTHS}\s\Z")


@lru_cache(maxsize=64)
def readings(text: str) -> tuple[Reading, ...]:
    """Every value, calculation and number in a plain text, from left to right; none overlaps another."""
    found: list[Reading] = []
    at = 0
    while start := _START.search(text, at):
        at = start.start()
        reading = read(text, at, nouns=False)
        if reading is None:  # a bracket or a word that only looked like the start of one
            at += 1
            continue
        if _MONTH_BEFORE.search(text, max(0, at - 12), at):
            reading = reading._replace(value=None)
        found.append(reading)
        at = max(reading.end, at + 1)
    return tuple(found)
