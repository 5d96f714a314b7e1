"""The eval step: killed and gone on with, sampled, and with nothing left of one checkpoint when the next is asked."""

import gc
import json
import os
import signal
import weakref
from pathlib import Path
from typing import Any

import pytest
from conftest import Finished, Store
from helpers.answered import SHARED
from helpers.processes import Process

from stagewise import pipeline
from stagewise.config import Evaluation
from stagewise.data.traces import parse_items
from stagewise.evaluation import generation, judged, predictions
from stagewise.evaluation.generation import Answer, Prompt
from stagewise.evaluation.scoring import score
from stagewise.model import loading
from stagewise.tracking.records import download, read
from stagewise.tracking.store import connect


def killed_after_four_batches(config: Path) -> None:
    keep, kept = generation._keep, []

    def keep_and_die(path: Any, batch: list[int], answers: list[Answer]) -> None:
        keep(path, batch, answers)
        kept.append(batch)
        if len(kept) == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    generation._keep = keep_and_die
    pipeline.run(config)


SAMPLED = {"samples_per_item": 3, "temperature": 1.0, "batch_size": 2}


def outputs(study: Finished) -> dict[str, bytes]:
    return {
        run.info.run_name: download(study.client, run.info.run_id, "predictions.jsonl")
        for run in study.runs("eval")
        if run.info.status == "FINISHED"
    }


def test_a_killed_evaluation_goes_on_to_the_same_file(
    store: Store,
    tmp_path: Path,
    write_config: Any,
    fresh_database: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = write_config(arms=["flat"], evaluation=SAMPLED)
    with Process(killed_after_four_batches, config) as process:
        process.wait()
    assert process.code == -signal.SIGKILL
    asked: list[str] = []
    real = pipeline_engine(asked, monkeypatch)
    broken = Finished(store, config, pipeline.run(config), connect())
    # 18 answers of the base in batches of 2: 4 were kept; then 18 of the flat arm.
    assert len(asked) == 18 - 8 + 18
    (base, _) = [run for run in broken.runs("eval") if run.info.status == "FINISHED"]
    assert read(broken.client, base.info.run_id, "eval").manifest.facts["resumed_at_answer"] == 8
    (dead,) = [run for run in broken.runs("eval") if run.info.status == "KILLED"]
    assert base.data.tags["stagewise.resumed_from"] == dead.info.run_id

    (tmp_path / "whole").mkdir()
    whole_store = Store(tmp_path / "whole")
    (whole_store.folder / "mlflow.db").write_bytes(fresh_database)
    for name, value in whole_store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("stagewise.steps.evaluate.Decoder", real)
    whole = Finished(whole_store, config, pipeline.run(config), connect())
    assert outputs(broken) == outputs(whole)


def pipeline_engine(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the step note what its engine is asked; returns the engine as it was."""
    from stagewise.steps import evaluate

    real = evaluate.Decoder  # type: ignore[attr-defined]

    class Noting(real):  # type: ignore[misc, valid-type]
        def __call__(self, prompts: Any) -> list[Answer]:
            asked.extend(prompt.item for prompt in prompts)
            return super().__call__(prompts)  # type: ignore[no-any-return]

    monkeypatch.setattr(evaluate, "Decoder", Noting)
    return real


def test_samples_are_recorded_and_counted_and_each_model_is_freed(
    store: Store, write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, alive = [], []  # type: ignore[var-annotated]
    load = loading.load

    def noted(*arguments: Any) -> loading.Loaded:
        gc.collect()
        alive.append(sum(model() is not None for model in models))
        made = load(*arguments)
        models.append(weakref.ref(made.model))
        return made

    monkeypatch.setattr(loading, "load", noted)
    config = write_config(arms=["flat"], evaluation=SAMPLED)
    study = Finished(store, config, pipeline.run(config), connect())
    assert len(models) == 3  # evaluated, trained on, evaluated
    assert set(alive) == {0}
    for run in study.runs("eval"):
        rows = predictions.decode(download(study.client, run.info.run_id, "predictions.jsonl"))
        assert [row["doc_id"] for row in rows] == list(range(6))
        assert all(len(row["resps"][0]) == len(row["samples"]) == 3 for row in rows)
        assert any(len(set(row["resps"][0])) > 1 for row in rows)
        assert all(row["weights"] == "verified" for row in rows)
        named = {name for name in run.data.metrics if "_at_" in name}
        assert named == {"eval/pass_at_1", "eval/pass_at_2", "eval/pass_at_3", "eval/majority_at_3"}


def test_pass_at_k_and_majority_of_one_item() -> None:
    line = json.dumps({"id": "x", "prompt": "2+2?", "expected_answer": "4"}).encode()
    (item,) = parse_items(line, "eval").rows
    given = [Answer(text, 2, "stop") for text in ("5", "4", "4", "6")]
    settings = Evaluation(samples_per_item=4, temperature=0.7, top_p=0.9)
    scores = [score(answer.text, "4") for answer in given]
    row = judged.row(
        item, Prompt("x", "2+2?\n", [1, 2], 0), given, scores, settings, SHARED, judged.rubric_of(settings)
    )
    assert row["flexible"] == 0.0  # the first sample's
    assert row["pass_at"] == {"1": 0.5, "2": pytest.approx(5 / 6), "4": 1.0}
    assert row["majority"] == {"answer": "4", "flexible": 1.0}
    assert row["arguments"]["gen_args_0"]["arg_1"]["do_sample"] is True
    assert json.loads(predictions.encode([row])) == row
    numbers = predictions.metrics([row])
    assert (numbers["eval/pass_at_2"], numbers["eval/majority_at_4"]) == (0.833333, 1.0)
