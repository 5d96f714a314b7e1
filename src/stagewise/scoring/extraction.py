r"""The answer in an output, by conventions that each say where they come from.

    EXTRACTORS["gsm8k"]("48/2 = 24\n#### 72")                       ->  "72", span (15, 17)
    EXTRACTORS["restated"]("15 + 27 = 42, I think", "What is 15 + 27?")  ->  "42", span (10, 12)

All are pure functions of an output; the one that looks for the question's own words reads its prompt too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from stagewise.scoring.text import tokens
from stagewise.scoring.values import CURRENCY, DIGITS, LONGEST_TEXT, WORDS, value

LONGEST_LINE = 5  # words; what is longer is a sentence
LONGEST_SUBJECT = 30  # tokens; what is longer is a story, and no output says it again


@dataclass(frozen=True, slots=True)
class Extraction:
    text: str
    rule: str
    """The name in `EXTRACTORS` of what found it."""
    span: tuple[int, int]
    """Where `text` stands in the output."""


class Extractor(Protocol):
    def __call__(self, output: str, prompt: str = "") -> Extraction | None: ...


# Atomic, and never from the middle of a number: a model can loop on one digit for thousands of characters.
_NUMBER = rf"(?:(?<!\w)[-−])?[{CURRENCY}]?(?<!\d)(?>{DIGITS})"
# Where a number ends for good: no digit, per cent or operator follows that would make it part of more.
_END = (
    r"(?![.,]?\d)(?!\s*\\?%)(?!\s*(?:[+*/×÷^=]|\$?\\(?:times|cdot|div)))(?!\s*[-−x]\s*[\d$])(?!-\w)(?!\()"
    r"(?!\s+of\s+[\d$])"
)
_VALUE = (
    rf"(?:{_NUMBER}(?:\s?/\s?(?>{DIGITS}))?(?:\s?\\?%(?!\s+of\s+[\d$])|\s?percent\b)?{_END}"
    rf"|\b(?i:{'|'.join(WORDS)})\b(?![-\w]))"
)
_NAME = (
    r"\b(?!(?:A|An|And|But|He|Hence|It|No|She|So|That|The|Then|There|Therefore|They|This|Thus|Which|Yes)\b)"
    r"[A-Z]\w*(?: [A-Z]\w*){0,3}\b"
)

_GSM8K = re.compile(r"####[ \t]*([^\n]*)")
_INSPECT = re.compile(r"\bANSWER[ \t]*:[ \t]*([^\n]+)")
_ANSWER = re.compile(
    r"\banswer\b[ \t*]*(?::|\bis\b)[ \t:*]*([^\s*:][^\n]*)|(?<!\S)([^\s*]+) is the (?:final )?answer\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"(?:[^.;]|\.(?=\d))+")
_STARTS_WITH_VALUE = re.compile(rf"\$?({_VALUE})")
_LABEL = re.compile(r"(?:\w+ ){0,2}\w+:\s+")
# A question, a heading, an equation, a calculation, a sentence by its verb, a sentence about a number.
_NO_ANSWER = re.compile(
    r"\?|:(?!\S)|=|\d\s*[+*×÷^]\s*\d|\d\s[-/]\s\d|\d!|\b(?:is|are|was|were|has|have|had)\b"
    r"|(?=.*\d).*\b[A-Za-z]{2,}\b.*\b[A-Za-z]{2,}\b"
)
_STATEMENT = re.compile(
    r"(?:[=≈]|\b(?i:result|total|answer):|\b(?:is|are|was|were|has|have|equals?|gives?|makes?|measures|needs?)\b)\s*\$?"
    rf"({_VALUE})|({_VALUE})(?= is the\b)"
)
# No operand, no member of a row, and nothing that is said not to be it.
_ASSERTED = re.compile(
    rf"(?<![-+*/×÷^=]\s)(?<![-+*/×÷^=\d])(?<!\d[ \t])(?<!than\s)(?<!not\s)({_VALUE})(?! (?:is|was)(?: not|n't))"
)
_ANY_NUMBER = re.compile(_NUMBER)
_FRAME = re.compile(r"\b(?:what(?:'s| is| are)|who is|calculate|compute|evaluate|find)\b:?|:\s", re.IGNORECASE)
_SPELLINGS = {"×": r"(?:[×*x]|\\times)", "*": r"(?:[×*x]|\\times)", "÷": r"(?:[÷/]|\\div)", "/": "[÷/]"}


def gsm8k(output: str, prompt: str = "") -> Extraction | None:
    """`#### 72`: the result line of GSM8K's solutions (openai/grade-school-math)."""
    return _last("gsm8k", _GSM8K, output)


