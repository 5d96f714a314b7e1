from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewise.analysis.agreement import (
    BITS,
    DIFFERS,
    PREDICTIONS,
    TOLERANCE,
    VERDICTS,
    Made,
    compare,
    environment_differences,
)


def trained(**changes: Any) -> Made:
    made = {"step": "train f1", "fixed": {"order": "o"}, "weights": "w", "losses": [4.0, 3.0]}
    made |= {"metrics": {"train/loss_last": 3.0}}
    return Made(**{**made, **changes})


def row(item: int, answer: str = "42", right: float = 1.0, **fields: Any) -> dict[str, Any]:
    made = {"item": f"i{item}", "doc": {}, "target": "42", "resps": [[answer]], "flexible": right, "strict": right}
    return made | {"checkpoint_sha256": "w", "near_ties": 0} | fields


def answered(rows: list[dict[str, Any]], **metrics: float) -> Made:
    rates = {f"eval/{name}": sum(each[name] for each in rows) / len(rows) for name in ("flexible", "strict")}
    return Made("eval f1", {}, metrics=rates | {f"eval/{name}": value for name, value in metrics.items()}, rows=rows)


RIGHT = [row(item) for item in range(10)]
RECORDED = [trained(), answered(RIGHT)]


def test_equal_records_are_bit_identical() -> None:
    assert compare(RECORDED, [trained(), answered(RIGHT)]) == (BITS, [])


def test_other_weights_with_the_same_answers_are_identical_predictions() -> None:
    again = answered([each | {"checkpoint_sha256": "v", "near_ties": 1} for each in RIGHT], near_ties=10)
    found = compare([trained(), answered(RIGHT, near_ties=0)], [trained(weights="v", losses=[4.0, 3.01]), again])
    assert found.verdict == PREDICTIONS
    assert str(found.first) == "train f1: loss at 1 of 2 steps, first at step 2: recorded 3.0, found 3.01"


def test_without_answers_other_weights_are_within_tolerance() -> None:
    assert compare([trained()], [trained(weights="v")]).verdict == TOLERANCE


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [(0, BITS), (2, TOLERANCE), (3, DIFFERS)],  # of 10 right the 95 % interval begins at 72 %
)
def test_accuracy_may_lie_in_the_recorded_interval(wrong: int, expected: str) -> None:
    again = answered([row(item, *(("41", 0.0) if item < wrong else ())) for item in range(10)])
    assert compare(RECORDED, [trained(), again]).verdict == expected


@pytest.mark.parametrize(("last", "expected"), [(3.03, PREDICTIONS), (3.04, DIFFERS), (2.9, DIFFERS)])
def test_the_last_loss_may_be_one_percent_off(last: float, expected: str) -> None:
    again = trained(weights="v", losses=[4.0, last], metrics={"train/loss_last": last})
    assert compare(RECORDED, [again, answered(RIGHT)]).verdict == expected


def test_a_recorded_metric_that_its_own_predictions_do_not_give_differs() -> None:
    recorded = Made("eval f1", {}, metrics={"eval/flexible": 0.1, "eval/strict": 1.0}, rows=RIGHT)
    found = compare([recorded], [answered(RIGHT)])
    assert found.verdict == DIFFERS
    assert str(found.first) == "eval f1: eval/flexible: recorded 0.1, found 1.0"


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        ([trained(fixed={"order": "p"}), answered(RIGHT)], "train f1: order sha256: recorded o, found p"),
        ([trained(losses=[4.0]), answered(RIGHT)], "train f1: optimizer steps: recorded 2, found 1"),
        ([trained()], "eval f1: step: recorded made, found not made"),
        ([trained(), answered(RIGHT), trained(step="train f2")], "train f2: step: recorded not made, found made"),
        ([trained(), answered(RIGHT[:9])], "eval f1: items answered: recorded 10, found 9"),
        (
            [trained(), answered([*RIGHT[:9], row(9, target="43")])],
            "eval f1: 1 of 10 predictions, first of item i9, target: recorded 42, found 43",
        ),
    ],
)
def test_what_no_rounding_can_change_differs(again: list[Made], expected: str) -> None:
    found = compare(RECORDED, again)
    assert found.verdict == DIFFERS
    assert str(found.first) == expected


def test_the_first_difference_is_the_first_that_decides() -> None:
    again = [trained(weights="v"), answered([row(item, "x", 0.0) for item in range(10)])]
    found = compare(RECORDED, again)
    assert found.differences[0].allows == PREDICTIONS
    assert found.verdict == DIFFERS
    assert str(found.first) == "eval f1: eval/flexible: recorded 1.0, found 0.0"


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), st.booleans())
def test_a_record_is_bit_identical_to_itself_and_another_digest_never_is(losses: list[float], order: bool) -> None:
    made = trained(losses=losses, metrics={"train/loss_last": losses[-1]})
    assert compare([made], [made]).verdict == BITS
    again = trained(losses=losses, metrics=made.metrics, **({"fixed": {"order": "p"}} if order else {"weights": "v"}))
    assert VERDICTS.index(compare([made], [again]).verdict) > 0


def test_differences_of_the_environment_are_listed() -> None:
    recorded = {"python": "3.11.7", "cores": 2, "packages": {"torch": "2.13.0", "old": "1"}}
    found = {"python": "3.11.9", "cores": 2, "packages": {"torch": "2.13.0", "new": "1"}}
    assert environment_differences(recorded, found) == [
        "new: recorded none, found 1",
        "old: recorded 1, found none",
        "python: recorded 3.11.7, found 3.11.9",
    ]
    assert environment_differences(recorded, recorded) == []
