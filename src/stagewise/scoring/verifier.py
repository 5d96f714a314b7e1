r"""Equality of mathematical expressions by `math-verify`, in a process that can be killed.

    equal_by_math_verify(r"\sqrt{4}", "2")  ->  True

sympy can take for ever on an expression that a model made up, and nothing inside its own process stops
it for certain. So a child does the work; it is killed and replaced where it is late.
"""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from threading import Timer

SECONDS = 5.0
START_SECONDS = 120.0  # the child imports sympy first
LONGEST = 200  # characters; what is longer is prose
_PROGRAM = Path(__file__).with_name("verifier_process.py")
# Everything else is settled by the other matchers at no cost.
_MATHEMATICS = re.compile(r"\\[a-zA-Z]|[\^π√]|sqrt")


class MatchTimeout(Exception):
    """The comparison took longer than `SECONDS`: the answer is neither right nor wrong."""


def equal_by_math_verify(answer: str, expected: str) -> bool:
    """Equal as mathematics (huggingface/Math-Verify), where either is written as mathematics.

    Raises `MatchTimeout`.
    """
    if not _MATHEMATICS.search(answer + expected) or len(answer) > LONGEST:
        return False
    return _verifier().equal(answer, expected)


class _Verifier:
    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def equal(self, answer: str, expected: str) -> bool:
        if self._child is None:
            self._child = _started()
        verdict = _reply(self._child, json.dumps([answer, expected]), SECONDS)
        if verdict is None:
            self._child = None
            raise MatchTimeout(f"no verdict on {answer!r} in {SECONDS:g} s")
        return verdict == "true"


@cache
def _verifier() -> _Verifier:
    """One child for the whole process: it takes a second to start."""
    return _Verifier()


def _started() -> subprocess.Popen[str]:
    # -P: this folder must not stand in front of the standard library on the child's path.
    command = [sys.executable, "-P", str(_PROGRAM)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    if _reply(child, "", START_SECONDS) != "ready":
        raise RuntimeError(f"{' '.join(command)} did not start; is math-verify installed?")
    return child


def _reply(child: subprocess.Popen[str], line: str, seconds: float) -> str | None:
    """The child's next line, `line` sent to it first; None where it was late or died of the question."""
    assert child.stdin
    assert child.stdout
    timer = Timer(seconds, child.kill)
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
