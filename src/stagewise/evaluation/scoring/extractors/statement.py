"""The last value that a sentence or an equation asserts: `= 72`, `has 6 sides`, `so 60 are left` (rule 1)."""

import re

from stagewise.evaluation.scoring.extraction import Extraction, extraction
from stagewise.evaluation.scoring.forms import Reading
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.questions import content
from stagewise.evaluation.scoring.settling import equation, sentence, stated

_QUESTION = re.compile(r"[^?.\n]*\?")
_CLAUSES = re.compile(r"(?:[^,]|,(?!\s(?:and|but|while)\b))+")


def statement(output: str, prompt: str = "") -> Extraction | None:
    plain = undress(output)
    found = stated(plain.text)
    if found is not None:
        found = _asked_for(plain.text, prompt, found)
        return extraction("statement", output, plain, found.start, found.end)
    start = plain.text.rstrip().rfind("\n") + 1
    found = equation(plain.text[start:])  # 42 = 14 + 28
    return extraction("statement", output, plain, start + found.start, start + found.end) if found else None


def _asked_for(text: str, prompt: str, last: Reading) -> Reading:
    """What an earlier clause of the same sentence states, where it has all words of the question and the last none:
    `The sum of the roots is 4, and their product is 3/2.`"""
    asked = content(_QUESTION.findall(prompt)[-1:])
    start, end = sentence(text, last)
    for clause in _CLAUSES.finditer(text, start, end) if asked else ():
        said = content([clause[0]])
        if asked <= said and clause.end() <= last.start and not asked & content([text[clause.end() : end]]):
            found = stated(clause[0])
            return found._replace(start=clause.start() + found.start, end=clause.start() + found.end) if found else last
    return last
