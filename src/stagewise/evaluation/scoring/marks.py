r"""Marked answers: the conventions by which an output says of a part of itself that it is the answer.

    gsm8k("48/2 = 24\n#### 72")              ->  "72", span (15, 17)
    boxed(r"so \boxed{\frac{1}{2}} it is")   ->  r"\frac{1}{2}"
    option("Option B is correct.")           ->  "B"

Each finds the last part that it marks and that says an answer; a heading (`#### Step 2: …`) says none.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stagewise.evaluation.scoring.grammar import readings
from stagewise.evaluation.scoring.plain import Plain, undress
from stagewise.evaluation.scoring.prompts import lettered, options
from stagewise.evaluation.scoring.settling import lead_in, settled
from stagewise.evaluation.scoring.values import value

LONGEST_BOX = 2000  # characters; a brace that is open for longer was never closed


@dataclass(frozen=True, slots=True)
class Extraction:
    text: str
    rule: str
    """The name in `EXTRACTORS` of what found it."""
    span: tuple[int, int]
    """Where `text` stands in the output."""


def extraction(rule: str, output: str, plain: Plain, start: int, end: int) -> Extraction | None:
    """`plain.text[start:end]` as it stands in the output; None where it is white space."""
    while start < end and plain.text[start].isspace():
        start += 1
    while start < end and plain.text[end - 1].isspace():
        end -= 1
    if start == end:
        return None
    first, last = plain.span(start, end)
    return Extraction(output[first:last], rule, (first, last))


# --- #### 72 ------------------------------------------------------------------------------------

_HASHES = re.compile(r"(?:^[ \t]*#{1,3}(?!#)|#{4,})[ \t]*(?P<said>[^\n#]*)", re.MULTILINE)
_HEADING = re.compile(
    r"(?:\d+[.)]\s+\S|\d+:\s+[A-Za-z]|[^:\n]{1,40}:\s*$"
    r"|(?:the\s)?(?:step|part|case|solution|conclusion|final|summary|explanation|analysis|given|result|answer|approach|calculation|verification|verify|check|question|problem|example|note|let|find"
    r"|determine|calculate|understand|set|define|identify|reasoning|proof|method)\b)",
    re.IGNORECASE,
)


def gsm8k(output: str, prompt: str = "") -> Extraction | None:
    """`#### 72`: the result line of GSM8K's solutions (openai/grade-school-math)."""
    plain = undress(output)
    for match in _backwards(_HASHES, plain.text):
        start, end = match.span("said")
        said = match["said"].strip()
        if not said:  # the line after it, then
            following = re.compile(r"\s*([^\n]+)").match(plain.text, end)
            start, end = following.span(1) if following and value(following[1]) is not None else (end, end)
            said = plain.text[start:end].strip()
        said = said.rstrip("! ")
        if not said or _HEADING.match(said):
            continue
        found = settled(said, bool(options(prompt)))
        start += len(plain.text[start:end]) - len(plain.text[start:end].lstrip())
        if found:
            return extraction("gsm8k", output, plain, start + found[0], start + found[1])
        if not plain.text[end:].strip():  # words are the answer where nothing follows; else they are a heading
            return extraction("gsm8k", output, plain, start, end)
    return None


# --- \boxed{72} ---------------------------------------------------------------------------------

_BOX = re.compile(r"\\f?boxed[ \t]*(?:(?P<brace>\{)|(?P<bare>[^\s{}$\\]+))")
_BRACE = re.compile(r"(?<!\\)[{}]")
_BOTH = re.compile(r"[\s$]*(?:,|;|and|or|\\text\{\s*(?:and|or)\s*\})[\s$]*(?:[a-zA-Z]\w?\s*=\s*)?")


