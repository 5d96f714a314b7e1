r"""Questions in an output: the one that was asked, those that a reasoner asks on the way, and other ones.

    without_questions("60\n\nQ: Tom has 5 pens. How many?\n5", "How many jars are left?")    ->  "60", then newlines
    without_questions("How many jars at first? 72\nHow many are left? 60", …)                ->  the numbers stay

Another question ends what counts, until the one asked is stated again. What tells it from a question on the way: a
label (`Q:`, `Problem 2:`), a name that the prompt does not have, an answer already given, or other things asked after.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

from stagewise.evaluation.scoring.text import tokens

# --- turns of a conversation --------------------------------------------------------------------

_SPECIAL = (
    r"<\|(?!(?:begin|end)_of_box)[a-z_]{2,20}\|>|</?s>|<eos>|<pad>|<(?:start|end)_of_turn>|\[/?INST\]"
    r"|<\|?(?:user|assistant|system)\|?>"
)
_TURN_ENDS = re.compile(rf"(?:{_SPECIAL})", re.IGNORECASE)
_ROLE = re.compile(rf"\s*(?:{_SPECIAL}|assistant\b:?|\s)*", re.IGNORECASE)


def without_turns(text: str) -> str:
    """Only the first turn: a token that ends a turn, or begins one, ends what counts."""
    start = _ROLE.match(text).end()  # type: ignore[union-attr]
    end = _TURN_ENDS.search(text, start)
    stop = end.start() if end else len(text)
    skipped = start if _TURN_ENDS.search(text, 0, start) else 0
    return "\n" * skipped + text[skipped:stop] + "\n" * (len(text) - stop)


# --- questions ----------------------------------------------------------------------------------

_SENTENCES = re.compile(r"(?:[^\n?.]|\.(?=\d))+\??")
_LABEL = re.compile(
    r"(?:^|(?<=\n)|(?<=[.!?\d)}*][ ])|(?<=[.!?\d)}*]  ))[ \t]*(?:#{1,6}[ \t]*|\*{2,3})?"
    r"(?:(?:q|question|problem|exercise|task|instruction|query|user|human)(?:[ \t]*(?:no\.[ \t]*)?\d{1,3})?"
    r"|example[ \t]\d{1,3})"
    r"(?:\*{2,3})?[ \t]*[:.)](?:\*{2,3})?(?=\s)[ \t]*(?P<said>[^\n]*)",
    re.IGNORECASE,
)
_OPENS = re.compile(r"(?:^|\n)\s*(?:Q:|question:)?\s*(?:what|which|who|when|where|how|if)\b", re.IGNORECASE)
_BULLET = re.compile(r"[\s*_]*(?:[-*•][ \t]+|\d{1,2}[.)][ \t]+)?[\s*_]*")
_CALCULATION = re.compile(r"\d\s*[-+*/×÷^=]\s*\d")
_ANSWERED = re.compile(
    r"####[ \t]*[^\s#]|\\boxed|</?answer>|\banswer\b(?!\s+to\s+(?:the\s+)?(?:first|part))[^\n]{0,60}?(?:\bis\b|:)\s*\S",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"####[ \t]*[^\s#]|\\boxed|</answer>", re.IGNORECASE)
_BARE = re.compile(
    r"[\s*_`$\\(\[{]*[-–]?[$€£]?[\d.,]+[\s*_`$\\)\]}%.]*(?:[a-z]+[\s*_`.]*){0,3}|[\s*_`$(]*[A-Z][\s*_`$).]*"
)
_PRONOUN = re.compile(r"\b(?:she|he|they|it|we|i|her|his|their|him|them|its|that|this|these|those)\b", re.IGNORECASE)
_ASKS = re.compile(r"\b(?:what|which|who|when|where|how|why|if|is|are|does|do|did|can|will)\b", re.IGNORECASE)
_WH = re.compile(r"\b(?:what|which|who|when|where|how|why)\b", re.IGNORECASE)
_ON_THE_WAY = re.compile(r"\W*(?:first|second|third|next|then|now|finally|so|but|and|also|let's|step)\b", re.IGNORECASE)
_NAME = re.compile(
    r"(?<=[a-z,;] )[A-Z][a-z]{2,}\b"
    r"|\b[A-Z][a-z]{2,}(?=\s(?:[a-z]{2,}s|had|was|were|and|bought|went|made|gave|ran|spent)\b)"
)
# Words that say nothing of what a text is about: of grammar, and of arithmetic in general.
_GRAMMAR = """
    a an the and or but of in on at to for from by with per each every all both any some no not than then as if so is
    are was were be been being do does did done has have had having will would can could should may must what which who
    whom whose when where why how many much more most less least fewer long far old big large small high tall wide deep
    often there here this that these those it its he she they we you i me my our your his her their him them us up out
    into about
