"""`Answer: 72` (openai/simple-evals), `the answer is 72` (Wei et al. 2022, arXiv:2201.11903), `72 is the answer`."""

import re

from stagewise.evaluation.scoring.extraction import HEADING, Extraction, Mark, backwards, extraction
from stagewise.evaluation.scoring.grammar import readings
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import options
from stagewise.evaluation.scoring.settling import lead_in, settled
from stagewise.evaluation.scoring.values import value

_WHOSE = r"(?:\s+(?:choice|option|value|here))?(?:\s+(?:to|for|of|in)\s+[^\n.:=?!]{1,80}?)?"
_COMES_TO = r"(?:is|are|was|would\sbe|should\sbe|will\sbe|must\sbe|comes\s(?:out\s)?to(?:\sbe)?|equals)"
_ANSWER = re.compile(
    rf"\banswers?\b[\"']?{_WHOSE}(?:\s*\([^()\n]{{1,40}}\))?[ \t]*"
    rf"(?:(?P<colon>[:=]|[-–—](?=\s))|\b{_COMES_TO}\b:?)"
    r"(?P<gap>[ \t:*]*\n?[ \t\n]*)(?=(?P<said>\"[^\"\n]{0,400}(?=\"\s*[,}])|[^\n]{1,400}))",
    re.IGNORECASE,
)
_IS_ANSWER = re.compile(
    r"\sis\s(?:the|my|our)\s(?:(?:final|correct|right|best|only)\s)?(?:answer|option|choice|solution)\b", re.IGNORECASE
)
_LAST_WORD = re.compile(r"[\w'.-]+\Z")
_SENTENCE_ENDS = re.compile(r"(?:[.?]|(?<=[A-Za-z])!)(?=\s+\S)(?<!\d\.(?=\d))")
_CLAUSE = re.compile(r"(?:[^.;,\n]|\.(?=[\d.])|(?<=\.)\.|,(?!\s(?:not|since|because|as|which|who|so)\b))+")
_NO_ANSWER = re.compile(
    r"(?:not\b|neither\b|n't|obtained|found|given|calculated|computed|derived|determined|reached|as\s+follows|below|above|unclear"
    r"|step\b|first\b|let's|let\sus|we\b|to\s(?:find|solve|get|calculate|determine)\b)",
    re.IGNORECASE,
)


@Mark
def answer_is(output: str, prompt: str = "") -> Extraction | None:
    plain, has_options = undress(output), bool(options(prompt))
    behind = (_said(match, has_options) for match in backwards(_ANSWER, plain.text))
    before = (_said_before(plain.text, match.start()) for match in backwards(_IS_ANSWER, plain.text))
    spans = [span for found in (behind, before) if (span := next(filter(None, found), None))]
    return extraction("answer_is", output, plain, *max(spans)) if spans else None


def _said(match: re.Match[str], has_options: bool) -> tuple[int, int] | None:
    start, said = match.start("said"), match["said"]
    ends = _SENTENCE_ENDS.search(said)
    sentence = (said[: ends.start()] if ends else said).rstrip("! ")
    if _NO_ANSWER.match(sentence) or HEADING.match(sentence):
        return None
    found = settled(sentence, has_options)
    if "\n" in match["gap"] and not (found and found[0] <= 2):
        return None  # what stands below `Answer:` is working, unless it is the answer
    if found:
        is_working = match["colon"] and ends and sentence[: found[0]].strip(" (['\"")
        return None if is_working else (start + found[0], start + found[1])
    clause = _CLAUSE.match(sentence, lead_in(sentence))
    if clause is None or (match["colon"] and ends):
        return None
    return start + clause.start(), start + clause.end()


def _said_before(text: str, end: int) -> tuple[int, int] | None:
    """What stands before ` is the answer`: a value with what it counts, a letter, or a word."""
    start = max(end - 200, *(text.rfind(mark, max(0, end - 200), end) + 1 for mark in ("\n", ". ", ", ")), 0)
    sentence = text[start:end]
    whole = next((each for each in readings(sentence) if value(sentence[each.start :]) is not None), None)
    if whole is not None:
        return start + whole.start, start + whole.end
    word = _LAST_WORD.search(sentence.rstrip(")] "))
    return (start + word.start(), start + word.end()) if word else None
