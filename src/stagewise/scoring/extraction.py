r"""The answer in an output, by conventions that each say where they come from.

    EXTRACTORS["gsm8k"]("48/2 = 24\n#### 72")                            ->  "72", span (15, 17)
    EXTRACTORS["restated"]("15 + 27 = 42, I think", "What is 15 + 27?")  ->  "42", span (10, 12)

All are pure functions of an output; some read its prompt too. Those of `MARKED` are what an output says of itself.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from stagewise.scoring.marks import Extraction, answer_is, boxed, extraction, gsm8k, inspect, option, tagged
from stagewise.scoring.options import letter
from stagewise.scoring.plain import undress
from stagewise.scoring.settling import stated
from stagewise.scoring.text import tokens
from stagewise.scoring.values import LONGEST_TEXT, readings, value

LONGEST_LINE = 5  # words; what is longer is a sentence
LONGEST_SUBJECT = 30  # tokens; what is longer is a story, and no output says it again


class Extractor(Protocol):
    def __call__(self, output: str, prompt: str = "") -> Extraction | None: ...


_LABEL = re.compile(r"(?:\w+ ){0,2}\w+:\s+")
# A question, a heading, an equation, a calculation, a sentence by its verb, a sentence about a number.
_NO_ANSWER = re.compile(
    r"\?|:(?!\S)|=|\d\s*[+*×÷^]\s*\d|\d\s[-/]\s\d|\d!|\b(?:is|are|was|were|has|have|had)\b"
    r"|(?=.*\d).*\b[A-Za-z]{2,}\b.*\b[A-Za-z]{2,}\b|<[a-z]+>|^#"
)
_NAME = (
    r"\b(?!(?:A|An|And|But|He|Hence|It|No|She|So|That|The|Then|There|Therefore|They|This|Thus|Which|Yes)\b)"
    r"[A-Z]\w*(?: [A-Z]\w*){0,3}\b"
)
_FRAME = re.compile(r"\b(?:what(?:'s| is| are)|who is|calculate|compute|evaluate|find)\b:?|:\s", re.IGNORECASE)
_SPELLINGS = {"×": "[×*x]", "*": "[×*x]", "÷": "[÷/]", "/": "[÷/]"}
# No operand, no member of a row, and nothing that is said not to be it.
_OPERAND = re.compile(r"(?:[-+*/×÷^=]\s?|\d[ \t]?|\bthan\s|\bnot\s|\bstep\s|\bpart\s)\Z", re.IGNORECASE)
_DENIED = re.compile(r" (?:is|was)(?: not|n't)")


def last_line(output: str, prompt: str = "") -> Extraction | None:
    """The last line, its label aside, where it is an answer: the original experiment's format."""
    plain = undress(output)
    end = len(plain.text.rstrip(" \t\n\r!"))  # no factorial, but joy
    start = plain.text.rfind("\n", 0, end) + 1
    line = plain.text[start:end]
    if _is_answer(line):
        return extraction("last_line", output, plain, start, end)
    label = _LABEL.match(line)
    if label is None or not _is_answer(line[label.end() :]):
        return None
    return extraction("last_line", output, plain, start + label.end(), end)


def last_lines(output: str, count: int = 1) -> Extraction | None:
    """The last `count` lines, whatever they say: where the plain template wants its answer."""
    end = start = len(output.rstrip())
    for _ in range(count):
        start = output.rfind("\n", 0, max(start, 0))
    text = output[start + 1 : end].strip()
    start = end - len(output[start + 1 : end].lstrip())
    return Extraction(text, "last_line", (start, start + len(text))) if text else None


def restated(output: str, prompt: str = "") -> Extraction | None:
    """The question's own words completed: `15 + 27 = 42`, `Paris is the capital of France` (rule 1)."""
    subject = _subject(prompt)
    if subject is None:
        return None
    plain = undress(output)
    text = plain.text
    starts = {each.start: each.end for each in readings(text) if each.value is not None}
    ends = {end: start for start, end in starts.items()}
    names = {match.start(): match.end() for match in re.finditer(_NAME, text)}
    # Not the end of a longer word, number or calculation.
    words = rf"(?:the\s+)?(?<![\w.])(?<![-+*/×÷^]\s)(?<![-+*/×÷^]){subject}"
    spans = []
    for match in re.finditer(rf"(?:{words})\s*(?:=|\bis\b|\bequals\b)\s*\$?", text, re.IGNORECASE):
        end = starts.get(match.end()) or names.get(match.end())
        spans += [(match.end(), end)] if end else []
    before = {**ends, **{end: start for start, end in names.items()}}
    for match in re.finditer(rf" is (?:{words})", text, re.IGNORECASE):
        start = before.get(match.start())
        torn = start is not None and re.search(r"(?:of\s|[-+*/×÷^=]\s)\Z", text[max(0, start - 3) : start])
        spans += [(start, match.start())] if start is not None and not torn else []
    return extraction("restated", output, plain, *max(spans)) if spans else None


def statement(output: str, prompt: str = "") -> Extraction | None:
    """The last value that a sentence or an equation asserts: `so it has 6 sides`, `= 6` (rule 1)."""
    plain = undress(output)
    found = stated(plain.text)
    return extraction("statement", output, plain, found.start, found.end) if found else None


def last_number(output: str, prompt: str = "") -> Extraction | None:
    """The last number, the `flexible-extract` of lm-evaluation-harness's gsm8k task, where it asserts anything.

    In a calculation, a row of numbers or a comparison it does not (rule 4).
    """
    plain = undress(output)
    numbers = [each for each in readings(plain.text) if not plain.text[each.start].isalpha()]
    if not numbers or numbers[-1].value is None:
        return None
    start, end = numbers[-1].start, numbers[-1].end
    if _OPERAND.search(plain.text[max(0, start - 6) : start]) or _DENIED.match(plain.text, end):
        return None
    return extraction("last_number", output, plain, start, end)


def _is_answer(line: str) -> bool:
    """A value with its unit, a letter, or a few words that neither ask, nor calculate, nor introduce."""
    if value(line) is not None:
        return "=" not in line
    if letter(line):
        return True
    short = len(line.split()) <= LONGEST_LINE and len(line) <= LONGEST_TEXT
    return short and not _NO_ANSWER.search(line)


def _subject(prompt: str) -> str | None:
    """A pattern for what the prompt asks the value of: `15 + 27` of `What is 15 + 27?`."""
    prompt = undress(prompt).text
    question = re.findall(r"[^?]*\?", prompt)[-1:] or [prompt]
    text = _FRAME.split(re.sub(r"\([^()]*\)", "", question[0]))[-1]
    words = tokens(text.rstrip("?=. \n"))
    words = words[words[:1] == ["the"] :]
    if not 0 < len(words) <= LONGEST_SUBJECT:
        return None
    return r"\s*".join(_SPELLINGS.get(word, re.escape(word)) for word in words)


# In the order of the default chain: marked answers first, then formats, then assertions.
EXTRACTORS: Mapping[str, Extractor] = {
    function.__name__: function
    for function in (
        *(gsm8k, boxed, inspect, tagged, answer_is, option),
        *(last_line, restated, statement, last_number),
    )
}
MARKED = ("gsm8k", "boxed", "inspect", "tagged", "answer_is", "option")
