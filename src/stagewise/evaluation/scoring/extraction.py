r"""The answer in an output, by conventions that each say where they come from.

    EXTRACTORS["gsm8k"]("48/2 = 24\n#### 72")                            ->  "72", span (15, 17)
    EXTRACTORS["restated"]("15 + 27 = 42, I think", "What is 15 + 27?")  ->  "42", span (10, 12)

All are pure functions of an output; some read its prompt too. Those of `MARKED` are what an output says of itself.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from stagewise.evaluation.scoring.forms import Reading, Several
from stagewise.evaluation.scoring.grammar import readings
from stagewise.evaluation.scoring.marks import (
    Extraction,
    answer_is,
    boxed,
    denied,
    extraction,
    gsm8k,
    inspect,
    option,
    tagged,
)
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import letter, options
from stagewise.evaluation.scoring.questions import content
from stagewise.evaluation.scoring.settling import equation, is_asserted, is_operand, sentence, stated
from stagewise.evaluation.scoring.text import tokens
from stagewise.evaluation.scoring.units import MONTHS
from stagewise.evaluation.scoring.values import LONGEST_TEXT, value

LONGEST_LINE = 5  # words; what is longer is a sentence
LONGEST_SUBJECT = 30  # tokens; what is longer is a story, and no output says it again


class Extractor(Protocol):
    def __call__(self, output: str, prompt: str = "") -> Extraction | None: ...


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
_NAME = (
    r"\b(?!(?:A|An|And|But|He|Hence|It|No|She|So|That|The|Then|There|Therefore|They|This|Thus|Which|Yes)\b)"
    r"[A-Z]\w*(?: [A-Z]\w*){0,3}\b"
)
_BOLD = re.compile(r"\*\*([^*\n]{1,100})\*\*")
_DAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_IS_NAME = re.compile(
    rf"(?:\b(?:is|was|are|were)|\b(?i:it|that|s?he)'s|\b(?:on|in)(?=\s(?:{_DAY}|{MONTHS})\b))\s"
    rf"({_NAME}|no\s[a-z]+(?:\s[a-z]+)?)(?=[.!\s]*\Z)"
)
_IN_BRACKETS = re.compile(r"[A-Za-z]{2}\s\(([A-Z])\)(?!\s(?:is|are)(?:n't|\s(?:not|wrong|incorrect|false)))")
_IS_WORD = re.compile(r"\b(?:is|was|are|were)\s(?:an?\s|the\s)?([a-z]+)(?=[.!\s]*\Z|,?\s(?:because|since|as)\b)")
_CLOSED = re.compile(
    r"(?:^|[.!?:\n]\s*)(?:is|are|was|were|do|does|did|can|could|will|would|has|have|should)\b[^.?\n]*\?\s*\Z"
    r"|\b(?:true\sor\sfalse|yes\sor\sno)\b",
    re.IGNORECASE,
)
_YES_NO = re.compile(
    r"(?:^|[.!?:]\s+|\n\s*)(?:so,?\s+)?(yes|no|true|false)(?=[,.!;:\s]|\Z)|\b(?:is|are)\s(true|false)\b", re.IGNORECASE
)
_SUBJECT = re.compile(r"(?:it|that|this|he|she|they|there|we|i)\b(?!\.)", re.IGNORECASE)
_AFTER = re.compile(r"\b(?:after|before|since|from|until)\s\Z", re.IGNORECASE)
_BETWEEN = 12  # characters that may stand between a number and what it counts: `12 more days`
_HOW_MANY = re.compile(r"\bhow\s+many\s+(?:(?:more|other|extra|total|full|whole)\s+)?([a-z]{3,})", re.IGNORECASE)
_WHEN = re.compile(r"\b(?:when|(?:what|which)(?:\s+is\s+the)?\s+time)\b", re.IGNORECASE)
_QUESTION = re.compile(r"[^?.\n]*\?")
_CLAUSES = re.compile(r"(?:[^,]|,(?!\s(?:and|but|while)\b))+")
_FRAME = re.compile(r"\b(?:what(?:'s| is| are)|who is|calculate|compute|evaluate|find)\b:?|:\s", re.IGNORECASE)
_WHO = re.compile(r"\b[Ww]ho\s((?:is|was|has|had)\s[a-z]+(?:\s[a-z]+){0,3})(?=,|\?)")  # is older
_WHAT_SHARE = re.compile(r"\bwhat\s(?:percent|percentage)\b", re.IGNORECASE)
_SHARE = re.compile(r"\b(?:is|are|was|were|represents?|makes?\sup)\s([0-9][0-9.,]*\s?(?:%|percent\b))(?=\sof\b)")
_SPELLINGS = {"×": "[×*x]", "*": "[×*x]", "÷": "[÷/]", "/": "[÷/]"}


def last_line(output: str, prompt: str = "") -> Extraction | None:
    """The last line, its label aside, where it is an answer: the original experiment's format."""
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
    if whole and (said := _options_named(line, prompt)):
        end, start = start + said[0][1], start + said[0][0]
    return extraction("last_line", output, plain, start, end) if whole else None


def last_lines(output: str, count: int = 1) -> Extraction | None:
    """The last `count` lines, whatever they say: where the plain template wants its answer."""
    end = start = len(output.rstrip())
    for _ in range(count):
        start = output.rfind("\n", 0, max(start, 0))
    text = output[start + 1 : end].strip()
    start = end - len(output[start + 1 : end].lstrip())
    return Extraction(text, "last_line", (start, start + len(text))) if text else None


