r"""Where an answer stands in an output, and what the ways to find it have in common.

    EXTRACTORS["gsm8k"]("48/2 = 24\n#### 72")                            ->  "72", span (15, 17)
    EXTRACTORS["restated"]("15 + 27 = 42, I think", "What is 15 + 27?")  ->  "42", span (10, 12)

All are pure functions of an output; some read its prompt too. A `Mark` is what an output says of itself: it finds the
last part that is marked and that says an answer; a heading (`#### Step 2: …`) says none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from stagewise.evaluation.scoring.plain import Plain, undress
from stagewise.evaluation.scoring.prompts import options
from stagewise.evaluation.scoring.settling import settled

HEADING = re.compile(
    r"(?:\d+[.)]\s+\S|\d+:\s+[A-Za-z]|[^:\n]{1,40}:\s*$"
    r"|(?:the\s)?(?:step|part|case|solution|conclusion|final|summary|explanation|analysis|given|result|answer|approach|calculation|verification|verify|check|question|problem|example|note|let|find"
    r"|determine|calculate|understand|set|define|identify|reasoning|proof|method)\b)",
    re.IGNORECASE,
)
NAME = (
    r"\b(?!(?:A|An|And|But|He|Hence|It|No|She|So|That|The|Then|There|Therefore|They|This|Thus|Which|Yes)\b)"
    r"[A-Z]\w*(?: [A-Z]\w*){0,3}\b"
)
_DENIAL = re.compile(
    r"(?:\b(?:not|neither|nor|unlike|rather\sthan|instead\sof)|n't)\b[^.,;:!?\n]{0,40}\Z", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Extraction:
    text: str
    rule: str
    """The name in `EXTRACTORS` of what found it."""
    span: tuple[int, int]
    """Where `text` stands in the output."""


class Extractor(Protocol):
    def __call__(self, output: str, prompt: str = "") -> Extraction | None: ...


@dataclass(frozen=True, slots=True)
class Mark:
    """An extractor of what an output marks as its answer: that counts before anything it merely says."""

    find: Extractor

    def __call__(self, output: str, prompt: str = "") -> Extraction | None:
        return self.find(output, prompt)


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


def last_lines(output: str, count: int = 1) -> Extraction | None:
    """The last `count` lines, whatever they say: where the plain template wants its answer."""
    end = start = len(output.rstrip())
    for _ in range(count):
        start = output.rfind("\n", 0, max(start, 0))
    text = output[start + 1 : end].strip()
    start = end - len(output[start + 1 : end].lstrip())
    return Extraction(text, "last_line", (start, start + len(text))) if text else None


def region(rule: str, pattern: re.Pattern[str], output: str, prompt: str) -> Extraction | None:
    """All that the last match marks, or what is settled in it."""
    plain = undress(output)
    for match in backwards(pattern, plain.text):
        start, end = match.span("said")
        end -= len(match["said"]) - len(match["said"].rstrip("! "))
        found = settled(plain.text[start:end], bool(options(prompt))) or (0, end - start)
        return extraction(rule, output, plain, start + found[0], start + found[1])
    return None


def backwards(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    return reversed(list(pattern.finditer(text)))


def denied(text: str, at: int) -> bool:
    """What stands at `at` is said not to be it: `B, not oxygen (A)`, `B rather than A`."""
    return _DENIAL.search(text, max(0, at - 60), at) is not None


def option_named(text: str, prompt: str) -> list[tuple[int, int]]:
    """Where the last sentence names an option by its text, if it names no other."""
    end = len(text.rstrip(" \t\n.!?"))
    start = max(text.rfind(stop, 0, end) + 1 for stop in ("\n", ". ", "! ", "? "))
    found = []
    for said in options(prompt).values():
        match = re.compile(rf"(?<!\w){re.escape(said.strip(' .'))}(?!\w)", re.IGNORECASE).search(text, start, end)
        found += [match.span()] if match and match[0] and not denied(text, match.start()) else []
    return found if len(found) == 1 else []
