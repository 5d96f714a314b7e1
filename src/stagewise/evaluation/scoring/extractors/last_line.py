"""The last line, or what follows its label (`Result: 63`), where it is a value with its unit or at most five words that
neither ask, calculate nor make a sentence: the original experiment's format.
"""

import re

from stagewise.evaluation.scoring.extraction import Extraction, extraction, option_named
from stagewise.evaluation.scoring.grammar import readings
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import letter
from stagewise.evaluation.scoring.settling import is_asserted
from stagewise.evaluation.scoring.values import LONGEST_TEXT, value

LONGEST_LINE = 5  # words; what is longer is a sentence
_BULLET = r"[>•*→⇒∴][ \t]*|[=-]>[ \t]*|[–-][ \t]+"
_LABEL = re.compile(
    rf"(?:\w+ ){{0,2}}\w+:\s+|(?P<bullet>{_BULLET})|(?i:ans(?:wer)?|a)\.?\s+(?:[-–—]\s+)?(?=[^\sa-z])"
    r"|\|.*\|\s*(?=[^|\n]+\|?\Z)"
)
_ROW = re.compile(rf"^(?:{_BULLET})[^\w\n]*[\w.,]+[^\w\n]*\n\Z", re.MULTILINE)  # one of a list's items
_ASIDE = re.compile(r"\s*\([^()\n]*\)\Z")  # 60 (72 - 12)
# A question, a heading, an equation, a calculation, a sentence by its verb, a sentence about a number.
_NO_ANSWER = re.compile(
    r"\?|:(?!\S)|=|\d\s?[→⇒<>≤≥]|\d\s*[+*×÷^]\s*\d|\d\s[-/]\s\d|\d!|\b(?:is|are|was|were|has|have|had)\b"
    r"|\b(?i:it|that|there|s?he)'s\b|(?=.*\d).*\b[A-Za-z]{2,}\b.*\b[A-Za-z]{2,}\b|<[a-z]+>|^[#>•|-]|[\u4e00-\u9fff].*\d"
)
_SUBJECT = re.compile(r"(?:it|that|this|he|she|they|there|we|i)\b(?!\.)", re.IGNORECASE)


def last_line(output: str, prompt: str = "") -> Extraction | None:
    plain = undress(output)
    end = len(plain.text.rstrip(" \t\n\r!|"))  # no factorial, but joy
    start = plain.text.rfind("\n", 0, end) + 1
    aside = _ASIDE.search(plain.text, start, end)
    if aside and value(plain.text[start : aside.start()]) is not None:
        end = aside.start()
    line = plain.text[start:end]
    label = _LABEL.match(line)
    if _ROW.search(plain.text, 0, start) and re.match(_BULLET, line):
        return None
    behind = line[label.end() :] if label else ""
    whole = _is_answer(line)
    if label is not None and _is_answer(behind) and (label["bullet"] or value(behind) is not None or not whole):
        return extraction("last_line", output, plain, start + label.end(), end)
    if whole and (said := option_named(line, prompt)):
        end, start = start + said[0][1], start + said[0][0]
    return extraction("last_line", output, plain, start, end) if whole else None


def _is_answer(line: str) -> bool:
    """A value with its unit, a letter, or a few words that neither ask, nor calculate, nor introduce."""
    if value(line) is not None:
        return "=" not in line
    if letter(line):
        return True
    if _SUBJECT.match(line) and (readings(line) or len(line.split()) > 2):
        return False
    short = len(line.split()) <= LONGEST_LINE and len(line) <= LONGEST_TEXT
    return short and not _NO_ANSWER.search(line) and not any(is_asserted(line, each) for each in readings(line))
