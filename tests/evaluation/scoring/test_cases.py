"""Scoring held against the verdicts of readers, case by case, each written down before the code was run on it.

`fixtures/answers.jsonl` is by someone who did not see the code, `fixtures/answers_by_form.jsonl` by who wrote it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagewise.evaluation.scoring import DEFAULT_MATCH, MATCHERS, majority, score
from stagewise.evaluation.scoring.forms import same
from stagewise.evaluation.scoring.values import value

FIXTURES = Path(__file__).parents[2] / "fixtures"
BOTH = ("answers.jsonl", "answers_by_form.jsonl")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def misjudged(path: Path) -> list[Any]:
    found = []
    for row in rows(path):
        judged = score(row["output"], row["expected"], prompt=row["prompt"], finish_reason="stop")
        if judged.flexible is not row["right"]:
            found.append((row, judged))
    return found


def test_the_issues_outputs_are_judged_as_a_reader_judges_them(shared: Path) -> None:
    path = shared / "answers" / "answers.jsonl"
    assert len(list(rows(path))) == 63
    assert misjudged(path) == []


@pytest.mark.parametrize("name", BOTH)
def test_outputs_by_hand_are_judged_as_a_reader_judges_them(name: str) -> None:
    assert misjudged(FIXTURES / name) == []


def test_each_kind_has_as_many_right_outputs_as_near_misses() -> None:
    kinds = Counter((row["kind"], row["right"]) for row in rows(FIXTURES / "answers.jsonl"))
    for kind in {kind for kind, _ in kinds}:
        assert kinds[kind, True] == kinds[kind, False] >= 6


@pytest.mark.parametrize("name", BOTH)
def test_no_output_is_right_for_two_different_answers(name: str) -> None:
    """Each number in an output in turn is the expected answer."""
    for row in rows(FIXTURES / name):
        if "≈" in row["output"] or "approx" in row["output"]:
            continue  # the exact value and the rounded one are one answer
        right = [
            number
            for number in dict.fromkeys(re.findall(r"\d+(?:\.\d+)?", row["output"]))
            if score(row["output"], number, prompt=row["prompt"], match=["exact", "normalised", "number"]).flexible
        ]
        worth = [value(number) for number in right]
        assert all(each and worth[0] and same(each, worth[0]) for each in worth), (row, right)


def test_majority_as_a_reader_counts_votes() -> None:
    for row in rows(FIXTURES / "majority.jsonl"):
        chosen = majority(row["answers"])
        answer = None if chosen is None else row["answers"][chosen]
        right = answer is not None and any(MATCHERS[name](answer, row["expected"]) for name in DEFAULT_MATCH)
        assert right is row["right"], (row, answer)