"""
_RECKONING = """
    one first second third last next final finally total altogether number amount sum difference product value answer
    result step question part now still left remain remains remaining over after before get gets need needs make makes
    take takes cost costs give gives know find calculate compute determine solve let time times same different other
    another only also just money
"""
_FUNCTION = frozenset(_GRAMMAR.split())
_COMMON = _FUNCTION | frozenset(_RECKONING.split())
LONGEST_STORY = 600  # characters of what leads to a question


def drifts(output: str, prompt: str) -> bool:
    """Whether it asks a question that is not the prompt's."""
    asked = _asked(prompt)
    return any(
        _OPENS.match(output, max(0, question.start() - 1)) and not _is_echo(question[0], asked)
        for question in _questions(output)
    )


def without_questions(text: str, prompt: str) -> str:
    """Blanks the prompt where it is repeated, questions on the way, and other questions with what follows them."""
    asked, events = _asked(prompt), _events(text)
    known = _Known(prompt, text if events else "")
    left, other = text, None
    for start, end, label in events:
        if _is_echo(text[start:end], asked) or (label and _is_said_again(label, asked)):
            if other is not None:
                left, other = _blank(left, other, start), None
            left = _blank(left, start, end)
        elif other is None:
            other = _other(text, start, end, label, known)
            if other is None and _opens_line(text, start) and _ASKS.search(text, start, end):
                left = _blank(left, start, end)
    if other is not None:
        left = _blank(left, other, len(left))
    for line in re.finditer(r"[^\n]+", left):
        if _is_echo(line[0], asked):
            left = _blank(left, *line.span())
    return left


def _events(text: str) -> list[tuple[int, int, str | None]]:
    """Where each question, and each label of one, starts and ends, with what stands behind a label; in their order."""
    found: list[tuple[int, int, str | None]] = [(*question.span(), None) for question in _questions(text)]
    for match in _LABEL.finditer(text):
        said = match["said"] or text[match.end() : match.end() + LONGEST_STORY].lstrip("\n").partition("\n")[0]
        found.append((match.start(), match.start("said"), said))
    return sorted(found, key=lambda event: event[0])


def _other(text: str, start: int, end: int, label: str | None, known: "_Known") -> int | None:
    """Where another question begins, whose sentence or label is given; None where it is one on the way."""
    if label is not None:
        return start if known.starts < start or known.foreign(label, start) >= 0.5 else None
    if _ANSWERED.search(text, start, end) and not _WH.search(text, start, end):
        return None  # `The answer is 72? No, …`
    block = _block(text, start, known)
    story, before = text[block:end], known.line_before(block)
    opens = _opens_line(text, start)
    closed = (len(before) < 80 and _BARE.fullmatch(before) is not None) or _CLOSED.search(before) is not None
    answered = closed or _ANSWERED.search(before) is not None
    foreign = known.foreign(story, block)
    if (
        known.names(story, block)
        or (block < start and known.foreign(text[block:start], block) >= 0.6)
        or (closed and (opens or foreign))
    ):
        return block
    if answered and (foreign >= 0.5 or (opens and foreign)):
        return block
    if not opens or _PRONOUN.search(text, start, end) or _ON_THE_WAY.match(text, start):
        return None
    return block if foreign >= 0.5 else None


