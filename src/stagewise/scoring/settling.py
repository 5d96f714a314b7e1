r"""What a marked part of an output gives as the answer: the value, the letter or the words in it.

    settled("60 jars, altogether")         ->  (0, 2): a value, with what says more about it left out
    settled("(B) because it is a dog")     ->  (1, 2): the letter of an option
    settled("72 - 12 = 60")                ->  (10, 12): what an equation comes to
    settled("Mara has 60 jars left")       ->  (9, 11): what a sentence states
    settled("2x + 3")                      ->  (0, 6): a value that is no number
"""

import re

from stagewise.scoring.values import Number, Reading, bare, read, readings, value

_LEADS_IN = re.compile(
    r"(?:[\s:*=>]|(?:therefore|thus|then|so|simply|just|equal\sto|approximately|about|around|roughly|exactly|that"
    r"|(?:the\s)?(?:option|choice|letter))\b,?|(?:≈|~))*",
    re.IGNORECASE,
)
# A letter and nothing that makes it a word, a name or one of several.
_LETTER = re.compile(
    r"[(\[]([A-Z])[)\]](?!\s*(?:,|and\b|or\b|&)\s*[(\[]?[A-Z]\b)(?!\s*[+*/×÷^=-])"
    r"|([A-Z])(?=[).]?[\s\"'!]*$|\)\s*\S|\s*[,;]\s*(?![(\[]?[A-Z]\b)|\s+[-–—]\s|\s*[.!]\s"
    r"|\s+(?:because|since|as|which|where|is|for|with|due)\b)"
)
_LOOSE_LETTER = re.compile(r"([A-Z])(?=[.:]\s)")
_BOUNDED_LETTER = re.compile(r"[(\[]([a-z])[)\]][.\s]*$")
_ARTICLE = re.compile(r"A\s(?!because|since|as\b|which|where|is\b|for\b|with|due|[-–—])")
_TRAILS = " \t\r\n\u2009.,;:"

# A sentence that says a value: what may stand before one, and behind one.
_VERBS = (
    "is|are|was|were|be|has|have|had|equals?|gives?|makes?|made|measures|needs?|needed|gets?|got|earns?|earned|costs?"
    "|pays?|paid|spends?|spent|sells?|sold|leaves|weighs?|takes?|took|saves?|saved|receives?|received|totals?|becomes"
)
_FILLERS = (
    "now|then|only|just|also|still|about|approximately|around|roughly|exactly|therefore|thus|equal|to|actually|at|a"
    "|total|of|in|all|left|with"
)
_ASSERTS = re.compile(
    rf"(?:[=≈]|\b(?i:result|total|answer):|\b(?i:{_VERBS})\b(?:\s(?i:{_FILLERS})\b){{0,4}}|\b[Ww]e\sget\b)[\s$*]*\Z"
)
_NAMES_IT = re.compile(r"\sis\sthe\b")
_NEARBY = 80  # characters before a value in which its verb stands


def settled(text: str, has_options: bool = False) -> tuple[int, int] | None:
    """Where in a marked plain text its answer stands; None where it has none that can be told from its words."""
    start, end = _trimmed(text, _LEADS_IN.match(text).end())  # type: ignore[union-attr]
    if start >= end:
        return None
    if found := _letter(text, start, has_options):
        return found
    if value(text[start:end]) is not None and "=" not in text[start:end]:
        return start, end
    if found := _equation(text[start:end]):
        return start + found.start, start + found.end
    first = read(text, start)
    if first is not None and first.value is not None:
        return start, min(first.end, end)
    if value(text[start:end]) is not None:
        return start, end
    return None


def stated(text: str) -> Reading | None:
    """The last value that a sentence or an equation of a plain text asserts."""
    return next((each for each in reversed(readings(text)) if is_asserted(text, each)), None)


def is_asserted(text: str, reading: Reading) -> bool:
    if reading.value is None:
        return False
    before = text[max(0, reading.start - _NEARBY) : reading.start]
    return _ASSERTS.search(before) is not None or _NAMES_IT.match(text, reading.end) is not None


def _trimmed(text: str, start: int) -> tuple[int, int]:
    return start, start + len(text[start:].rstrip(_TRAILS))


def _letter(text: str, start: int, has_options: bool) -> tuple[int, int] | None:
    match = _LETTER.match(text, start) or _BOUNDED_LETTER.match(text, start)
    if match is None and has_options:
        match = _LOOSE_LETTER.match(text, start)
    if match is None or _ARTICLE.match(text, start):
        return None
    return match.span(match.lastindex or 0)


def _equation(text: str) -> Reading | None:
    """What an equation comes to: its right side, or its left where the right is a calculation."""
    at = max(text.rfind("="), text.rfind("≈"))
    if at < 0:
        return None
    found = readings(text)
    right = next((each for each in found if each.start > at), None)
    if right is not None and right.value is not None and not text[at + 1 : right.start].strip():
        return right
    first = text.find("=")
    left = bare(text[:first])
    if right is None or right.value is not None or not isinstance(value(left), Number):
        return None
    start = text.find(left)
    return Reading(value(left), start, start + len(left))
