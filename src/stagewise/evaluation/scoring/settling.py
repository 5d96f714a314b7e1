r"""What a marked part of an output gives as the answer, and what a sentence states.

settled("60 jars, altogether")         ->  (0, 2): a value, with what says more about it left out
settled("(B) because it is a dog")     ->  (1, 2): the letter of an option
settled("72 - 12 = 60")                ->  (10, 12): what an equation comes to
settled("Mara has 60 jars left")       ->  (9, 11): what a sentence states
settled("2x + 3")                      ->  (0, 6): a value that is no number
"""

import re
from collections.abc import Sequence

from stagewise.evaluation.scoring.forms import Number, Reading, Several, Symbols
from stagewise.evaluation.scoring.grammar import read, readings
from stagewise.evaluation.scoring.values import bare, value

# --- marked parts -------------------------------------------------------------------------------

_LEADS_IN = re.compile(
    r"""
    (?: [\s:*=≈~→] | [=-]>
      | (?: therefore | thus | then | so | simply | just | equal\sto | approximately | about | around | roughly
          | exactly | that | (?:the\s)?(?:option|choice|letter) )\b,?
      | the\s(?: number | value | word | letter | colou?r | city | town | country | planet | year | month | day | name
          | element )(?:\sof)?\s(?=[A-Z0-9"'])
    )*
    """,
    re.IGNORECASE | re.VERBOSE,
)
# A letter and nothing that makes it a word, a name or one of several.
_ANOTHER = r"\s*(?:,|and\b|or\b|&)\s*[(\[]?[A-Z]\b"
_FOLLOWS = r"instead|rather|not|because|since|as|which|where|is|for|with|due"
_LETTER = re.compile(
    rf"""
      [(\[]([A-Z])[)\]] (?!{_ANOTHER}) (?!\s*[+*/×÷^=-])
    | ([A-Z])(?= [).]?[\s"'!]*$ | \)\s*\S | \s*[,;]\s*+(?![(\[]?[A-Z]\b) | \s+[-–—]\s | \s*[.!]\s
        | \s+(?:{_FOLLOWS})\b )
    """,
    re.VERBOSE,
)
_SMALL_LETTER = re.compile(r"[(\[]([a-z])[)\]][.\s]*$")
_OPTION = re.compile(r"([A-Z])(?=[.:]\s)|[^()\n]{1,80}\(([A-Z])\)[.\s]*$")  # `B. Canberra`, `Canberra (B)`
_ARTICLE = re.compile(rf"A\s(?!(?:{_FOLLOWS})\b|[-–—])")
_PROSE = re.compile(r"\s*(?:[.,;:!?)\]]|\Z|\s[a-z]{2,}|\n)")
_TRAILS = " \t\r\n\u2009.,;:"

# --- sentences ----------------------------------------------------------------------------------

