r"""What a marked part of an output gives as the answer: the value, the letter or the words in it.

settled("60 jars, altogether")         ->  (0, 2): a value, with what says more about it left out
settled("(B) because it is a dog")     ->  (1, 2): the letter of an option
settled("72 - 12 = 60")                ->  (10, 12): what an equation comes to
settled("Mara has 60 jars left")       ->  (9, 11): what a sentence states
settled("2x + 3")                      ->  (0, 6): a value that is no number
"""

import re
from collections.abc import Sequence

from stagewise.scoring.forms import Number, Reading, Symbols
from stagewise.scoring.grammar import read, readings
from stagewise.scoring.values import bare, value

_LEADS_IN = re.compile(
    r"(?:[\s:*=>]|(?:therefore|thus|then|so|simply|just|equal\sto|approximately|about|around|roughly|exactly|that"
    r"|(?:the\s)?(?:option|choice|letter))\b,?|(?:≈|~)"
    r"|the\s(?:number|value|word|letter|colou?r|city|town|country|planet|year|month|day|name|element)(?:\sof)?\s(?=[A-Z0-9\"']))*",
    re.IGNORECASE,
)
# A letter and nothing that makes it a word, a name or one of several.
_LETTER = re.compile(
    r"[(\[]([A-Z])[)\]](?!\s*(?:,|and\b|or\b|&)\s*[(\[]?[A-Z]\b)(?!\s*[+*/×÷^=-])"
    r"|([A-Z])(?=[).]?[\s\"'!]*$|\)\s*\S|\s*[,;]\s*+(?![(\[]?[A-Z]\b)|\s+[-–—]\s|\s*[.!]\s"
    r"|\s+(?:because|since|as|which|where|is|for|with|due)\b)"
)
_LOOSE_LETTER = re.compile(r"([A-Z])(?=[.:]\s)")
_NAMED_LETTER = re.compile(r"[^()\n]{1,80}\(([A-Z])\)[.\s]*$")  # Canberra (B)
_BOUNDED_LETTER = re.compile(r"[(\[]([a-z])[)\]][.\s]*$")
_ARTICLE = re.compile(r"A\s(?!because|since|as\b|which|where|is\b|for\b|with|due|[-–—])")
_PROSE = re.compile(r"\s*(?:[.,;:!?)\]]|\Z|\s[a-z]{2,}|\n)")
_TRAILS = " \t\r\n\u2009.,;:"

# A sentence that says a value: what may stand before one, and behind one.
_VERBS = (
    "is|are|was|were|be|has|have|had|equals?|gives?|makes?|made|measures|needs?|needed|gets?|got|earns?|earned|costs?"
    "|pays?|paid|spends?|spent|sells?|sold|leaves|weighs?|takes?|took|saves?|saved|receives?|received|totals?|becomes|leaving|giving|making|totall?ing"
)
_FILLERS = (
    "now|then|only|just|also|still|about|approximately|around|roughly|exactly|therefore|thus|equal|to|actually|at|a"
    "|total|of|in|all|left|with"
)
_ASSERTS = re.compile(
    rf"(?:[=≈]|\b(?i:result|total|answer):|\b(?i:{_VERBS})\b(?:\s(?i:{_FILLERS})\b){{0,4}}|\b[Ww]e\sget\b|\b(?:[Ss]he|[Hh]e|[Ii]t|[Tt]hat|[Tt]here)'s\b|\btotal\sof\b|\bround(?:s|ed)?\s(?:up\s|down\s|off\s)?to\b)[\s$*]*\Z"
)
_NAMES_IT = re.compile(r"\sis\sthe\b|\s(?:[a-z]+\s)?(?:in\stotal|altogether|in\sall)\b|\s?=\s?[A-Za-z]\b")
_SO = re.compile(
    r"\b(?:so|therefore|thus|hence|finally)\b(?![^\n.;=]{0,200}\b(?:out\sof|from|than|not|after|by|for|with|if)\s[^\w\n]*\Z)[^\n.;=]{0,200}\Z",
    re.I,
)
_CLAUSE = 200
_SENTENCE_ENDS = re.compile(r"\n|[.!?](?=\s|\Z)")
_TELLS = re.compile(r"(?!\s*(?:since|because|if|when|as|although|while)\b).*[a-z]{2}", re.IGNORECASE | re.DOTALL)
_OPERAND = re.compile(
    r"(?:[-+*/×÷^=]\s?|\d[ \t]?|\bthan\s|\bnot\s|n't\s|\bnever\s|\b(?:step|part|day|question|case)\s|\bout\sof\s"
    r"|[0-9]\s(?:\w+\s)?of\s|\bfrom\s)\Z",
    re.IGNORECASE,
)
_DENIES = re.compile(r"(?:n't|\b(?:not|never|cannot))\s(?:be\s)?\Z")
_DENIED = re.compile(r" (?:is|was|would be|are)(?: not|n't| too| wrong| incorrect| impossible)")
_NEARBY = 80  # characters before a value in which its verb stands