def _block(text: str, start: int, known: "_Known") -> int:
    """Where the lines begin that lead to a question: no calculation, no answer, of other things."""
    block = text.rfind("\n", 0, start) + 1
    if start - block > LONGEST_STORY or "=" in text[block:start] or _ANSWERED.search(text, block, start):
        return start
    while start - block < LONGEST_STORY and block > 1:
        above = text.rfind("\n", 0, block - 1) + 1
        line = text[above : block - 1]
        if not line.strip() or "=" in line or _ANSWERED.search(line) or known.foreign(line, above) < 0.5:
            break
        block = above
    return block


def _opens_line(text: str, start: int) -> bool:
    line = text.rfind("\n", 0, start) + 1
    return _BULLET.fullmatch(text, line, start) is not None


class _Known:
    """The words and numbers of the prompt, and where the output first says each other one."""

    def __init__(self, prompt: str, text: str) -> None:
        self._prompt = {_stem(word[0]) for word in _WORDS.finditer(prompt)}
        self._lines = list(re.finditer(r"[^\n]*\S[^\n]*", text))
        self._ends = [line.end() for line in self._lines]
        self.starts = min((word.start() for word in _WORDS.finditer(text)), default=len(text))
        self._first: dict[str, int] = {}
        for word in _WORDS.finditer(text):
            self._first.setdefault(_stem(word[0]), word.start())

    def line_before(self, at: int) -> str:
        """The last line with anything in it that ends before `at`, or its end."""
        index = bisect_right(self._ends, at) - 1
        return self._lines[index][0][-LONGEST_STORY:].strip() if index >= 0 else ""

    def foreign(self, said: str, at: int) -> float:
        """The share of what `said` is about that neither the prompt nor the text before `at` has."""
        words = [_stem(word[0]) for word in _WORDS.finditer(said) if word[0].lower() not in _COMMON]
        return sum(not self._has(word, at) for word in words) / len(words) if words else 0.0

    def names(self, said: str, at: int) -> bool:
        found = (match[0] for match in _NAME.finditer(said))
        return any(name.lower() not in _COMMON and not self._has(_stem(name), at) for name in found)

    def _has(self, word: str, at: int) -> bool:
        return word in self._prompt or self._first.get(word, at) < at


_WORDS = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]{2,}")


def content(texts: Iterable[str]) -> set[str]:
    """The stems of what texts are about, common words and numbers aside."""
    words = (word[0] for text in texts for word in _WORDS.finditer(text))
    return {_stem(word) for word in words if word.isalpha() and word.lower() not in _FUNCTION}


@lru_cache(maxsize=2**16)
def _stem(word: str) -> str:
    word = word.lower()
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            return word.removesuffix(ending)
    return word


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + "\n" * (end - start) + text[end:]


def _questions(text: str) -> list[re.Match[str]]:
    return [sentence for sentence in _SENTENCES.finditer(text) if sentence[0].endswith("?")]


def _is_echo(text: str, prompt: list[str]) -> bool:
    """All of the prompt, or a question or a calculation out of it: no answer is one of these."""
    said = _asked(text)
    if len(said) < 3 or not ("?" in text or said == prompt or _CALCULATION.search(text)):
        return False
    return _is_part(said, prompt)


def _is_said_again(label: str, prompt: list[str]) -> bool:
    """Whether what stands behind a label begins as the prompt, or a question of it, does."""
    said = _asked(re.split(r"(?<=[.?!])\s", label)[0])
    return len(said) > 2 and _is_part(said, prompt)


def _is_part(said: list[str], prompt: list[str]) -> bool:
    size = len(said)
    return any(prompt[start : start + size] == said for start in range(len(prompt) - size + 1))


def _asked(text: str) -> list[str]:
    return [token for token in tokens(text) if token not in "?."]
