"""Mathematics compared by a child: a limit of processor time, and a score where there is no verdict."""

import os
import signal
import threading
import time

import pytest

from stagewise.evaluation.scoring import majority, score, verifier
from stagewise.evaluation.scoring.verifier import MatchTimeout, equal_by_math_verify

ENDLESS = r"9^{9^{9^{9^{9}}}} + \pi"


@pytest.mark.parametrize(
    ("answer", "expected", "equal"),
    [
        (r"\frac{\sqrt{4}}{4}", "0.5", True),
        ("x^2 + 1", "1 + x^2", True),
        ("2x + 3", "3 + 2x", True),
        ("2x + 3", "3x + 2", False),
        ("(x+1)(x-1)", "x^2-1", True),
        (r"\sqrt{18}", r"3\sqrt{2}", True),
        (r"\sqrt{3}", "2", False),
        (r"4\pi \text{ cm}^2", "4π", True),
        ("sqrt(20)", "2√5", True),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        # Asked of nothing that the other matchers settle, nor of what it would read in part.
        ("5", "5", False),
        ("12 × 5", "60", False),
        (r"\frac{1}{4} + \frac{1}{2}", "0.75", False),
        (r"60\%", "0.6", False),
        (r"1\text{ hour } 30\text{ minutes}", "1", False),
        ("[2, 5)", "(2, 5]", False),
        ("#### 5k", "5", False),
        ("The area is 4π", "4", False),
        (r"\begin{pmatrix} 1 & 2 \\ 4 & 3 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", False),
        (r"\frac{", "5", False),
    ],
)
def test_what_is_equal_as_mathematics(answer: str, expected: str, equal: bool) -> None:
    assert equal_by_math_verify(answer, expected) is equal


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "SECONDS", 1)


@pytest.mark.usefixtures("one_second")
def test_a_question_that_costs_too_much_has_no_verdict_and_the_next_one_has() -> None:
    with pytest.raises(MatchTimeout, match="in 1 s of processor time"):
        equal_by_math_verify(ENDLESS, "1 + x^2")
    assert equal_by_math_verify("x^2 + 1", "1 + x^2")


@pytest.mark.usefixtures("one_second")
def test_a_child_that_has_to_wait_for_the_processor_gives_its_verdict() -> None:
    assert equal_by_math_verify("x^2 + 1", "1 + x^2")
    child = verifier._verifier()._child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    awake = threading.Timer(2.5, os.kill, (child.pid, signal.SIGCONT))
    awake.start()
    start = time.monotonic()
    assert equal_by_math_verify(r"\sqrt{18}", r"3\sqrt{2}")
    assert time.monotonic() - start > 2, "it did not wait"
    assert verifier._verifier()._child is child


@pytest.mark.usefixtures("one_second")
def test_a_child_that_is_stuck_is_ended_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert equal_by_math_verify("x^2 + 1", "1 + x^2")
    child = verifier._verifier()._child
    assert child is not None
    monkeypatch.setattr(verifier, "STUCK_SECONDS", 0.3)
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(MatchTimeout):
        equal_by_math_verify("x^2 + 1", "2 + x^2")
    monkeypatch.undo()
    assert equal_by_math_verify("x^2 + 1", "1 + x^2")


@pytest.mark.usefixtures("one_second")
def test_an_item_without_a_verdict_is_unscored_and_neither_right_nor_wrong() -> None:
    judged = score(f"#### {ENDLESS}", "x + 1", strict="gsm8k")
    assert (judged.strict, judged.flexible, judged.matched, judged.timed_out) == (None, None, None, True)
    # Without it in the format's place the answer is right, so only whether it is strictly right is open.
    judged = score(f"The answer is x + 1.\n{ENDLESS}", "x + 1", extract=["answer_is"])
    assert (judged.strict, judged.flexible, judged.timed_out) == (None, True, True)
    judged = score(f"#### {ENDLESS}", "x + 1", strict="gsm8k", match=["exact", "normalised", "number"])
    assert (judged.strict, judged.flexible, judged.timed_out) == (False, False, False)


@pytest.mark.usefixtures("one_second")
def test_votes_that_cannot_be_counted_are_not() -> None:
    with pytest.raises(MatchTimeout):
        majority([ENDLESS, "x + 1", "x + 1"])
    assert majority([ENDLESS, ENDLESS]) == 0, "equal texts need no comparison"
