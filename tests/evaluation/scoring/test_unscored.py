"""An item whose comparison took too long is neither right nor wrong, wherever items are counted."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Finished
from helpers.answered import SHARED
from helpers.reports import study

from stagewise.analysis.agreement import Made, compare
from stagewise.analysis.gate import decide
from stagewise.analysis.scores import paired
from stagewise.cli import main
from stagewise.commands import score as rescoring
from stagewise.commands.derivation import eval as derivation
from stagewise.commands.verify import check
from stagewise.config import Evaluation, Primary, Promotion
from stagewise.data.traces import parse_items
from stagewise.evaluation import judged, predictions
from stagewise.evaluation.generation import Answer, Prompt
from stagewise.evaluation.scoring import MatchTimeout, Score, majority, score
from stagewise.export.provenance import _evaluated
from stagewise.report import Checkpoint, comparison, figures, markdown, page, tables, words
from stagewise.steps import evaluate

UNSCORED = Score(None, None, None, None)
NULL = {"flexible": None, "strict": None, "timed_out": True}


def row(*verdicts: Score, output: str = "4") -> dict[str, Any]:
    """The row of an item whose samples were judged so."""
    line = json.dumps({"id": "x-1", "prompt": "What is 2+2?", "expected_answer": "4", "section": "core"})
    (item,) = parse_items(line.encode(), "eval").rows
    answers = [Answer(output, 3, "stop") for _ in verdicts]
    sampled = {"samples_per_item": len(verdicts), "temperature": 0.7} if len(verdicts) > 1 else {}
    settings = Evaluation(**sampled)
    rubric = judged.rubric_of(settings)
    return judged.row(item, Prompt("x-1", "?", [1], 0), answers, verdicts, settings, SHARED, rubric)


RIGHT, WRONG = score("4", "4"), score("5", "4")


# --- predictions --------------------------------------------------------------------------------


def test_a_row_says_null_and_is_read_again() -> None:
    unscored = row(UNSCORED)
    assert (unscored["flexible"], unscored["strict"], unscored["timed_out"]) == (None, None, True)
    assert predictions.decode(predictions.encode([unscored])) == [unscored]
    table = predictions.table([unscored])
    assert dict(zip(table["columns"], table["data"][0], strict=True))["flexible"] is None


def test_metrics_leave_it_out_and_count_it() -> None:
    found = predictions.metrics([row(RIGHT), row(WRONG), row(UNSCORED), row(Score(None, True, None, "number"))])
    assert (found["eval/flexible"], found["eval/strict"], found["eval/unscored"]) == (0.666667, 0.5, 2.0)
    none = predictions.metrics([row(UNSCORED)])
    assert none["eval/unscored"] == 1.0
    assert not {"eval/flexible", "eval/strict"} & none.keys()


def test_groups_count_the_items_that_are_scored() -> None:
    assert predictions.by([row(RIGHT), row(WRONG), row(UNSCORED)], "section") == {"core": (1, 2)}


def test_samples_without_a_verdict_leave_the_item_out_of_pass_at_k() -> None:
    sampled = row(RIGHT, UNSCORED)
    assert sampled["pass_at"] == {"1": None, "2": None}
    assert sampled["samples"][1]["flexible"] is None
    found = predictions.metrics([sampled, row(RIGHT, WRONG)])
    assert (found["eval/pass_at_1"], found["eval/majority_at_2"]) == (0.5, 1.0)
    assert predictions.decode(predictions.encode([sampled])) == [sampled]


def test_votes_that_cannot_be_counted_leave_the_item_out_of_majority_at_k(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(answers: Sequence[str | None], match: Sequence[str]) -> int | None:
        raise MatchTimeout

    monkeypatch.setattr(judged, "majority", late)
    assert row(RIGHT, WRONG)["majority"] == {"answer": None, "flexible": None}
    monkeypatch.setattr(judged, "majority", majority)
    assert row(UNSCORED, UNSCORED)["majority"] == {"answer": None, "flexible": 0.0}, "nobody answered"


def test_pairs_are_of_the_items_that_all_have() -> None:
    mine, theirs = [row(RIGHT), row(UNSCORED), row(WRONG)], [row(RIGHT), row(RIGHT), row(UNSCORED)]
    assert paired([mine, theirs], "flexible") == [[1], [1]]


# --- report -------------------------------------------------------------------------------------


def with_unscored(checkpoints: list[Checkpoint], name: str, *numbers: int) -> list[Checkpoint]:
    def changed(each: Checkpoint) -> Checkpoint:
        rows = [row | (NULL if number in numbers else {}) for number, row in enumerate(each.rows)]  # type: ignore[operator]
        return replace(each, rows=rows) if each.name == name else each

    return [changed(each) for each in checkpoints]


def compared(checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    return comparison("unscored", Primary(), checkpoints)


def test_a_contrast_leaves_its_items_out_in_all_arms_and_says_how_many_are_compared() -> None:
    whole = study({"curriculum": [0.5, 0.6], "shuffled": [0.4, 0.3], "reversed": [0.2, 0.2]})
    found = compared(with_unscored(whole, "reversed-1-s1", 0, 1, 39))
    for each in found["contrasts"].values():
        assert (each["items"], each["left_out"]) == (37, 3)
        assert [pair["items"] for pair in each["pairs"]] == [37, 37]
        assert "37 items" in each["sentence"]
    # As if these items had never been asked.
    without = [replace(each, rows=[*each.rows[2:39]]) for each in whole]
    expected = compared(without)["contrasts"]
    for name, each in found["contrasts"].items():
        assert {**each, "left_out": 0} == expected[name]
    assert "3 answers are unscored" in "\n".join(words.limits(found))
    assert "37 of 40 items are compared" in "\n".join(words.limits(found))


def test_a_checkpoint_is_rated_by_the_items_that_are_scored(tmp_path: Path) -> None:
    checkpoints = with_unscored(study({"curriculum": [0.5], "shuffled": [0.4]}), "curriculum-1-s1", 0, 39)
    found = compared(checkpoints)
    (one,) = [each for each in found["checkpoints"] if each["name"] == "curriculum-1-s1"]
    assert (one["items"], one["scored"], one["right"], one["measures"]["flexible"]["items"]) == (40, 38, 19, 38)
    assert (one["right_by_item"][0], one["right_by_item"][39]) == (None, None)
    assert "19/38" in tables.aligned(tables.checkpoints(found))
    assert found["best"] == "Best final checkpoint: curriculum-1-s1, 19 of 38 right."
    assert "unscored" in figures.draw(found, tmp_path)["items.png"]
    html = page.write(found, checkpoints, {}, page.Places("", paths(checkpoints)), {}, 0)
    assert "(2 left out, unscored)" in html
    assert re.search(r'class="answer unscored"|class="unscored"', html) or "unscored" in html


def test_a_checkpoint_of_which_no_item_is_scored_has_no_rate(tmp_path: Path) -> None:
    checkpoints = with_unscored(study({"curriculum": [0.5], "shuffled": [0.4]}), "curriculum-1-s1", *range(40))
    found = compared(checkpoints)
    assert found["contrasts"] == {}
    assert found["verdict"].startswith("No claim about order")
    (line,) = [line for line in tables.checkpoints(found) if line[0] == "curriculum-1-s1"]
    assert line[1:5] == ["0/0", "–", "–", "–"]
    figures.draw(found, tmp_path)
    places = page.Places("", paths(checkpoints))
    assert "–" in markdown.write(found, {}, places, {})
    page.write(found, checkpoints, {}, places, {}, 0)


def paths(checkpoints: Sequence[Checkpoint]) -> dict[str, str]:
    return {run: f"#/runs/{run}" for each in checkpoints for run in (each.eval_run, each.train_run)}


# --- promotion, reproduction, export, a file scored again ---------------------------------------


def answers(text: str) -> list[dict[str, Any]]:
    return [{"flexible": None if each == "?" else float(each), "strict": 0.0} for each in text]


def test_the_gate_compares_the_items_that_both_have() -> None:
    asked = Promotion(margin=0.5)
    decision = decide(answers("1" * 60 + "?1"), answers("1" * 60 + "1?"), asked)
    same = decide(answers("1" * 60), answers("1" * 60), asked)
    assert (decision.holds, decision.difference, decision.low) == (same.holds, same.difference, same.low)
    assert "on 60 items (2 left out, unscored)" in decision.reason
    for theirs in (None, answers("1")):
        refused = decide(answers("?"), theirs, asked)
        assert not refused.holds
        assert refused.reason == "no item is scored by flexible, as comparisons took too long"


def test_a_reproduction_within_tolerance_may_time_out() -> None:
    rows = [row(RIGHT)] * 9 + [row(UNSCORED)]
    made = Made("eval", {}, metrics={"eval/flexible": 1.0}, rows=rows)
    assert compare([made], [made]).verdict == "bit-identical"
    again = replace(made, rows=[row(RIGHT)] * 10)
    assert compare([made], [again]).verdict == "within tolerance"


def test_an_export_says_how_many_are_scored() -> None:
    recorded, outputs = SimpleNamespace(metrics={}), SimpleNamespace(artifacts={"predictions.jsonl": {}})
    record: Any = SimpleNamespace(run_id="r", manifest=SimpleNamespace(recorded=recorded, outputs=outputs))
    one = {"name": "c", "items": 3, "scored": 0, "right": 0}
    assert _evaluated(one, record)["flexible_95"] is None
    assert _evaluated(one | {"scored": 2, "right": 1}, record)["flexible_95"] == [0.094531, 0.905469]


def test_a_file_scored_again_leaves_it_out_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(RIGHT) | {"item": f"x-{number}"} for number in range(3)]
    (tmp_path / "p.jsonl").write_bytes(predictions.encode(rows))
    verdicts = [RIGHT, UNSCORED, WRONG]
    for told in (verdicts, [UNSCORED] * 3):
        verdict = iter(told * 2).__next__
        monkeypatch.setattr(rescoring, "score", lambda *_, verdict=verdict, **__: verdict())
        said = CliRunner().invoke(main, ["score", str(tmp_path / "p.jsonl")])
        found = json.loads(CliRunner().invoke(main, ["score", str(tmp_path / "p.jsonl"), "--json"]).output)
        count = told.count(UNSCORED)
        assert f"{count} items are unscored" in said.output
        assert (found["unscored"], found["groups"][0]["items"]) == (count, 3 - count)
        assert found["groups"][0]["flexible"] == (0.5 if count < 3 else None)
        assert found["items"][1]["flexible"] is None


# --- verify -------------------------------------------------------------------------------------


def test_a_time_out_of_verify_itself_is_unchecked_and_breaks_nothing(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[str] = []

    def one_is_late(output: str, expected: str, **settings: Any) -> Score:
        if not late or late[0] == output:
            late.append(output)
            return UNSCORED
        return score(output, expected, **settings)

    monkeypatch.setattr(evaluate, "score", one_is_late)
    verdict = check(finished.run_id)
    assert late
    assert (verdict.word, verdict.breaks) == ("unchecked", [])
    assert {finding.where.rpartition(", ")[2] for _, finding in verdict.found} <= {*predictions.JUDGED}


def test_what_no_comparison_decides_is_checked_all_the_same() -> None:
    recorded = row(UNSCORED)
    for name, value in (("target", "5"), ("doc_hash", "0" * 64)):
        (finding,) = derivation._row(recorded | {name: value}, recorded)
        assert finding.checked
    (finding, *_) = derivation._row(recorded, row(RIGHT))
    assert not finding.checked