def boxed(output: str, prompt: str = "") -> Extraction | None:
    r"""The last `\boxed{…}`, braces balanced: MATH's convention (hendrycks/math `last_boxed_only_string`)."""
    start = output.rfind(r"\boxed{") + len(r"\boxed{")
    depth = 1 if start >= len(r"\boxed{") else 0
    for end in range(start, len(output) if depth else start):
        depth += {"{": 1, "}": -1}.get(output[end], 0)
        if not depth:
            return _found("boxed", output, (start, end))
    return None


def inspect(output: str, prompt: str = "") -> Extraction | None:
    """`ANSWER: 72`, in capitals, to the end of its line: `answer("line")` of UKGovernmentBEIS/inspect_ai."""
    return _last("inspect", _INSPECT, output)


def answer_is(output: str, prompt: str = "") -> Extraction | None:
    """`Answer: 72` (openai/simple-evals), `the answer is 72` (Wei et al. 2022), `72 is the answer`."""
    matches = list(_ANSWER.finditer(output))
    if not matches:
        return None
    start, end = matches[-1].span(1 if matches[-1][1] else 2)
    number = _STARTS_WITH_VALUE.match(output, start, end)
    if number:
        return _found("answer_is", output, number.span(1))
    start = max(start, output.rfind("=", start, end) + 1)
    clause = _CLAUSE.match(output, start, end)
    return _found("answer_is", output, clause.span()) if clause else None


def last_line(output: str, prompt: str = "") -> Extraction | None:
    """The last line, its label aside, where it is an answer: the original experiment's format."""
    line = last_lines(output)
    if line is None or _is_answer(line.text):
        return line
    label = _LABEL.match(line.text)
    if label is None or not _is_answer(line.text[label.end() :]):
        return None
    return _found("last_line", output, (line.span[0] + label.end(), line.span[1]))


def last_lines(output: str, count: int = 1) -> Extraction | None:
    """The last `count` lines, whatever they say: where the plain template wants its answer."""
    end = start = len(output.rstrip())
    for _ in range(count):
        start = output.rfind("\n", 0, max(start, 0))
    return _found("last_line", output, (start + 1, end))


def restated(output: str, prompt: str = "") -> Extraction | None:
    """The question's own words completed: `15 + 27 = 42`, `Paris is the capital of France` (rule 1)."""
    subject = _subject(prompt)
    if subject is None:
        return None
    # Not the end of a longer word, number or calculation.
    words = rf"(?:the\s+)?(?<![\w.])(?<![-+*/×÷^]\s)(?<![-+*/×÷^]){subject}"
    answer = rf"({_VALUE}|{_NAME})"
    subject_is = rf"(?i:{words}\s*(?:=|\bis\b|\bequals\b))\s*\$?{answer}"
    is_subject = rf"(?<!of\s)(?<![-+*/×÷^=]\s){answer} is (?i:{words})"
    return _last("restated", re.compile(rf"{subject_is}|{is_subject}"), output)


def statement(output: str, prompt: str = "") -> Extraction | None:
    """The last number that a sentence or an equation asserts: `so it has 6 sides`, `= 6` (rule 1)."""
    return _last("statement", _STATEMENT, output)


def last_number(output: str, prompt: str = "") -> Extraction | None:
    """The last number, the `flexible-extract` of lm-evaluation-harness's gsm8k task, where it asserts anything.

    In a calculation, a row of numbers or a comparison it does not (rule 4).
    """
    numbers = list(_ANY_NUMBER.finditer(output))
    asserted = _ASSERTED.match(output, numbers[-1].start()) if numbers else None
    return _found("last_number", output, asserted.span(1)) if asserted else None


def _last(rule: str, pattern: re.Pattern[str], output: str) -> Extraction | None:
    """The group that took part in the last match of `pattern`."""
    matches = list(pattern.finditer(output))
    return _found(rule, output, matches[-1].span(matches[-1].lastindex or 0)) if matches else None


def _found(rule: str, output: str, span: tuple[int, int]) -> Extraction | None:
    text = output[slice(*span)]
    start = span[0] + len(text) - len(text.lstrip())
    text = text.strip()
    return Extraction(text, rule, (start, start + len(text))) if text else None


def _is_answer(line: str) -> bool:
    """A number with its unit, or a few words that neither ask, nor calculate, nor introduce."""
    if value(line) is not None:
        return True
    short = len(line.split()) <= LONGEST_LINE and len(line) <= LONGEST_TEXT
    return short and not _NO_ANSWER.search(line)


def _subject(prompt: str) -> str | None:
    """A pattern for what the prompt asks the value of: `15 + 27` of `What is 15 + 27?`."""
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
    for function in (gsm8k, boxed, inspect, answer_is, last_line, restated, statement, last_number)
}
