"""Scoring on real outputs: GSM8K's solutions, and the original's predictions against verdicts by hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagewise.evaluation.scoring import score

VERDICTS = Path(__file__).parents[2] / "fixtures" / "verdicts.jsonl"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("name", ["train", "test"])
def test_gsm8k_solutions_are_right_and_in_format(shared: Path, name: str) -> None:
    wrong = []
    for row in rows(shared / "gsm8k" / f"{name}.jsonl"):
        expected = row["answer"].rpartition("####")[2].strip()
        judged = score(row["answer"], expected, prompt=row["question"], strict="gsm8k")
        if not (judged.strict and judged.flexible):
            wrong.append((expected, judged))
    assert wrong == []


def test_traces_in_the_plain_template_are_right_and_in_format(shared: Path) -> None:
    for row in rows(shared / "dev-reasoning-v2" / "traces.jsonl"):
        output = "\n".join([*(step["content"] for step in row["steps"]), row["final_answer"]])
        judged = score(output, row["final_answer"], prompt=row["prompt"])
        assert judged.strict, (output, judged)


@pytest.mark.parametrize("parity", [0, 1], ids=["even ids, tuned on", "odd ids, held out"])
def test_agreement_with_the_verdicts_by_hand(shared: Path, parity: int) -> None:
    verdicts = {(row["file"], row["id"]): row["verdict"] for row in rows(VERDICTS)}
    assert len(verdicts) == 400
    agreed, disagreements = 0, []
    for name in sorted({file for file, _ in verdicts}):
        for row in rows(shared / "dev-reasoning-v2" / "predictions" / name):
            verdict = verdicts[name, row["id"]]
            if verdict == "unclear" or int(row["id"].rpartition("-")[2]) % 2 != parity:
                continue
            # The original did not record why generation ended, so every end may be cut.
            judged = score(
                row["predicted_answer"], row["expected_answer"], prompt=row["prompt"], finish_reason="length"
            )
            if judged.flexible == (verdict == "right"):
                agreed += 1
            else:
                disagreements.append((name, row["id"], verdict, judged.extraction))
    assert agreed / (agreed + len(disagreements)) >= 0.96, disagreements
