r"""Equality of mathematical expressions by `math-verify`, in a process that can be killed.

    equal_by_math_verify(r"\sqrt{4}", "2")  ->  True

sympy can take for ever on an expression that a model made up, and nothing inside its own process stops it for
certain. So a child does the work, and the kernel ends it when a question has cost it `SECONDS` of processor time: a
machine that is busy with other things changes no verdict.
"""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from threading import Timer

from stagewise.evaluation.scoring.forms import Number, Several, Symbols
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.symbols import is_all_mathematics
from stagewise.evaluation.scoring.values import LONGEST_TEXT, bare, is_calculation, value

SECONDS = 5  # of processor time, for one question
STUCK_SECONDS = 600.0  # of any time: for a child that waits and uses no processor
_PROGRAM = Path(__file__).with_name("verifier_process.py")
# Everything else is settled by the other matchers at no cost.
_MATHEMATICS = re.compile(
    r"\\[a-zA-Z]|[\^π√∞]|sqrt|[0-9)]\s?[a-zA-Z]\b|\b[a-zA-Z]\s?[-+*/=<>]|[-+*/=<>]\s?[a-zA-Z]\b|^[(\[]|[0-9]!"
)
_LATEX = {
    "π": r"\pi ",
    "×": r"\times ",
    "÷": r"\div ",
    "√": r"\sqrt",
    "∞": r"\infty ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "²": "^2",
    "³": "^3",
}
_ROOT = re.compile(r"(?:√|\\?\bsqrt|\\sqrt)\s*(?:([0-9]+(?:\.[0-9]+)?|[A-Za-zπ])|\(([^()]*)\))")
_BRACKETS = re.compile(r"[(\[].*,.*[)\]]", re.DOTALL)


class MatchTimeout(Exception):
    """The comparison took longer than `SECONDS`: the answer is neither right nor wrong."""


def equal_by_math_verify(answer: str, expected: str) -> bool:
    """Equal as mathematics (huggingface/Math-Verify), where either is written as mathematics.

    Not asked of two values that `number` can tell apart, nor of a calculation against a number: `5 + 3` is not 8.
    Raises `MatchTimeout`.
    """
    left, right = (bare(undress(text).text) for text in (answer, expected))
    if not _is_asked(left, right):
        return False
    return _verifier().equal(_latex(left), _latex(right))


def _is_asked(left: str, right: str) -> bool:
    if max(len(left), len(right)) > LONGEST_TEXT or (not _MATHEMATICS.search(left) and not _MATHEMATICS.search(right)):
        return False
    values = value(left), value(right)
    if re.search(r"%|\n|\\begin", left + right) or any(
        not is_all_mathematics(text) and found is None for text, found in zip((left, right), values, strict=True)
    ):
        return False
    if any(map(_BRACKETS.fullmatch, (left, right))) and (left[:1], left[-1:]) != (right[:1], right[-1:]):
        return False  # [2, 5) is not (2, 5]
    if all(isinstance(each, Number | Several) for each in values):
        return False
    numbers = [isinstance(each, Number) for each in values]
    return not (numbers[0] and is_calculation(right)) and not (numbers[1] and is_calculation(left))


def _latex(text: str) -> str:
    found = value(text)
    text = _ROOT.sub(r"\\sqrt{\1\2}", found.said if isinstance(found, Symbols) else text)
    return "".join(_LATEX.get(sign, sign) for sign in text)


class _Verifier:
    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def equal(self, answer: str, expected: str) -> bool:
        if self._child is None:
            self._child = _started()
        verdict = _reply(self._child, json.dumps([answer, expected, SECONDS]))
        if verdict is None:
            self._child = None
            raise MatchTimeout(f"no verdict on {answer!r} in {SECONDS} s of processor time")
        return verdict == "true"


@cache
def _verifier() -> _Verifier:
    """One child for the whole process: it takes seconds to start."""
    return _Verifier()


def _started() -> subprocess.Popen[str]:
    # -P: this folder must not stand in front of the standard library on the child's path.
    command = [sys.executable, "-P", str(_PROGRAM)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    if _reply(child, "") != "ready":
        raise RuntimeError(f"{' '.join(command)} did not start; is math-verify installed?")
    return child


def _reply(child: subprocess.Popen[str], line: str) -> str | None:
    """The child's next line, `line` sent to it first; None where it was ended or died of the question."""
    assert child.stdin
    assert child.stdout
    timer = Timer(STUCK_SECONDS, child.kill)
    timer.start()
    try:
        if line:
            child.stdin.write(line + "\n")
            child.stdin.flush()
        answer = child.stdout.readline().strip()
    except BrokenPipeError:
        answer = ""
    finally:
        timer.cancel()
    if not answer:
        child.kill()
        child.communicate()
    return answer or None