def boxed(output: str, prompt: str = "") -> Extraction | None:
    r"""The last `\boxed{…}`, braces balanced: MATH's convention (hendrycks/math `last_boxed_only_string`).

    Boxes that a comma, `and` or `or` joins are one answer of several values.
    """
    boxes = list(_boxes(output))
    if not boxes:
        return None
    last = len(boxes) - 1
    while last and _BOTH.fullmatch(output, boxes[last - 1][3], boxes[last][0]):
        last -= 1
    start, end = boxes[-1][1:3] if last == len(boxes) - 1 else (boxes[last][0], boxes[-1][3])
    plain = undress(output[start:end])
    found = settled(plain.text, bool(options(prompt))) or (0, len(plain.text))
    if not options(prompt) and lettered(plain.text):
        found = 0, len(plain.text)  # \\boxed{\\textbf{(C)}\\ 12}: of options that the prompt may show in a picture
    inner = extraction("boxed", output[start:end], plain, *found)
    return inner and Extraction(inner.text, "boxed", (start + inner.span[0], start + inner.span[1]))


def _boxes(output: str) -> Iterator[tuple[int, int, int, int]]:
    """Of each box its start, the start and the end of what is in it, and its end."""
    for match in _BOX.finditer(output):
        if match["bare"]:
            said = match["bare"].rstrip(".,;:!)")
            yield match.start(), match.start("bare"), match.start("bare") + len(said), match.start("bare") + len(said)
            continue
        depth = 1
        for brace in _BRACE.finditer(output, match.end(), match.end() + LONGEST_BOX):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                yield match.start(), match.end(), brace.start(), brace.end()
                break


# --- ANSWER: 72, <answer>72</answer>, the answer is 72 ------------------------------------------

_INSPECT = re.compile(r"\bANSWER[ \t]*:[ \t]*(?P<said>[^\n]{1,400})")
_TAGGED = re.compile(r"<(answer|final_answer|ans)>\s*(?P<said>(?:[^<]|<(?!/)){1,2000}?)\s*(?:</\1>|\Z)", re.IGNORECASE)
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


def inspect(output: str, prompt: str = "") -> Extraction | None:
    """`ANSWER: 72`, in capitals, to the end of its line: `answer("line")` of UKGovernmentBEIS/inspect_ai."""
    return _region("inspect", _INSPECT, output, prompt)


def tagged(output: str, prompt: str = "") -> Extraction | None:
    """`<answer>72</answer>`: the format of DeepSeek-R1's prompt (Guo et al. 2025, arXiv:2501.12948)."""
    return _region("tagged", _TAGGED, output, prompt)


def _region(rule: str, pattern: re.Pattern[str], output: str, prompt: str) -> Extraction | None:
    """All that the last match marks, or what is settled in it."""
    plain = undress(output)
    for match in _backwards(pattern, plain.text):
        start, end = match.span("said")
        end -= len(match["said"]) - len(match["said"].rstrip("! "))
        found = settled(plain.text[start:end], bool(options(prompt))) or (0, end - start)
        return extraction(rule, output, plain, start + found[0], start + found[1])
    return None


def answer_is(output: str, prompt: str = "") -> Extraction | None:
    """`Answer: 72` (openai/simple-evals), `the answer is 72` (Wei et al. 2022), `72 is the answer`."""
    plain, has_options = undress(output), bool(options(prompt))
    behind = (_said(match, has_options) for match in _backwards(_ANSWER, plain.text))
    before = (_said_before(plain.text, match.start()) for match in _backwards(_IS_ANSWER, plain.text))
    spans = [span for found in (behind, before) if (span := next(filter(None, found), None))]
    return extraction("answer_is", output, plain, *max(spans)) if spans else None


def _said(match: re.Match[str], has_options: bool) -> tuple[int, int] | None:
    start, said = match.start("said"), match["said"]
    ends = _SENTENCE_ENDS.search(said)
    sentence = (said[: ends.start()] if ends else said).rstrip("! ")
    if _NO_ANSWER.match(sentence) or _HEADING.match(sentence):
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


# --- Option B is correct ------------------------------------------------------------------------

