"""The question's own words completed: `15 + 27 = 42`, `Paris is the capital of France`, `Ann is older` (rule 1)."""

import re
from functools import lru_cache

from stagewise.evaluation.scoring.extraction import NAME, Extraction, extraction
from stagewise.evaluation.scoring.grammar import readings
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.text import tokens

LONGEST_SUBJECT = 30  # tokens; what is longer is a story, and no output says it again
_FRAME = re.compile(r"\b(?:what(?:'s| is| are)|who is|calculate|compute|evaluate|find)\b:?|:\s", re.IGNORECASE)
_WHO = re.compile(r"\b[Ww]ho\s((?:is|was|has|had)\s[a-z]+(?:\s[a-z]+){0,3})(?=,|\?)")  # is older
_WHAT_SHARE = re.compile(r"\bwhat\s(?:percent|percentage)\b", re.IGNORECASE)
_SHARE = re.compile(r"\b(?:is|are|was|were|represents?|makes?\sup)\s([0-9][0-9.,]*\s?(?:%|percent\b))(?=\sof\b)")
_SPELLINGS = {"×": "[×*x]", "*": "[×*x]", "÷": "[÷/]", "/": "[÷/]"}


def restated(output: str, prompt: str = "") -> Extraction | None:
    patterns = _restating(prompt)
    plain = undress(output)
    if who := _WHO.search(prompt):
        said = list(re.finditer(rf"({NAME})\s{re.escape(who[1])}\b", plain.text))
        if said:
            return extraction("restated", output, plain, *said[-1].span(1))
    if _WHAT_SHARE.search(prompt) and (shares := list(_SHARE.finditer(plain.text))):
        return extraction("restated", output, plain, *shares[-1].span(1))
    if patterns is None:
        return None
    text = plain.text
    starts = {each.start: each.end for each in readings(text) if each.value is not None}
    ends = {end: start for start, end in starts.items()}
    names = {match.start(): match.end() for match in re.finditer(NAME, text)}
    spans = []
    for match in patterns[0].finditer(text):
        end = starts.get(match.end()) or names.get(match.end())
        spans += [(match.end(), end)] if end else []
    before = {**ends, **{end: start for start, end in names.items()}}
    for match in patterns[1].finditer(text):
        start = before.get(match.start())
        torn = start is not None and re.search(r"(?:of\s|[-+*/×÷^=]\s)\Z", text[max(0, start - 3) : start])
        spans += [(start, match.start())] if start is not None and not torn else []
    return extraction("restated", output, plain, *max(spans)) if spans else None


@lru_cache(maxsize=4096)
def _restating(prompt: str) -> tuple[re.Pattern[str], re.Pattern[str]] | None:
    """Patterns for what the prompt asks the value of, `15 + 27` of `What is 15 + 27?`: before its value, and after."""
    prompt = undress(prompt).text
    question = re.findall(r"[^?]*\?", prompt)[-1:] or [prompt]
    text = _FRAME.split(re.sub(r"\([^()]*\)", "", question[0]))[-1]
    words = tokens(text.rstrip("?=. \n"))
    words = words[words[:1] == ["the"] :]
    if not 0 < len(words) <= LONGEST_SUBJECT:
        return None
    subject = r"\s*".join(_SPELLINGS.get(word, re.escape(word)) for word in words)
    # Not the end of a longer word, number or calculation.
    subject = rf"(?:the\s+)?(?<![\w.])(?<![-+*/×÷^]\s)(?<![-+*/×÷^]){subject}"
    before = re.compile(rf"(?:{subject})\s*(?:=|\bis\b|\bequals\b)\s*\$?", re.IGNORECASE)
    return before, re.compile(rf" is (?:{subject})", re.IGNORECASE)