_VERBS = (
    "is|are|was|were|be|has|have|had|equals?|gives?|giving|makes?|made|making|measures|needs?|needed|gets?|got|earns?"
    "|earned|costs?|pays?|paid|spends?|spent|sells?|sold|leaves|leaving|weighs?|takes?|took|saves?|saved|receives?"
    "|received|totals?|totall?ing|becomes|comes"
)
_FILLERS = (
    "now|then|only|just|also|still|about|approximately|around|roughly|exactly|therefore|thus|equal|to|actually|at|a"
    "|total|of|in|all|left|with"
)
_ASSERTS = re.compile(
    rf"""
    (?: [=≈→⇒] | \b(?i:result|total|answer): | \b(?i:{_VERBS})\b(?:\s(?i:{_FILLERS})\b){{0,4}} | \b[Ww]e\sget\b
      | \b(?:[Ss]he|[Hh]e|[Ii]t|[Tt]hat|[Tt]here)'s\b | \btotal\sof\b
      | \bleav(?:es|ing)\s(?:him|her|them|[A-Z]\w+)(?:\s(?:with|only|just)){{0,2}}
      | \b(?:add(?:s|ing)?\sup|amount(?:s|ing)?|sum(?:s|ming)?(?:\sup)?)\sto\b
      | \bround(?:s|ed)?\s(?:up\s|down\s|off\s)?to\b
    )[\s$*]*\Z
    """,
    re.VERBOSE,
)
_NAMES_IT = re.compile(
    r"\sis\sthe\b|(?:\s(?:of\sthe\s)?[a-z]+){0,3}\s(?:is|are|was|were)\s(?:left|remaining|needed)\b|(?:\s[a-z]+){0,2}\sremains?\b|\s(?:[a-z]+\s)?(?:in\stotal|altogether|in\sall)\b|\s?=\s?[A-Za-z]\b"
)
_NEARBY = 80  # characters before a value in which its verb stands
# Such a clause says its last value, whatever its verb, unless that is counted off from something.
_COUNTED_OFF = r"\b(?:out\sof|from|than|not|after|by|for|with|if)\s[^\w\n]*\Z"
_WHICH = re.compile(r",\swhich\s(?:is|are|was|were|makes|leaves|gives)\s[^\n.,;]{0,20}\Z")
_SO = re.compile(
    rf"\b(?:so|therefore|thus|hence|finally)\b(?![^\n.;=]{{0,200}}{_COUNTED_OFF})[^\n.;=]{{0,200}}\Z", re.IGNORECASE
)
_CLAUSE = 200  # characters
_BOUNDARIES = ("\n", ". ", "! ", "? ", "; ")
_SENTENCE_ENDS = re.compile(r"[\n!?;]|\.(?!\d)")
_ABBREVIATED = re.compile(r"\b(?:i\.e|e\.g|vs|approx|ca|resp|Mr|Mrs|Ms|Dr|St)\.\Z")  # their stop ends no sentence
_REASONS = re.compile(r"(?<!\band\s)\b(?:because|since)\b(?:[^\n.!?]|\.(?=\d))*", re.IGNORECASE)
_ASIDES = re.compile(r"(?<=[\w%.])\s\([^()\n]{1,200}\)")
_NO_CLAIM = re.compile(r"\s*(?:since|because|if|when|as|although|while)\b", re.IGNORECASE)
_TELLS = re.compile(r"[a-z]{2}")
_OPERAND = re.compile(
    r"""
    (?: [-+*/×÷^=]\s? | \d[ \t]? | \bthan\s | \bnot\s | n't\s | \bnever\s | \bfrom\s | \bout\sof\s
      | \bat\s(?:least|most)\s | \bup\sto\s
      | (?:[0-9]|\bhalf|\bthird|\bquarter|\bpercent|%)\s(?:\w+\s)?of\s | \b(?:step|part|day|question|case)\s )\Z
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DENIES = re.compile(r"(?:n't|\b(?:not|never|cannot))\s(?:be\s)?\Z")
_DENIED = re.compile(r" (?:is|was|would be|are)(?: not|n't| too| wrong| incorrect| impossible)")


def settled(text: str, has_options: bool = False) -> tuple[int, int] | None:
    """Where in a marked plain text its answer stands; None where it has none that can be told from its words."""
    start, end = _trimmed(text, lead_in(text))
    if start >= end:
        return None
    if letter := _letter(text, start, has_options):
        return letter
    whole = value(text[start:end])
    if whole is not None and ("=" not in text[start:end] or isinstance(whole, Several)):
        return start, end
    if found := equation(text[start:end]):
        return start + found.start, start + found.end
    if whole is not None:
        return start, end
    first = read(text, start)
    if first is None:
        found = stated(text[start:end])
        return (start + found.start, start + found.end) if found else None
    if first.value is None or (isinstance(first.value, Symbols) and not _PROSE.match(text, first.end)):
        return None
    return first.start, min(first.end, end)


def lead_in(text: str) -> int:
    """Where the answer of a marked text begins: `the city of Paris`, `exactly 60`, `option B`."""
    match = _LEADS_IN.match(text)
    return match.end() if match else 0


def stated(text: str) -> Reading | None:
    """The last value that a sentence or an equation of a plain text asserts, or that a clause concludes (`so …`)."""
    found = _without_asides(text, readings(text))
    if alone := _alone(text, found):
        return alone
    clause, concluded = 0, None  # the value that a clause concludes, if the clause asserts none
    for each in reversed(found):
        if concluded is not None and each.start < clause:
            return concluded
        if is_asserted(text, each):
            if not _WHICH.search(text, max(0, each.start - _NEARBY), each.start):
                return each
            if concluded is None:  # a remark (`…, which is 5 fewer`), unless it is all that the sentence says
                clause, concluded = sentence(text, each)[0], each
                continue
        so = _SO.search(text, max(0, each.start - _CLAUSE), each.start) if concluded is None and each.value else None
        if so is not None:
            clause, concluded = so.start(), each
    return concluded


def _without_asides(text: str, found: Sequence[Reading]) -> Sequence[Reading]:
    """Those not in brackets or in a reason behind another: `$18 every day (that's $126 per week)`, `60 jars (72 - 12)`,
    `it was $31.25, since 80% of that is $25`."""
    asides = [aside.span() for pattern in (_ASIDES, _REASONS) for aside in pattern.finditer(text)]
    if not asides:
        return found
    kept: list[Reading] = []
    for each in found:
        aside = next((start for start, end in asides if start <= each.start < end), None)
        if aside is None or not _is_told(text, [one for one in kept if one.end <= aside], aside, each):
            kept.append(each)
    return kept


def _is_told(text: str, before: Sequence[Reading], aside: int, each: Reading) -> bool:
    """What stands before an aside in the same sentence is a value, and asserted where the aside is a reason."""
    if not before or before[-1].value is None or before[-1].start < sentence(text, each)[0]:
        return False
    return text[aside].isspace() or is_asserted(text, before[-1])


def sentence(text: str, found: Reading) -> tuple[int, int]:
    """Start and end of the sentence of a plain text that a reading stands in."""
    start, before = 0, found.start
    while before > 0:
        start = max(text.rfind(stop, 0, before) + 1 for stop in _BOUNDARIES)
        if not start or not _ABBREVIATED.search(text, max(0, start - 8), start):
            break
        before = start - 1
    ends = _SENTENCE_ENDS.search(text, found.end)
    return start, ends.start() if ends else len(text)


def _alone(text: str, found: Sequence[Reading]) -> Reading | None:
    """The value in the last sentence, where it is the only one there: whatever the verb, it is what is said."""
    if not found or found[-1].value is None or is_operand(text, found[-1]):
        return None
    start, end = sentence(text, found[-1])
    others = len(found) > 1 and found[-2].end > start
    is_last = not text[end:].strip(" \t\n.!?;")
    around = text[start : found[-1].start] + text[found[-1].end : end]
    tells = _TELLS.search(around) is not None and not _NO_CLAIM.match(text, start)
    return found[-1] if is_last and not others and tells else None


def is_operand(text: str, reading: Reading) -> bool:
    """Whether a number is part of a calculation or a row, compared, counted off, or said not to be it."""
    before = text[max(0, reading.start - 10) : reading.start]
    return _OPERAND.search(before) is not None or _DENIED.match(text, reading.end) is not None


def is_asserted(text: str, reading: Reading) -> bool:
    """Whether a verb or an equals sign leads to a value, or what follows calls it the one."""
    if reading.value is None:
        return False
    before = text[max(0, reading.start - _NEARBY) : reading.start]
    if _DENIES.search(before) or before.endswith("out of ") or _DENIED.match(text, reading.end):
        return False
    return _ASSERTS.search(before) is not None or _NAMES_IT.match(text, reading.end) is not None


def _trimmed(text: str, start: int) -> tuple[int, int]:
    end = start + len(text[start:].rstrip(_TRAILS))
    return start, end + 3 if text.startswith("...", end) else end


def _letter(text: str, start: int, has_options: bool) -> tuple[int, int] | None:
    match = _LETTER.match(text, start) or _SMALL_LETTER.match(text, start)
    if match is None and has_options:
        match = _OPTION.match(text, start)
    if match is None or _ARTICLE.match(text, start):
        return None
    return match.span(match.lastindex or 0)


def equation(text: str) -> Reading | None:
    """What an equation comes to: its right side, or its left where the right is a calculation."""
    at = max(map(text.rfind, "=≈→⇒"))
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
