r"""What the whole of a text is worth: one grammar for every extractor and every matcher.

    value("$1,000.00")            ->  Number(Fraction(1000))     value("7.5 km")    ->  Number(…, "kilometer")
    value("1 hour 30 minutes")    ->  Several("compound", …)     value("5 to 7")    ->  Several("range", …)
    value("3:15 PM")              ->  Several("time", …)         value("5 or 7")    ->  Several("list", …)
    value(r"3\sqrt{2}")           ->  Symbols(r"3\sqrt2", …)     value("5 + 3")     ->  None

Equality (`forms.same`) is of exact values, within one form: no units are converted.
"""

import re
from fractions import Fraction
from functools import lru_cache

from stagewise.evaluation.scoring.forms import Number, Value
from stagewise.evaluation.scoring.grammar import read
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.symbols import run, symbolic
from stagewise.evaluation.scoring.units import is_unit_phrase

LONGEST_TEXT = 300  # characters; no value is longer
MOST_LAYERS = 6  # of brackets and quotes around one

_ROUGHLY = re.compile(
    r"\A(?:=|≈|~|:|about|approximately|approx\.?|around|roughly|exactly|only|just|nearly|almost)\s*(?=[^\s=])",
    re.IGNORECASE,
)
_LEFT_SIDE = re.compile(
    r"(?:(?:[A-Za-z][A-Za-z0-9_' ]{0,40}(?:\([^()=]{0,20}\))?|[^=A-Za-z\\π]{1,100})\s*=|[A-Za-z]\w{0,9}\s*≈)"
    r"\s*(?![=\s]|$)"
)
_STOPS = (".", ",", ";", ":")
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
    for _ in range(MOST_LAYERS):
        before = text
        text = text.strip(" \t\r\n\u2009")
        if text[-1:] in _STOPS and text[-2:-1] != ".":
            text = text[:-1]
        if text[:1] in "'\"" and text[:1] == text[-1:]:
            text = text[1:-1]
        text = _ROUGHLY.sub("", text, count=1)
        inner = text[1:-1]
        if text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[0]]) and not re.search(r"[()\[\]{},;]", inner):
            text = inner
        if text == before:
            break
    return text


_WORDS = {"once": Fraction(1), "twice": Fraction(2), "thrice": Fraction(3), "half": Fraction(1, 2)}


def _whole(text: str) -> Value | None:
    if text.lower() in _WORDS:
        return Number(_WORDS[text.lower()])
    found = read(text, 0)
    if found is not None and found.start == 0 and _is_all(text, found.end):
        return found.value
    said = run(text, 0)
    return symbolic(said) if said and _is_all(text, len(said)) else None


def _is_all(text: str, end: int) -> bool:
    rest = text[end:]
    return is_unit_phrase(rest.rstrip("!") if rest.strip("!") else rest)


def is_calculation(text: str) -> bool:
    """Whether a plain text is numbers and signs that have yet to be calculated: `5 + 3`, `12 × 5 jars`."""
    said = run(text, 0)
    return bool(said) and value(text) is None and symbolic(said) is None and is_unit_phrase(text[len(said) :])
