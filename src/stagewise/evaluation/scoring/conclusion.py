r"""Which of the answers in an output is its answer.

    "First \boxed{72}. So 60 jars are left."                        ->  "60"
    "The answer is 60, because 72 - 12 = 60 and 3 × 24 = 72."       ->  "60"

What an output marks as its answer counts before anything it merely says, and of several marks the last. A conclusion
that comes after the last mark counts before it: then the mark was one on the way.
"""

import re
from collections.abc import Mapping

from stagewise.evaluation.scoring.extraction import Extraction, Extractor, Mark, extraction
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.questions import content
from stagewise.evaluation.scoring.scope import scoped
from stagewise.evaluation.scoring.settling import sentence, stated
from stagewise.evaluation.scoring.values import value

# What follows one of these tells why, and concludes nothing: to the end of its sentence, or, of a check or a heading,
# until a correction.
_TELLS_WHY = re.compile(
    r"\b(?:because|since|recall|note|for\sexample|that\sis|this\sis\s(?:found|obtained))\b[^\n.!?]*(?:\.(?=\d)[^\n.!?]*)*",
    re.IGNORECASE,
)
_EXPLAINS = re.compile(
    r"\b(?:explanation|explained|reason(?:ing)?|justification|working|solution|steps|check|verif\w*|proof|here's\show"
    r"|here\sis\show|to\ssee\swhy)\b",
    re.IGNORECASE,
)
_EXPLANATION = re.compile(  # such a heading
    r"^[^\w\n]{0,20}(?:breakdown|explanation|reasoning|working|details|justification|calculations?"
    r"|here's\s(?:how|why|the\sbreakdown))[^\w\n]{0,5}:",
    re.IGNORECASE | re.MULTILINE,
)
_CORRECTS = re.compile(
    r"\b(?:wait|actually|correction|however|my\smistake|made\sa\smistake|oops|hmm|hold\son|sorry|no(?=,)|but)\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"[\s*_>,;.$})\]-]*(?:so|therefore|thus|hence|consequently|finally|in\sconclusion|in\stotal|overall|altogether"
    r"|as\sa\sresult|this\smeans|that\smeans|which\smeans|accordingly|then|∴)\b",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    r"(?:(?:[.!?\n:]\s?|\b(?:no|but|oh),?\s)(?:wait|hold\son|sorry|actually|hmm|oops|correction)|\bmistake)\b",
    re.IGNORECASE,
)
_SUPPOSES = re.compile(r"\b(?:if|would|could|might)\b", re.IGNORECASE)
_TURNS = re.compile(rf"{_CORRECTS.pattern}|\\b(?:so|therefore|thus|hence|must)\\b", re.IGNORECASE)
_QUESTION = re.compile(r"[^?.\n]*\?")


Chain = Mapping[str, Extractor]
"""Extractors by their names, in the order in which they are asked."""


def find_answer(output: str, *, prompt: str, finish_reason: str, extract: Chain) -> Extraction | None:
    """The answer in the part of `output` that answers `prompt`, by these extractors; None where none finds one."""
    judged = scoped(output, prompt, finish_reason)
    if heading := _EXPLANATION.search(judged):
        told = _answer(judged[: heading.start()] + "\n" * (len(judged) - heading.start()), prompt, extract)
        if told is not None:
            after = _strong(judged, prompt, extract)
            return after if after and after.span > told.span else told
    return _answer(judged, prompt, extract)


def _strong(judged: str, prompt: str, extract: Chain) -> Extraction | None:
    """The last mark that leaves no doubt, wherever it stands."""
    strong = [find for name, find in extract.items() if isinstance(find, Mark) and name != "option"]
    marks = (find(judged, prompt) for find in strong)
    return max(filter(None, marks), key=lambda found: found.span, default=None)


def _answer(judged: str, prompt: str, extract: Chain) -> Extraction | None:
    found = [find(judged, prompt) for find in extract.values() if isinstance(find, Mark)]
    marks = sorted(filter(None, found), key=lambda mark: mark.span)
    if not marks:
        unmarked = (find(judged, prompt) for find in extract.values() if not isinstance(find, Mark))
        return next(filter(None, unmarked), None)
    mark = marks[-1]
    if mark.rule == "option" and len(marks) > 1:
        before = marks[-2]
        if before.span[1] < mark.span[0] and not _TURNS.search(judged, before.span[1], mark.span[0]):
            mark = before  # an option that is merely spoken of afterwards
    if {"last_line", "statement"} & set(extract):
        return _conclusion(judged, mark.span[1], prompt) or mark
    return mark


def _conclusion(output: str, after: int, prompt: str) -> Extraction | None:
    """What an output concludes behind a mark: its last line where that is a value alone, or the last sentence that
    states a value, where it opens as a conclusion does or says all that was asked for."""
    rest = _without_reasons("\n" * after + output[after:])
    plain = undress(rest)
    text = plain.text
    end = len(text.rstrip())
    start = text.rfind("\n", 0, end) + 1
    if start > 0 and plain.starts[start] > after and value(text[start:end]) is not None:
        return extraction("last_line", output, plain, start, end)
    found = stated(text)
    if found is None:
        return None
    start, end = sentence(text, found)
    if _TAKES_BACK.search(text, 0, found.start) and not _SUPPOSES.search(text, start, end):
        return extraction("statement", output, plain, found.start, found.end)
    asked = content(_QUESTION.findall(prompt)[-1:] or [prompt])
    if _CONCLUDES.match(text, start) or (asked and asked <= content([text[start:end]])):
        return extraction("statement", output, plain, found.start, found.end)
    return None


def _without_reasons(text: str) -> str:
    text = _TELLS_WHY.sub(lambda match: "\n" * len(match[0]), text)
    explains = _EXPLAINS.search(text)
    if explains is None:
        return text
    corrects = _CORRECTS.search(text, explains.end())
    stop = corrects.start() if corrects else len(text)
    return text[: explains.start()] + "\n" * (stop - explains.start()) + text[stop:]
