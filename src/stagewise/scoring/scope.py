r"""Which part of an output answers the question asked: docs/scoring.md, rules 3 to 7, on the text alone.

    scoped("3+3=6\n\nWhat is 4+4?\n\n8", "3+3=?", "stop")  ->  "3+3=6", then newlines to the same length

What does not count is blanked by newlines, so a span in what is left is a span in the output. What does
not count is what the token limit cut, a loop after its first round, the prompt said again, other
questions with all that follows them, headings, lists of options and checks of an answer already given.
"""

import re

from stagewise.scoring.text import repeated_suffix, tokens

ROUNDS = 3  # said twice can be emphasis; three times is a loop

# The last of these is a label, as in `… = 42 Check: 42 is`.
_BOUNDARY = re.compile(r"\n|[.!?]\s|\s(?=[A-Z]\w*:\s)")
_SENTENCE = r"(?:[^\n?.]|\.(?=\d))"
_SENTENCES = re.compile(rf"{_SENTENCE}+\??")
# Only what opens a line like a task: a question that a reasoner asks itself (`Is that right?`) stays.
_OTHER = re.compile(r"(?:^|\n)\s*(?:Q:|question:)?\s*(?:what|which|who|when|where|how|if)\b", re.IGNORECASE)
_CALCULATION = re.compile(r"\d\s*[-+*/×÷^=]\s*\d")
_HEADINGS = re.compile(
    r"^[ \t]*(?:step[ \t]+\d+(?:[ \t]*/[ \t]*\d+)?|\d+[ \t]+of[ \t]+\d+|result|answer|solution)"
    r"[ \t]*:?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_OPTIONS = re.compile(r"(?:^[ \t]*\(?[A-Ja-j][.)][ \t]*\S[^\n]*(?:\n|\Z)){2,}", re.MULTILINE)
_CHECKS = re.compile(rf"\bcheck:{_SENTENCE}*", re.IGNORECASE)


def scoped(output: str, prompt: str, finish_reason: str) -> str:
    """`output`, as long as before, with what does not answer `prompt` replaced by newlines.

    A `finish_reason` other than `stop` means that its end may be cut.
    """
    text = output if finish_reason == "stop" else _blank(output, _complete(output), len(output))
    text = _without_questions(without_loop(text), _asked(prompt))
    for pattern in (_HEADINGS, _OPTIONS, _CHECKS):
        text = pattern.sub(lambda match: "\n" * len(match[0]), text)
    return text


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + "\n" * (end - start) + text[end:]


def _complete(text: str) -> int:
    """Where the last complete unit ends: a line, a sentence, what stands before a label, else a word.

    A sentence that has come to its full stop is complete; `49.` may have been about to be 49.5.
    """
    if re.search(r"[^\d\s][.!?]\Z", text.rstrip()):
        return len(text)
    if not re.search(r"\d[.!?]\Z", text):
        ends = [match.end() for match in _BOUNDARY.finditer(text)]
        if ends and re.search(r"\w", text[: ends[-1]]):
            return ends[-1]
    return max(text.rfind(" "), text.rfind("\n")) + 1


def without_loop(text: str) -> str:
    """Its first round stays, and what of a round stands at the end, so that the text ends as it did."""
    words = list(re.finditer(r"\S+", text))
    length, period = repeated_suffix([word[0] for word in words])
    if length < ROUNDS * period or not period:
        return text
    kept = len(words) - length + period + length % period
    return _blank(text, words[kept].start(), len(text))


def drifts(output: str, prompt: str) -> bool:
    """Whether it asks a question that is not the prompt's."""
    asked = _asked(prompt)
    return any(_opens(output, question) and not _is_echo(question[0], asked) for question in _questions(output))


def _without_questions(text: str, prompt: list[str]) -> str:
    """Blanks the prompt where it is repeated, and every other question with what follows it."""
    questions = _questions(text)
    starts = [question.start() for question in questions]
    other = False
    for question, end in zip(questions, [*starts[1:], len(text)], strict=False):
        if _is_echo(question[0], prompt):
            other = False
            text = _blank(text, *question.span())
        elif other or _opens(text, question):
            other = True
            text = _blank(text, question.start(), end)
    for line in re.finditer(r"[^\n]+", text):
        if _is_echo(line[0], prompt):
            text = _blank(text, *line.span())
    return text


def _questions(text: str) -> list[re.Match[str]]:
    return [sentence for sentence in _SENTENCES.finditer(text) if sentence[0].endswith("?")]


def _opens(text: str, question: re.Match[str]) -> bool:
    return _OTHER.match(text, max(0, question.start() - 1)) is not None


def _is_echo(text: str, prompt: list[str]) -> bool:
    """All of the prompt, or a question or a calculation out of it: no answer is one of these."""
    said = _asked(text)
    size = len(said)
    if size < 3 or not ("?" in text or said == prompt or _CALCULATION.search(text)):
        return False
    return any(prompt[start : start + size] == said for start in range(len(prompt) - size + 1))


def _asked(text: str) -> list[str]:
    return [token for token in tokens(text) if token != "?"]
