r"""The exact value of a text that is one number, however it is spelled; None where it is anything else.

    value("$1,000.00")  ->  Fraction(1000)       value("7.5 km")        ->  Fraction(15, 2)
    value("1/2")        ->  Fraction(1, 2)       value(r"\frac{1}{2}")  ->  Fraction(1, 2)
    value("seven")      ->  Fraction(7)          value("50 %")          ->  Fraction(1, 2)
    value("5 + 3")      ->  None                 value("12 apples and 3 pears")  ->  None

Equality is of values, never of floats.
"""

import re
from fractions import Fraction

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
WORDS = {word: number for number, word in enumerate(SMALL.split())}
CURRENCY = "$€£¥"
DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
LONGEST_TEXT = 100  # characters; no number is longer, and Python refuses to read thousands of digits

_NUMBER = re.compile(
    rf"(?P<sign>[-+−])?\s?[{CURRENCY}]?\s?(?P<top>{DIGITS})"
    rf"(?:\s?/\s?(?P<bottom>{DIGITS}))?\s?(?P<percent>%|percent\b)?",
    re.IGNORECASE,
)
# What may stand after a number without changing it: "km", "cm²", "°", "liters per minute", "km/h".
_UNIT = re.compile(r"\s*(?:°\s*[CF]?|[^\W\d_]+[²³]?(?:(?:\s+|/)[^\W\d_]+[²³]?){0,3})?")
_NO_UNIT = re.compile(
    r"\b(?:and|or|plus|minus|times|to|not|is|are|than|x|squared|cubed|factorial"
    r"|hundred|thousand|million|billion)\b",
    re.IGNORECASE,
)
# MATH's normalisation (hendrycks/math `_strip_string`): \text, degrees, delimiters and `x =` say nothing.
_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\textdegree|\^\s*\{?\\circ\}?"), "°"),
    (re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf)\s*\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\\[,!; ]|\\left|\\right|\*\*|[{}]"), ""),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"^\s*\$+(?=.*\$)|(?<!^)\$+\s*(?=[.\s]*$)"), ""),
    (re.compile(r"^\s*[^\W\d_]\w?\s*=(?!=)"), ""),
)


def value(text: str) -> Fraction | None:
    """The number that `text` is, a unit after it left out; a percentage is in hundredths."""
    if len(text) > LONGEST_TEXT:
        return None
    text = plain(text).strip(" \t\r\n'\"").rstrip(" .!,;:'\"")
    word, _, rest = text.partition(" ")
    if word.lower() in WORDS:
        return Fraction(WORDS[word.lower()]) if _is_unit(rest) else None
    match = _NUMBER.match(text)
    return _worth(match) if match and _is_unit(text[match.end() :]) else None


def plain(text: str) -> str:
    """`text` without the LaTeX that only dresses a number."""
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return text


def is_percent(text: str) -> bool:
    return re.search(r"%|\bpercent\b", text, re.IGNORECASE) is not None


def _worth(match: re.Match[str]) -> Fraction | None:
    top, bottom = match["top"].replace(",", ""), (match["bottom"] or "1").replace(",", "")
    if not Fraction(bottom):
        return None
    worth = Fraction(top) / Fraction(bottom) / (100 if match["percent"] else 1)
    return -worth if match["sign"] in ("-", "−") else worth


def _is_unit(text: str) -> bool:
    return _UNIT.fullmatch(text) is not None and not _NO_UNIT.search(text)
