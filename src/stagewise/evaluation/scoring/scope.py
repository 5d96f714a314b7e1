r"""Which part of an output answers the question asked: docs/scoring.md, rules 3 to 7, on the text alone.

    scoped("3+3=6\n\nWhat is 4+4?\n\n8", "3+3=?", "stop")  ->  "3+3=6", then newlines to the same length

What does not count is blanked by newlines, so a span in what is left is a span in the output. What does not count is
thinking, what the token limit cut, a loop after its first round, the prompt said again, other questions with all that
follows them, headings, lists of options and checks of an answer already given.
"""

import re

from stagewise.evaluation.scoring.questions import without_questions, without_turns
from stagewise.evaluation.scoring.text import repeated_suffix

ROUNDS = 3  # said twice can be emphasis; three times is a loop

# What a reasoning model says to itself before it answers.
_THOUGHTS = r"think|thinking|thought|thoughts|reasoning|scratchpad|analysis|seed:think"
_THINKING = re.compile(
    rf"<(?:{_THOUGHTS})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel\|>analysis<\|message\|>", re.IGNORECASE
)
_THOUGHT = re.compile(
    rf"</(?:{_THOUGHTS})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>|assistantfinal",
    re.IGNORECASE,
)
# The last of these is a label, as in `… = 42 Check: 42 is`.
_BOUNDARY = re.compile(r"\n|[.!?]\s|\s(?=[A-Z]\w*:\s)")
_SENTENCE = r"(?:[^\n?.]|\.(?=\d))"
_HEADINGS = re.compile(
    r"^[ \t]*(?:\#{1,6}[ \t]*)?(?:step[ \t]+\d+(?:[ \t]*/[ \t]*\d+)?|\d+[ \t]+of[ \t]+\d+|result|answer|solution)"
    r"[ \t]*:?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_OPTIONS = re.compile(r"(?:^[ \t]*\(?[A-Ja-j][.)][ \t]*\S[^\n]*(?:\n|\Z)){2,}", re.MULTILINE)
_CHECKS = re.compile(
    rf"\b(?:check|verification|proof|double-check):{_SENTENCE}*"
    r"|(?<=[\w.!?*$)}])[ \t]*(?:[.!?]|\n)[\s*]*(?:(?:let's|let\sus|let\sme|we\scan|to|i'll|now\sto)\s(?:also\s)?)?"
    rf"(?:double[-\s]?check|check|verify)(?:ing)?\b(?!\s+(?:out|in)\b)[^\n]*",
    re.IGNORECASE,
)


_REMARKS = re.compile(
    r"(?<=\n)[^\w\n]{0,10}(?:note|remark|fun\sfact|p\.?\s?s\.?)\b[^\n]*"
    r"|(?<=[\s.!?])(?:(?:i\s)?hope\s(?:this|that|it)\shelps|let\sme\sknow|feel\sfree|if\syou\s(?:have|need|want|would)"
    r"|would\syou\slike|do\syou\s(?:want|need)|happy\sto\shelp)\b[^\n]*",
    re.IGNORECASE,
)


def scoped(output: str, prompt: str, finish_reason: str) -> str:
    """`output`, as long as before, with what does not answer `prompt` replaced by newlines.

    A `finish_reason` other than `stop` means that its end may be cut.
    """
    text = output if finish_reason == "stop" else _blank(output, _complete(output), len(output))
    text = without_questions(without_loop(without_turns(_without_thinking(text))), prompt)
    for pattern in (_HEADINGS, _OPTIONS, _CHECKS, _REMARKS):
        text = pattern.sub(_blanked, text)
    return text


def answers_prompt(output: str, prompt: str, span: tuple[int, int]) -> bool:
    """Whether a part of an output is said to the question asked: no thinking, no other turn, no other question, and no
    line of a list of options."""
    text, part = without_questions(without_turns(_without_thinking(output)), prompt), output[slice(*span)]
    if "\n" not in part:
        text = _OPTIONS.sub(_blanked, text)
    return text[slice(*span)] == part


def _blanked(match: re.Match[str]) -> str:
    return "\n" * len(match[0])


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + "\n" * (end - start) + text[end:]


def _without_thinking(text: str) -> str:
    """Up to the last end of thinking, which a template may have begun in the prompt; all, where it has no end."""
    ends = [match.end() for match in _THOUGHT.finditer(text)]
    if ends:
        text = _blank(text, 0, ends[-1])
    opened = _THINKING.search(text, ends[-1] if ends else 0)
    return _blank(text, opened.start(), len(text)) if opened else text


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