def settled(text: str, has_options: bool = False) -> tuple[int, int] | None:
    """Where in a marked plain text its answer stands; None where it has none that can be told from its words."""
    start, end = _trimmed(text, lead_in(text))
    if start >= end:
        return None
    if letter := _letter(text, start, has_options):
        return letter
    if value(text[start:end]) is not None and "=" not in text[start:end]:
        return start, end
    if found := equation(text[start:end]):
        return start + found.start, start + found.end
    first = read(text, start)
    if first is None or first.value is None or (isinstance(first.value, Symbols) and not _PROSE.match(text, first.end)):
        return (start, end) if value(text[start:end]) is not None else None
    return first.start, min(first.end, end)


def lead_in(text: str) -> int:
    """Where the answer of a marked text begins: `the city of Paris`, `exactly 60`, `option B`."""
    match = _LEADS_IN.match(text)
    return match.end() if match else 0


def stated(text: str) -> Reading | None:
    """The last value that a sentence or an equation of a plain text asserts, or that a clause concludes (`so …`)."""
    found = readings(text)
    if found and (alone := _alone(text, found)):
        return alone
    clause = len(text) + 1  # where the concluding clause begins whose own assertions have been sought
    waiting: Reading | None = None
    for each in reversed(readings(text)):
        if waiting is not None and each.start < clause:
            return waiting
        if is_asserted(text, each):
            return each
        if (
            waiting is None
            and each.value is not None
            and (so := _SO.search(text, max(0, each.start - _CLAUSE), each.start))
        ):
            clause, waiting = so.start(), each
    return waiting


def _alone(text: str, found: Sequence[Reading]) -> Reading | None:
    """The value in the last sentence, where it is the only one there: whatever the verb, it is what is said."""
    last = found[-1]
    start = max(text.rfind(stop, 0, last.start) for stop in ("\n", ". ", "! ", "? ", "; ")) + 1
    if last.value is None or (len(found) > 1 and found[-2].end > start):
        return None
    ends = _SENTENCE_ENDS.search(text, last.end)
    if text[ends.end() if ends else len(text) :].strip() or not _TELLS.match(text, start, last.start):
        return None
    return None if is_operand(text, last) else last


def is_operand(text: str, reading: Reading) -> bool:
    """Whether a number is part of a calculation or a row, compared, counted off, or said not to be it."""
    before = text[max(0, reading.start - 10) : reading.start]
    return _OPERAND.search(before) is not None or _DENIED.match(text, reading.end) is not None


def is_asserted(text: str, reading: Reading) -> bool:
    if reading.value is None:
        return False
    before = text[max(0, reading.start - _NEARBY) : reading.start]
    if _DENIES.search(before) or _DENIED.match(text, reading.end):
        return False
    return _ASSERTS.search(before) is not None or _NAMES_IT.match(text, reading.end) is not None


def _trimmed(text: str, start: int) -> tuple[int, int]:
    end = start + len(text[start:].rstrip(_TRAILS))
    return start, end + 3 if text.startswith("...", end) else end


def _letter(text: str, start: int, has_options: bool) -> tuple[int, int] | None:
    match = _LETTER.match(text, start) or _BOUNDED_LETTER.match(text, start)
    if match is None and has_options:
        match = _LOOSE_LETTER.match(text, start) or _NAMED_LETTER.match(text, start)
    if match is None or _ARTICLE.match(text, start):
        return None
    return match.span(match.lastindex or 0)


def equation(text: str) -> Reading | None:
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