def emphasised(output: str, prompt: str = "") -> Extraction | None:
    """The one value in bold on the last line: `After giving away 12 jars, **60** remain.`"""
    end = len(output.rstrip())
    start = output.rfind("\n", 0, end) + 1
    bold = [match for match in _BOLD.finditer(output, start, end) if value(match[1]) is not None]
    if len(bold) != 1:
        return None
    plain = undress(output)
    first = bisect_left(plain.starts, bold[0].start(1))
    return extraction("emphasised", output, plain, first, bisect_left(plain.starts, bold[0].end(1)))


def yes_no(output: str, prompt: str = "") -> Extraction | None:
    """`Yes, 7 is prime.`, `The statement is true.`: the last of such verdicts, where the prompt asks for one."""
    if not _CLOSED.search(prompt.strip()):
        return None
    plain = undress(output)
    match = next(reversed(list(_YES_NO.finditer(plain.text))), None)
    return extraction("yes_no", output, plain, *match.span(match.lastindex or 0)) if match else None


def restated(output: str, prompt: str = "") -> Extraction | None:
    """The question's own words completed: `15 + 27 = 42`, `Paris is the capital of France`, `Ann is older` (rule 1)."""
    patterns = _restating(prompt)
    plain = undress(output)
    if who := _WHO.search(prompt):
        said = list(re.finditer(rf"({_NAME})\s{re.escape(who[1])}\b", plain.text))
        if said:
            return extraction("restated", output, plain, *said[-1].span(1))
    if _WHAT_SHARE.search(prompt) and (shares := list(_SHARE.finditer(plain.text))):
        return extraction("restated", output, plain, *shares[-1].span(1))
    if patterns is None:
        return None
    text = plain.text
    starts = {each.start: each.end for each in readings(text) if each.value is not None}
    ends = {end: start for start, end in starts.items()}
    names = {match.start(): match.end() for match in re.finditer(_NAME, text)}
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


def statement(output: str, prompt: str = "") -> Extraction | None:
    """The last value that a sentence or an equation asserts: `so it has 6 sides`, `= 6` (rule 1)."""
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


def last_number(output: str, prompt: str = "") -> Extraction | None:
    """The last number, the `flexible-extract` of lm-evaluation-harness's gsm8k task, where it asserts anything.

    In a calculation, a row of numbers or a comparison it does not (rule 4). Of several in the last sentence, the one
    that counts what the prompt asks for comes first: `12 days to read 240 pages` of `How many days …?`
    """
    plain = undress(output)
    numbers = [each for each in readings(plain.text) if not plain.text[each.start].isalpha()]
    if counted := _counted(plain.text, numbers, prompt):
        return extraction("last_number", output, plain, counted.start, counted.end)
    if not numbers or numbers[-1].value is None or is_operand(plain.text, numbers[-1]):
        return None
    start, end = numbers[-1].start, numbers[-1].end
    is_heading = plain.text.startswith("#", plain.text.rfind("\n", 0, start) + 1)
    return None if is_heading else extraction("last_number", output, plain, start, end)


def named(output: str, prompt: str = "") -> Extraction | None:
    """A name, or a word that the prompt offers, at the end: `I think it is Paris.`, `The function is odd.`; of listed
    options the last whose letter stands in brackets behind it: `but Canberra (B) is the capital`."""
    plain = undress(output)
    found = [match.span(1) for match in _IN_BRACKETS.finditer(plain.text) if match[1] in options(prompt)]
    listed = [span for span in found if not denied(plain.text, span[0])] or _options_named(plain.text, prompt)
    if listed:
        return extraction("named", output, plain, *listed[-1])
    name = _IS_NAME.search(plain.text)
    word = _IS_WORD.search(plain.text)
    if name is None and word and re.search(rf"\bor\s{word[1]}\b|\b{word[1]}(?:,|\sor\b)", prompt):
        name = word
    return extraction("named", output, plain, *name.span(1)) if name else None


def _options_named(text: str, prompt: str) -> list[tuple[int, int]]:
    """Where the last sentence names an option by its text, if it names no other."""
    end = len(text.rstrip(" \t\n.!?"))
    start = max(text.rfind(stop, 0, end) + 1 for stop in ("\n", ". ", "! ", "? "))
    found = []
    for said in options(prompt).values():
        match = re.compile(rf"(?<!\w){re.escape(said.strip(' .'))}(?!\w)", re.IGNORECASE).search(text, start, end)
        found += [match.span()] if match and match[0] and not denied(text, match.start()) else []
    return found if len(found) == 1 else []


def _counted(text: str, numbers: Sequence[Reading], prompt: str) -> Reading | None:
    """The one value in the last sentence of the kind asked for: a time, or so many of what `How many …` names."""
    if not numbers:
        return None
    start, _ = sentence(text, numbers[-1])
    said = [each for each in numbers if each.start >= start and each.value is not None and not is_operand(text, each)]
    if _WHEN.search(prompt):
        found = [each for each in said if isinstance(each.value, Several) and each.value.form == "time"]
        found = [each for each in found if not _AFTER.search(text, max(0, each.start - 8), each.start)]
    elif asked := _HOW_MANY.findall(prompt):
        noun = asked[-1].lower()[:-1]  # `day` for `days`
        found = [each for each in said if noun in text[each.start + 1 : each.end + len(noun) + _BETWEEN].lower()]
    else:
        return None
    return found[0] if len(found) == 1 else None


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


# In the order of the default chain: marked answers first, then formats, then assertions.
EXTRACTORS: Mapping[str, Extractor] = {
    function.__name__: function
    for function in (
        *(gsm8k, boxed, inspect, tagged, answer_is, option),
        *(last_line, emphasised, yes_no, restated, statement, last_number, named),
    )
}
MARKED = ("gsm8k", "boxed", "inspect", "tagged", "answer_is", "option")
