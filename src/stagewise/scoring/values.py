r"""What a text is worth: one grammar of values for every extractor and every matcher.

    value("$1,000.00")             ->  Number(Fraction(1000))         value("7.5 km")       ->  Number(Fraction(15, 2), "km")
    value("60 %")                  ->  Number(Fraction(60), "percent")
    value("1 hour 30 minutes")     ->  Several("compound", (Number(1, "hour"), Number(30, "minute")))
    value("5 to 7")                ->  Several("range", …)            value("5 or 7")       ->  Several("list", …)
    value("3:15 PM")               ->  Several("time", (3, 15), "pm") value("3:4")          ->  Several("ratio", …)
    value(r"3\sqrt{2}")            ->  Symbols(r"3\sqrt2")            value("5 + 3")        ->  None

A value is read whole or not at all: what this grammar cannot read is text, never the number that it starts with.
Equality is of exact values, within one form: no units are converted.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from stagewise.scoring.numerals import VULGAR, numeral
from stagewise.scoring.plain import undress
from stagewise.scoring.spelled import STARTS
from stagewise.scoring.units import MONTHS, NUMBER_WORDS, inches, is_unit_phrase, unit

LONGEST_TEXT = 300  # characters; no value is longer
MOST_PARTS = 50


@dataclass(frozen=True, slots=True)
class Number:
    worth: Fraction
    unit: str = ""
    """Of measure, or `percent`; nouns such as `jars` are not kept."""


@dataclass(frozen=True, slots=True)
class Several:
    form: str
    """`compound`, `range`, `list`, `ratio` or `time`."""
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


# --- symbols ------------------------------------------------------------------------------------

_GROUP = r"\{[^{}\n]{0,80}(?:\{[^{}\n]{0,80}\}[^{}\n]{0,80}){0,4}\}"
_ATOM = (
    rf"(?:[0-9]+(?:[.,'][0-9]+)*|\.[0-9]+|\\[A-Za-z]+(?:\s?{_GROUP}|\[[^\[\]\n]{{0,20}}\])*|{_GROUP}"
    rf"|(?:sqrt|arc(?:sin|cos|tan)|sin|cos|tan|log|ln|exp)(?=[\s(\\0-9])\s?|[A-Za-zα-ωΑ-Ω](?![A-Za-z])'?"
    rf"|[∞√°⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹{VULGAR}%!]|\([^()\n]{{0,80}}(?:\([^()\n]{{0,40}}\)[^()\n]{{0,40}}){{0,3}}\)|\|[^|\n]{{1,40}}\|)"
)
_RUN = re.compile(rf"[-+±–]?\s?{_ATOM}(?:(?:\s?[-+–±×÷*/^_]\s?|\s(?=\\|√)|\s:\s|:(?=[0-9]))?{_ATOM})*+")
_SYMBOL = re.compile(r"[A-Za-zα-ωΑ-Ω∞√!±]|\\(?!frac)|_")
_OPERATES = re.compile(r"[0-9α-ωΑ-Ω√∞\\/^×*+±_=-]")  # a lone letter is none, nor are a few
_ONE_CHARACTER = re.compile(r"\{(.)\}")


def symbols(text: str) -> str:
    """Mathematics spelled in one way: without white space and needless braces."""
    text = text.replace("√", r"\sqrt").replace("−", "-").replace("–", "-").replace("*", "×")
    return _ONE_CHARACTER.sub(r"\1", re.sub(r"\s+", "", text))


def _torn(text: str, at: int, past: int) -> Reading:
    """The mathematics that a number is the start of: symbols where it has some, else a calculation."""
    run = _RUN.match(text, at)
    if run is None or run.end() < past or not _SYMBOL.search(run[0]) or not _OPERATES.search(run[0]):
        return Reading(None, at, max(run.end() if run else at, past))
    return Reading(Symbols(symbols(run[0]), run[0]), at, run.end())


# --- numbers ------------------------------------------------------------------------------------

_S = r"[ \t\u2009]"
_SIGN = re.compile(rf"[-–+]{_S}?(?=[$0-9.\\{VULGAR}])|(?i:(?:minus|negative)\s)")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_FUNCTIONS = (
    "sqrt|frac|log|ln|exp|sin|cos|tan|alpha|beta|gamma|theta|lambda|mu|sigma|phi|omega|mod|bmod|pmod|cup|cap|overline"
    "|binom|sum|int|cdots|equiv|bar|vec|hat"
)
# What, right behind a number, makes it part of something else.
_GOES_ON = re.compile(
    rf"""
      [\w√π∞(\[{{^²³⁰¹⁴⁵⁶⁷⁸⁹⁻⁺] | ![\w(+*/×÷^=-]
    | [-–][\w(] | [.,:'/][0-9] | \.\\
    | {_S}*(?:!?[+×÷*/^=≤≥≠<>±√π∞≈]|\\(?:{_FUNCTIONS})(?![A-Za-z]))
    | {_S}*[-–]{_S}*[0-9.(\\√{VULGAR}] | {_S}-{_S}[a-z]\b(?!\s+[a-z])
    | {_S}+[xX]\b{_S}*(?=[0-9(]|$) | {_S}+of{_S}+\$?[0-9]
    | {_S}+(?:plus|minus|times|multiplied|divided|squared|cubed|factorial|mod|modulo|to{_S}+the{_S}+power)\b
    | {_S}*,?{_S}+(?:or|to){_S}+(?:\$?[0-9]|(?:{NUMBER_WORDS})\b)
    | {_S}+(?:of\s+)?{MONTHS}
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
_COMPOUND = re.compile(rf"{_S}*(?:,?{_S}*and{_S}|,)?{_S}*")
_COMMA = re.compile(rf"{_S}*,{_S}*(?:(?:and|or|&){_S}+)?|{_S}+(?P<word>and|or|&){_S}+|{_S}*;{_S}*")
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
    if time := _TIME.match(text, at):
        return _time(time)
    first, torn_at = _part(text, at)
    if first is None:
        return None if torn_at is None else _torn(text, at, torn_at)
    found = _ratio(text, at, first) or _compound(text, at, first) or _range(text, at, first)
    found = found or _list(text, at, first, nouns) or Reading(first.number, at, first.end)
    return _torn(text, at, found.end) if _GOES_ON.match(text, found.end) else found


def _part(text: str, at: int) -> tuple[_Part | None, int | None]:
    """One number, its sign and unit with it; else, of a number without a value, its end."""
    sign = _SIGN.match(text, at)
    start = sign.end() if sign else at
    found = numeral(text, start)
    if found is not None and "." in text[start : found.end] and _CONTINUED.match(text, found.end):
        return None, found.end
    if found is None:
        return None, at + 1 if _RUN.match(text, at) and not text[at].isalpha() else None
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
    behind = _end(_NOUNS, text, parts[-1].end)
    if len(parts) == 1 or not (word == "or" or _CLAUSE_ENDS.match(text, behind)):
        return None
    if len({part.number.worth for part in parts}) == 1:
        return Reading(parts[0].number, at, parts[-1].end)
    if word == "and" and len(parts) == 2 and _BETWEEN.search(text, max(0, at - 10), at):
        return _several("range", at, parts)
    return _several("list", at, parts)


def _several(form: str, at: int, parts: list[_Part]) -> Reading | None:
    if len(parts) == 1:
        return None
    return Reading(Several(form, tuple(part.number for part in parts)), at, parts[-1].end)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


# --- in a text, and as a whole one --------------------------------------------------------------

_START = re.compile(
    rf"(?<![\w.\\^])(?<![A-Za-z]-)(?:[-–+±](?=[$0-9.√π\\{VULGAR}]))?"
    rf"(?:\$?(?=[0-9]|\.[0-9])|(?=[{VULGAR}√π∞]|\\(?:frac|sqrt)(?![A-Za-z])))"
    rf"|(?<![\w.-])(?i:(?:minus\s|negative\s)?{STARTS})(?!\sof\b|\sanother\b)"
)
_MONTH_BEFORE = re.compile(rf"\b{MONTHS}\s\Z")


@lru_cache(maxsize=8)
def readings(text: str) -> tuple[Reading, ...]:
    """Every value, calculation and number in a plain text, from left to right; none overlaps another."""
    found: list[Reading] = []
    at = 0
    while start := _START.search(text, at):
        reading = read(text, start.start(), nouns=False) or Reading(None, start.start(), start.end() + 1)
        if _MONTH_BEFORE.search(text, max(0, start.start() - 12), start.start()):
            reading = reading._replace(value=None)
        found.append(reading)
        at = max(reading.end, start.start() + 1)
    return tuple(found)


_ROUGHLY = re.compile(
    r"(?:=|≈|~|:|about|approximately|approx\.?|around|roughly|exactly|only|just|nearly|almost)\s*(?=[^\s=])", re.IGNORECASE
)
_LEFT_SIDE = re.compile(r"(?:[A-Za-z][\w ]{0,40}(?:\([^()=]{0,20}\))?|[^=A-Za-z\\]{1,100})\s*[=≈]\s*(?![=\s]|$)")
_STOP = re.compile(r"(?<!\.)[.,;:]\Z")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


@lru_cache(maxsize=4096)
def value(text: str) -> Value | None:
    """What the whole of `text` is worth, dressing, a name and a unit aside; None where it is no one value."""
    if len(text) > LONGEST_TEXT:
        return None
    text = bare(undress(text).text)
    found = _whole(text)
    while found is None and (left := _LEFT_SIDE.match(text)):
        text = text[left.end() :]
        found = _whole(text)
    return found


def bare(text: str) -> str:
    """A plain text without quotes, brackets around all of it, and stops at its end."""
    before = None
    while before != text:
        before = text
        text = _STOP.sub("", text.strip(" \t\r\n\u2009"))
        if text[:1] in "'\"" and text[:1] == text[-1:]:
            text = text[1:-1]
        text = text[_end(_ROUGHLY, text, 0) :]
        inner = text[1:-1]
        if text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[0]]) and not re.search(r"[()\[\]{},;]", inner):
            text = inner
    return text


def _whole(text: str) -> Value | None:
    found = read(text, 0)
    if found is None or not _is_all(text, found):
        run = _RUN.match(text)
        found = _torn(text, 0, 0) if run else None
    return found.value if found and _is_all(text, found) else None


def _is_all(text: str, found: Reading) -> bool:
    rest = text[found.end :]
    return is_unit_phrase(rest.rstrip("!") if rest.strip("!") else rest)


def is_calculation(text: str) -> bool:
    """Whether a plain text is numbers and signs that have yet to be reckoned: `5 + 3`, `12 × 5 jars`."""
    run = _RUN.match(text)
    return run is not None and value(text) is None and not _SYMBOL.search(run[0]) and is_unit_phrase(text[run.end() :])


# --- equality -----------------------------------------------------------------------------------


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
