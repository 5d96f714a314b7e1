r"""Which of the answers in an output is its answer.

    "First \boxed{72}. So 60 jars are left."                        ->  "60"
    "The answer is 60, because 72 - 12 = 60 and 3 × 24 = 72."       ->  "60"

What an output marks as its answer counts before anything it merely says, and of several marks the last. A conclusion
that comes after the last mark counts before it: then the mark was one on the way.
"""

import re
from collections.abc import Sequence

from stagewise.scoring.extraction import EXTRACTORS, MARKED
from stagewise.scoring.grammar import readings
from stagewise.scoring.marks import Extraction, extraction
from stagewise.scoring.plain import undress
from stagewise.scoring.questions import content
from stagewise.scoring.scope import scoped
from stagewise.scoring.settling import is_asserted
from stagewise.scoring.values import value

# What follows one of these tells why, and concludes nothing, until a correction.
_EXPLAINS = re.compile(
    r"\b(?:because|since|explanation|explained|reason(?:ing)?|justification|working|solution|steps|check|verif\w*|proof|note"
    r"|recall|here's\show|here\sis\show|to\ssee\swhy|this\sis\s(?:found|obtained)|for\sexample|that\sis)\b",
    re.IGNORECASE,
)
_EXPLANATION = re.compile(
    r"^[^\w\n]{0,20}(?:breakdown|explanation|reasoning|working|details|justification|calculations?|here's\s(?:how|why|the\sbreakdown))[^\w\n]{0,5}:",
    re.IGNORECASE | re.MULTILINE,
)
_CORRECTS = re.compile(r"\b(?:wait|actually|correction|however|mistake|oops|hmm|hold\son|sorry|but)\b", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"[\s*_>,;.$})\]-]*(?:so|therefore|thus|hence|consequently|finally|in\sconclusion|in\stotal|overall|altogether|as\sa\sresult"
    r"|this\smeans|that\smeans|which\smeans|accordingly|then|∴)\b",
    re.IGNORECASE,
)


def find_answer(
    output: str, *, prompt: str, finish_reason: str, extract: Sequence[str] = tuple(EXTRACTORS)
) -> Extraction | None:
    """The answer in the part of `output` that answers `prompt`, by the extractors named; None where none finds one."""
    judged = scoped(output, prompt, finish_reason)
    if heading := _EXPLANATION.search(judged):
        told = _answer(judged[: heading.start()] + "\n" * (len(judged) - heading.start()), prompt, extract)
        if told is not None:
            after = _strong(judged, prompt, extract)
            return after if after and after.span > told.span else told
    return _answer(judged, prompt, extract)


def _strong(judged: str, prompt: str, extract: Sequence[str]) -> Extraction | None:
    """The last mark that leaves no doubt, wherever it stands."""
    marks = (EXTRACTORS[name](judged, prompt) for name in extract if name in MARKED and name != "option")
    return max(filter(None, marks), key=lambda found: found.span, default=None)


def _answer(judged: str, prompt: str, extract: Sequence[str]) -> Extraction | None:
    marks = [EXTRACTORS[name](judged, prompt) for name in extract if name in MARKED]
    mark = max(filter(None, marks), key=lambda found: found.span, default=None)
    if mark is None:
        unmarked = (EXTRACTORS[name](judged, prompt) for name in extract if name not in MARKED)
        return next(filter(None, unmarked), None)
    if {"last_line", "statement"} & set(extract):
        return _conclusion(judged, mark.span[1], prompt) or mark
    return mark


def _conclusion(output: str, after: int, prompt: str) -> Extraction | None:
    """What an output concludes behind a mark: its last line where that is a value alone, or the last sentence that
    states a value, where it opens as a conclusion does or says what was asked for."""
    rest = "\n" * after + output[after:]
    if explains := _EXPLAINS.search(rest):
        corrects = _CORRECTS.search(rest, explains.end())
        stop = corrects.start() if corrects else len(rest)
        rest = rest[: explains.start()] + "\n" * (stop - explains.start()) + rest[stop:]
    plain = undress(rest)
    end = len(plain.text.rstrip())
    start = plain.text.rfind("\n", 0, end) + 1
    if start > 0 and plain.starts[start] > after and value(plain.text[start:end]) is not None:
        return extraction("last_line", output, plain, start, end)
    stated = next((each for each in reversed(readings(plain.text)) if is_asserted(plain.text, each)), None)
    if stated is None:
        return None
    start = max(plain.text.rfind(stop, 0, stated.start) for stop in ("\n", ". ", "! ", "? ")) + 1
    end = len(plain.text)
    ends = re.compile(r"[\n!?]|\.(?!\d)").search(plain.text, stated.end)
    sentence = plain.text[start : ends.start() if ends else end]
    asked = content(re.findall(r"[^?.\n]*\?", prompt)[-1:] or [prompt])
    if not (_CONCLUDES.match(sentence) or (asked and asked <= content([sentence]))):
        return None
    return extraction("statement", output, plain, stated.start, stated.end)
