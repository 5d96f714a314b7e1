r"""One number in a plain text: its exact value and where it ends, read whole or not at all.

    numeral("12 000 jars", 0)    ->  Numeral(Fraction(12000), 6)
    numeral("2 1/2 cups", 0)     ->  Numeral(Fraction(5, 2), 5)
    numeral("3 × 10^5", 0)       ->  Numeral(Fraction(300000), 8)
    numeral("2.5 million", 0)    ->  Numeral(Fraction(2500000), 11)
    numeral("1.2.3", 0)          ->  Numeral(None, 3): a number, but of no value
    numeral("apples", 0)         ->  None

The text is one that `plain.undress` made. Values are exact, never floats, and every pattern is linear.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from stagewise.evaluation.scoring.spelled import SCALES, spelled

LONGEST = 100  # characters of one number; Python refuses to read thousands of digits
LARGEST_POWER = 400

_GROUPED = (
    r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"  # 1,000,000.5
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])(?:\.[0-9]+)?"  # 1,00,000 in India
    r"|[0-9]{1,3}(?:[ \u2009][0-9]{3})+(?![ \u2009]?[0-9])(?:\.[0-9]+)?"  # 12 000
    r"|[0-9]{1,3}(?:'[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"  # 12'000 in Switzerland
)
# Points between groups: only a comma or a second point tells them from decimals.
_POINTED = r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]{1,3}(?:\.[0-9]{3}){2,}(?![0-9])"
_DIGITS = re.compile(
    rf"(?>(?P<pointed>{_POINTED})|(?P<grouped>{_GROUPED})|(?P<bare>[0-9]+(?:\.[0-9]+)?|\.[0-9]+))"
    r"(?:[eE](?P<ten>[-+]?[0-9]{1,4})(?![\w.]))?"
)
_GROUPING = re.compile(r"[, '\u2009]")
_TORN = re.compile(r"\.?[0-9]")  # right behind a number: then it is not whole

_EXPONENT = (
    r"\s?\^\s?(?:\{\s?([-+]?[0-9]{1,4})\s?\}|\(\s?([-+]?[0-9]{1,4})\s?\)|([-+]?[0-9]{1,4})(?![0-9]|\.[0-9]))"
    r"|([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})"
)
_RAISED = re.compile(_EXPONENT)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_TIMES_TEN = re.compile(r"\s?[×xX*]\s?10(?=\s?\^|[⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹])")
_TO_BASE_TEN = re.compile(r"_\s?(?:\{\s?10\s?\}|10(?![0-9]))")
_OVER = re.compile(r"\s?/\s?(?=[0-9.])")

_VULGAR = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5)}
_VULGAR |= {"⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)}
VULGAR = "".join(_VULGAR)
_INNER = r"(?:\{\s*(-?[0-9][0-9.,]{0,30})\s*\}|([0-9]))"
_LATEX = rf"\\frac\s*{_INNER}\s*{_INNER}"  # \frac{1}{2}
_REPEATING = re.compile(r"([0-9]{0,9})\.([0-9]{0,9})\\(?:overline|bar|dot)\s*\{([0-9]{1,9})\}")
_FRACTION = re.compile(_LATEX)
_PART = re.compile(  # what makes a mixed number of the whole one before it
    rf"(?:\s?(?P<vulgar>[{VULGAR}])|\s?(?={_LATEX})|(?:\s|\sand\s)(?P<top>[0-9]{{1,9}})\s?/\s?"
    r"(?P<bottom>[0-9]{1,9})(?![0-9]*[/.,]?[0-9]))"
)
_HALF = re.compile(r"\sand\s(?:an?|one)\s(half|quarter)\b|\sand\sthree\s(quarters)\b", re.IGNORECASE)

_SCALE = re.compile(rf"\s?(?:-\s?)?({'|'.join(SCALES)})s?\b(?!-)", re.IGNORECASE)
_LETTERS = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
_LETTER = re.compile(r"([kKMB])(?![\w^²³])")
_CURRENCY_LETTERS = {"k": 10**3, "m": 10**6, "mm": 10**6, "b": 10**9, "bn": 10**9}
_CURRENCY_LETTER = re.compile(r"\s?(mm|bn|[kmb])\b", re.IGNORECASE)


class Numeral(NamedTuple):
    value: Fraction | None
    """None where it is a number, but one that cannot be read whole."""
    end: int


def numeral(text: str, at: int) -> Numeral | None:
    """The number that stands at `at`, without a sign; None where no number does."""
    currency = text.startswith("$", at)
    at += currency
    found = _fraction(text, at) or _digits(text, at) or _spelled(text, at)
    if found is None or found.value is None:
        return found
    return _scaled(text, found, currency)


def _fraction(text: str, at: int) -> Numeral | None:
    vulgar = text[at : at + 1]
    if vulgar in _VULGAR:
        return Numeral(Fraction(*_VULGAR[vulgar]), at + 1)
    if repeating := _REPEATING.match(text, at):
        return Numeral(_repeated(*repeating.groups()), repeating.end())
    match = _FRACTION.match(text, at)
    if not match:
        return None
    top, bottom = (_number(match[i] or match[i + 1]) for i in (1, 3))
    return Numeral(top / bottom if top is not None and bottom else None, match.end())


def _repeated(whole: str, once: str, again: str) -> Fraction:
    """`0.1\\overline{6}` is 1/6: the digits once, then those that repeat over as many nines."""
    nines = (10 ** len(again) - 1) * 10 ** len(once)
    return Fraction(whole or 0) + Fraction(int(once or 0), 10 ** len(once)) + Fraction(int(again), nines)


def _digits(text: str, at: int) -> Numeral | None:
    match = _DIGITS.match(text, at)
    if not match:
        return None
    end = match.end()
    if len(match[0]) > LONGEST or _TORN.match(text, end):
        return Numeral(None, end)
    value = _number(match[0])
    if value is None:
        return Numeral(None, end)
    if based := _TO_BASE_TEN.match(text, end):
        return Numeral(value, based.end())
    if over := _OVER.match(text, end):
        return _over(text, value, over.end())
    if raised := _RAISED.match(text, end):
        return Numeral(_power(value, raised), raised.end())
    if (times := _TIMES_TEN.match(text, end)) and (raised := _RAISED.match(text, times.end())):
        power = _power(Fraction(10), raised)
        return Numeral(None if power is None else value * power, raised.end())
    return _mixed(text, value, end) if match["bare"] and value.denominator == 1 else Numeral(value, end)


def _number(digits: str) -> Fraction | None:
    """What matches `_DIGITS`; None where its power of ten is out of reach, or it is not one number (`1,2`)."""
    match = _DIGITS.fullmatch(digits.lstrip("-"))
    if not match:
        return None
    number = match["pointed"] or match["grouped"] or match["bare"]
    number = number.replace(".", "").replace(",", ".") if match["pointed"] else _GROUPING.sub("", number)
    ten = int(match["ten"] or 0)
    if abs(ten) > LARGEST_POWER:
        return None
    return Fraction(number) * Fraction(10) ** ten * (-1 if digits.startswith("-") else 1)


def _over(text: str, top: Fraction, at: int) -> Numeral:
    match = _DIGITS.match(text, at)
    if not match:
        return Numeral(None, at)
    bottom = _number(match[0]) if len(match[0]) <= LONGEST else None
    whole = not _TORN.match(text, match.end()) and not _OVER.match(text, match.end())
    return Numeral(top / bottom if bottom and whole else None, match.end())


def _power(base: Fraction, raised: re.Match[str]) -> Fraction | None:
    exponent = int(next(filter(None, raised.groups())).translate(_SUPERSCRIPTS))
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * size > 4 * LARGEST_POWER or (exponent < 0 and not base):
        return None
    return base**exponent


def _mixed(text: str, whole: Fraction, end: int) -> Numeral:
    """A whole number, with the proper fraction that may follow it: `2 1/2`, `2½`, `2\\frac{1}{2}`, `2 and a half`."""
    if half := _HALF.match(text, end):
        return Numeral(
            whole + {"half": Fraction(1, 2), "quarter": Fraction(1, 4)}.get(half[1], Fraction(3, 4)), half.end()
        )
    part = _PART.match(text, end)
    if not part:
        return Numeral(whole, end)
    if part["top"]:
        found = Numeral(Fraction(int(part["top"]), int(part["bottom"])) if int(part["bottom"]) else None, part.end())
    elif part["vulgar"]:
        found = Numeral(Fraction(*_VULGAR[part["vulgar"]]), part.end())
    else:
        found = _fraction(text, part.end()) or Numeral(None, part.end())
    proper = found.value is not None and 0 < found.value < 1
    return Numeral(whole + (found.value or 0) if proper else None, found.end)


def _spelled(text: str, at: int) -> Numeral | None:
    found = spelled(text, at)
    return None if found is None else _mixed(text, *found) if found[0].denominator == 1 else Numeral(*found)


def _scaled(text: str, found: Numeral, currency: bool) -> Numeral:
    value, end = found
    assert value is not None
    letters, scales = (_CURRENCY_LETTER, _CURRENCY_LETTERS) if currency else (_LETTER, _LETTERS)
    if letter := letters.match(text, end):
        return Numeral(value * scales[letter[1].lower() if currency else letter[1]], letter.end())
    while scale := _SCALE.match(text, end):
        value, end = value * SCALES[scale[1].lower()], scale.end()
    return Numeral(value, end)