_CALLED = r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter)"
_RIGHT = (
    r"(?:is\sthe\sonly\b"
    r"|(?:is|was)\s(?:(?:the|our|my)\s)?(?:(?:most|only|[a-z]+ly)\s)?(?:correct|right|best|true|appropriate|answer)\b)"
)
_CAPITAL = r"[(\[]?(?P<{}>[A-Z])[)\]]?(?![\w'])(?!\s*(?:,|and\b|or\b|&)\s*[(\[]?[A-Z]\b)"
_OPTION = re.compile(
    "|".join(
        (
            rf"\b{_CALLED}\s{_CAPITAL.format('a')}(?:[:,][^.\n]{{0,80}},?)?\s{_RIGHT}",
            rf"(?<![\w'])(?:(?<=[(\[])|(?<![(\[])){_CAPITAL.format('b')}\s{_RIGHT}",
            rf"\b(?:correct|right|best|true)\s(?:answer|option|choice|one|statement|response)(?:\sis|\swould\sbe)?:?\s?"
            rf"(?:{_CALLED}\s)?{_CAPITAL.format('c')}",
            r"\b(?:[Cc]hoose|[Ss]elect|[Pp]ick|chose|selected|picked|go\swith|going\swith|opt\sfor)\s"
            rf"(?:{_CALLED}\s)?{_CAPITAL.format('d')}",
            rf"(?:\bit's|\bis|\bbe|:|,)\s(?:the\s)?{_CALLED}\s{_CAPITAL.format('e')}",
            rf"\b{_CALLED}\s?:?\s{_CAPITAL.format('f')}(?=\s*[.!]?\s*(?:\n|\Z))",
        )
    )
)


_DENIAL = re.compile(
    r"(?:\b(?:not|neither|nor|unlike|rather\sthan|instead\sof)|n't)\b[^.,;:!?\n]{0,40}\Z", re.IGNORECASE
)
_OPTION_LINE = re.compile(r"^[ \t]*[(\[]?([A-Z])(?:[)\].:]+|\s[-–—]\s)[ \t]*([^\n]+)$", re.MULTILINE)
_LISTED = re.compile(
    r"^[^\w\n]*(?P<a>[A-Z])[^\w\n]*$|^[(\[]?(?P<c>[A-Z])[)\]]?(?=,?\s(?:because|since|as)\b)"
    r"|(?<=[.!?]\s)[(\[]?(?P<h>[A-Z])[)\]]?(?=[.!\s]*\Z)|\((?P<d>[A-Z])\)(?=[.!\s]*\Z)|(?::|\b(?:no|wait|sorry),?)\s[(\[]?(?P<g>[A-Z])[)\]]?(?=[.!\s]*(?:\n|\Z))"
    r"|\b(?:[Ss]o|[Tt]hus|[Hh]ence|[Tt]herefore),?\s[(\[]?(?P<e>[A-Z])[)\]]?(?=[.!\s]*(?:\n|\Z))"
    r"|\b(?:is|be|[Ii]t's|leaves|leaving)\s(?:only\s)?(?:(?P<b>[A-Z])|[(\[](?P<f>[A-Za-z])[)\]])"
    r"(?=[.!\s]*(?:\n|\Z)|,?\s(?:because|since|as)\b)",
    re.MULTILINE,
)


def option(output: str, prompt: str = "") -> Extraction | None:
    """`Option B is correct.`, `(B) is right`, `the correct choice is B`, `I choose B`; of listed options `It's B.`
    and a line that is `B` alone as well."""
    plain = undress(output)
    patterns = (_OPTION, _LISTED) if options(prompt) else (_OPTION,)
    last = [
        next(
            (
                found
                for found in _backwards(each, plain.text)
                if not denied(plain.text, found.start(str(found.lastgroup)))
            ),
            None,
        )
        for each in patterns
    ]
    spans = [match.span(str(match.lastgroup)) for match in last if match]
    spans += [match.span(1) for match in _lines_of_options(plain.text, options(prompt))]
    return extraction("option", output, plain, *max(spans)) if spans else None


def denied(text: str, at: int) -> bool:
    """What stands at `at` is said not to be it: `B, not oxygen (A)`, `B rather than A`."""
    return _DENIAL.search(text, max(0, at - 60), at) is not None


def _lines_of_options(text: str, listed: Mapping[str, str]) -> Iterator[re.Match[str]]:
    """Lines that begin with an option, its letter and its text: `B. Nitrogen`."""
    for match in _OPTION_LINE.finditer(text):
        said = listed.get(match[1])
        if said and re.match(rf"{re.escape(said.strip(' .'))}(?!\w)", match[2], re.IGNORECASE):
            yield match


def _backwards(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    return reversed(list(pattern.finditer(text)))
