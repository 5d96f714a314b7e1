"""The record of a finished study, and what a second run of it does."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from conftest import TINY, Finished, merged
from helpers.processes import Process

from stagewise import pipeline
from stagewise.commands import verify
from stagewise.data.traces import parse_traces
from stagewise.errors import CodeError, ConfigError, DataError, ModelError, TrainingError
from stagewise.hashing import sha256
from stagewise.record import code
from stagewise.tracking.records import download, read
from stagewise.tracking.store import connect


def manifest(finished: Finished, run: Any) -> dict[str, Any]:
    return dict(json.loads(download(finished.client, run.info.run_id, "manifest.json")))


def test_a_study_leaves_one_run_a_step_nested_and_finished(finished: Finished) -> None:
    kinds = {kind: finished.runs(kind) for kind in ("pipeline", "split", "train", "eval", "report")}
    assert {kind: len(runs) for kind, runs in kinds.items()} == {
        "pipeline": 1,
        "split": 1,
        "train": 5,
        "eval": 5,
        "report": 1,
    }
    for run in (run for kind, runs in kinds.items() for run in runs):
        assert run.info.status == "FINISHED"
        if run.info.run_id != finished.run_id:
            assert run.data.tags["mlflow.parentRunId"] == finished.run_id
    assert [run.info.run_name for run in kinds["train"]] == [
        "b0 s1 train · base",
        "c1 s1 train · curriculum",
        "c2 s1 train · curriculum",
        "c3 s1 train · curriculum",
        "f1 s1 train · flat",
    ]


def test_the_manifest_of_every_run_names_its_artifacts_by_digest(finished: Finished) -> None:
    for kind in ("pipeline", "split", "train", "eval", "report"):
        for run in finished.runs(kind):
            record = read(finished.client, run.info.run_id, kind)
            artifacts = record.manifest.outputs.artifacts
            assert artifacts
            for path in artifacts:
                record.artifact(path)  # raises where a digest does not hold


def test_the_chain_of_manifests_closes(finished: Finished) -> None:
    (pipeline_run,) = finished.runs("pipeline")
    waiting, seen = [pipeline_run.info.run_id], set()
    while waiting:
        run_id = waiting.pop()
        seen.add(run_id)
        data = download(finished.client, run_id, "manifest.json")
        tags = finished.client.get_run(run_id).data.tags
        assert tags["stagewise.manifest_sha256"] == sha256(data)
        for reference in json.loads(data)["inputs"]["runs"].values():
            below = download(finished.client, reference["run_id"], "manifest.json")
            assert sha256(below) == reference["manifest_sha256"]
            waiting.append(reference["run_id"])
    assert len(seen) == 13


def test_arms_share_base_and_examples(finished: Finished) -> None:
    facts = {run.info.run_name[:2]: manifest(finished, run)["facts"] for run in finished.runs("train")}
    assert facts["c3"]["multiset_sha256"] == facts["f1"]["multiset_sha256"]
    assert facts["c3"]["counted_so_far"]["loss_tokens"] == facts["f1"]["counted_so_far"]["loss_tokens"]
    assert facts["c3"]["counted_so_far"]["optimizer_steps"] == facts["f1"]["counted_so_far"]["optimizer_steps"]
    assert facts["c1"]["order_sha256"] != facts["f1"]["order_sha256"]
    parents = {
        run.info.run_name[:2]: manifest(finished, run)["inputs"]["runs"].get("parent", {}).get("run_id")
        for run in finished.runs("train")
    }
    ids = {run.info.run_name[:2]: run.info.run_id for run in finished.runs("train")}
    assert parents == {"b0": None, "c1": ids["b0"], "c2": ids["c1"], "c3": ids["c2"], "f1": ids["b0"]}


def test_stage_datasets_are_inputs_with_their_whole_sha256(finished: Finished) -> None:
    (split,) = finished.runs("split")
    logged = {
        entry.dataset.name: {tag.key: tag.value for tag in entry.tags} | {"digest": entry.dataset.digest}
        for entry in split.inputs.dataset_inputs
    }
    for stage in ("a", "b", "c"):
        data = download(finished.client, split.info.run_id, f"stages/{stage}.jsonl")
        assert logged[stage]["sha256"] == sha256(data)
        assert logged[stage]["digest"] == sha256(data)[:36]
        assert logged[stage]["rows"] == str(len(parse_traces(data, stage).rows))
    assert set(logged) == {"source generated-1", "a", "b", "c", "eval"}


def test_metrics_are_linked_to_model_and_dataset(finished: Finished) -> None:
    evaluated = finished.runs("eval")[-1]
    (model,) = evaluated.inputs.model_inputs
    logged = finished.client.get_logged_model(model.model_id)
    flexible = {metric.key: metric for metric in logged.metrics}["eval/flexible"]
    assert flexible.run_id == evaluated.info.run_id
    assert flexible.value == evaluated.data.metrics["eval/flexible"]
    assert flexible.dataset_name == "eval"
    assert logged.params["parent_model"] == "base-0-s1"
    assert logged.name == "flat-1-s1"
    assert str(logged.status) == "READY"


def test_the_loss_curve_has_every_step(finished: Finished) -> None:
    for run in finished.runs("train")[1:]:
        steps = manifest(finished, run)["facts"]["counted"]["optimizer_steps"]
        history = finished.client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in history] == list(range(1, steps + 1))


def test_predictions_answer_every_item_once(finished: Finished) -> None:
    for run in finished.runs("eval"):
        lines = download(finished.client, run.info.run_id, "predictions.jsonl").decode().splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["doc_id"] for row in rows] == list(range(6))
        table = json.loads(download(finished.client, run.info.run_id, "eval_table.json"))
        assert len(table["data"]) == 6
        assert all(len(row) == len(table["columns"]) for row in table["data"])


def test_final_checkpoints_are_registered_under_aliases(finished: Finished) -> None:
    for alias in ("curriculum-s1", "flat-s1"):
        version = finished.client.get_model_version_by_alias("tiny", alias)
        assert version.tags["arm"] == alias.split("-")[0]
        assert len(version.tags["weights_sha256"]) == 64
    assert len(finished.client.search_model_versions("name = 'tiny'")) == 2


def test_the_report_is_on_the_pipelines_run(finished: Finished) -> None:
    text = download(finished.client, finished.run_id, "report/report.md").decode()
    assert "| curriculum-3-s1 |" in text
    comparison = json.loads(download(finished.client, finished.run_id, "report/comparison.json"))
    assert comparison["checkpoints"][0]["name"] == "base-0-s1"
    assert download(finished.client, finished.run_id, "report/accuracy.png").startswith(b"\x89PNG")
    # Two models that hardly learned anything are as good as each other, and neither is called the best.
    assert "Best final checkpoints, tied: curriculum-3-s1, flat-1-s1, 0 of 6 right." in text


def test_every_run_says_what_it_is(finished: Finished) -> None:
    for kind in ("pipeline", "split", "train", "eval", "report"):
        for run in finished.runs(kind):
            assert run.data.tags["mlflow.note.content"].strip()
            assert run.data.tags["stagewise.dirty"] == str(manifest(finished, run)["code"]["dirty"]).lower()
            assert run.data.tags["stagewise.commit"] == (manifest(finished, run)["code"]["commit"] or "unknown")
            names = {entry.path for entry in finished.client.list_artifacts(run.info.run_id, "config")}
            assert names == {"config/asked.yaml", "config/resolved.json"}


def test_a_second_run_reuses_every_step_and_a_change_repeats_what_it_reaches(
    store: Any, write_config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"arms": ["curriculum"], "split": {"stages": TINY["split"]["stages"]}}
    pipeline.run(write_config(**small))
    capsys.readouterr()
    pipeline.run(write_config(**small))
    output = capsys.readouterr().out
    assert "10 of 10 steps reused" in output
    assert "▸ c1" not in output
    assert len(connect().search_model_versions("name = 'tiny'")) == 1
    # Longer answers concern evaluation alone; checkpoints stay.
    pipeline.run(write_config(**small, evaluation={"max_new_tokens": 9}))
    output = capsys.readouterr().out
    assert "5 of 10 steps reused" in output
    assert "▸ c1 s1 eval" in output
    # A stage's epochs concern the phases from that stage on.
    stages = [stage | ({"epochs": 3} if stage["name"] == "c" else {}) for stage in TINY["split"]["stages"]]
    pipeline.run(write_config(arms=["curriculum"], split={"stages": stages}))
    output = capsys.readouterr().out
    reused = {line.split(":")[0][2:] for line in output.splitlines() if line.startswith("= ")}
    for name in ("split", "b0 s1 train · base", "c1 s1 train · curriculum", "c2 s1 train · curriculum"):
        assert name in reused
    assert "▸ c3 s1 train" in output
    # How often a phase saves itself is nobody's business but the disk's.
    pipeline.run(write_config(arms=["curriculum"], split={"stages": stages}, training={"save_steps": 1}))
    assert "10 of 10 steps reused" in capsys.readouterr().out


def test_phases_and_evaluations_of_one_process_may_differ_in_precision(store: Any, write_config: Any) -> None:
    pipeline.run(write_config(arms=["flat"], training={"precision": "bfloat16"}))
    assert set(statuses(connect())) == {"FINISHED"}


def test_a_step_whose_model_was_lost_is_done_again_once(
    store: Any, write_config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(arms=["flat"])
    pipeline.run(config)
    for weights in store.folder.joinpath("mlruns").rglob("model.safetensors"):
        weights.unlink()
    capsys.readouterr()
    pipeline.run(config)
    assert "▸ f1 s1 train" in capsys.readouterr().out
    pipeline.run(config)
    assert "6 of 6 steps reused" in capsys.readouterr().out


def test_a_new_store_takes_no_notice_of_what_an_old_one_left_in_the_work_folder(
    store: Any, write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagewise.curriculum import stages as core

    def fails(*arguments: Any) -> Any:
        raise RuntimeError("killed")

    config = write_config(arms=["flat"])
    with monkeypatch.context() as patch:
        patch.setattr(core, "assign", fails)
        with pytest.raises(RuntimeError, match="killed"):
            pipeline.run(config)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    pipeline.run(config)


def statuses(client: Any) -> list[str]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(run.info.status for run in client.search_runs(experiments))


@pytest.mark.parametrize(
    ("error", "expected", "changes"),
    [
        (DataError, "No such file", {"data": {"train": {"path": "none.jsonl"}}}),
        (DataError, "empty file", {"data": {"train": {"path": "empty.jsonl"}}}),
        (
            DataError,
            "gets no trace",
            {"split": {"stages": [*TINY["split"]["stages"], {"name": "d", "rules": [{"category": ["poetry"]}]}]}},
        ),
        (ModelError, "no such folder", {"model": {"path": "nowhere"}}),
        (ModelError, "no weights here", {"model": {"path": "hollow"}}),
    ],
)
def test_a_mistake_fails_the_run_and_leaves_none_running(
    store: Any, tmp_path: Path, error: type[Exception], expected: str, changes: dict[str, Any]
) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "config.json").write_text("{}")
    value = merged(TINY, {key: section for key, section in changes.items() if key == "split"})
    if "data" in changes:
        value["data"] = {**TINY["data"], **changes["data"]}
    if "model" in changes:
        value["model"] = changes["model"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(value))
    with pytest.raises(error) as caught:
        pipeline.run(path)
    assert expected in str(caught.value)
    found = statuses(connect())
    assert "RUNNING" not in found
    assert "FAILED" in found


def test_a_phase_over_several_machines_is_left_to_its_own_command(store: Any, write_config: Any) -> None:
    config = write_config(arms=["flat"], training={"processes": 2, "machines": 2, "rendezvous": "localhost:1"})
    line = r"training\.machines: found 2, .* give `stagewise train --config \S+ --split-run \w+ --arm flat --phase 1 "
    line += r"--seed 1 --init-run \w+ --experiment-name mine` on each of them"
    with pytest.raises(ConfigError, match=line) as caught:
        pipeline.run(config, experiment_name="mine")
    assert "\n" not in str(caught.value)
    assert statuses(connect()) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]  # split, base and its eval are made


def below(client: Any, parent: str) -> list[Any]:
    experiment_id = client.get_run(parent).info.experiment_id
    return list(client.search_runs([experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"))


def test_inside_a_run_of_the_callers_the_study_is_nested_there(store: Any, write_config: Any) -> None:
    config, client = write_config(arms=["flat"]), connect()
    mlflow.set_experiment("mine")
    try:
        with mlflow.start_run(run_name="all of it") as outer:
            mlflow.log_param("config", "mine")
            run_id = pipeline.run(config)
            assert mlflow.active_run().info.run_id == outer.info.run_id  # type: ignore[union-attr]
            found = client.get_run(outer.info.run_id)
            assert (found.info.status, found.info.run_name) == ("RUNNING", "all of it")
            assert found.data.params == {"config": "mine"}
            assert not [tag for tag in found.data.tags if tag.startswith("stagewise.")]
    finally:
        mlflow.tracking.fluent._active_experiment_id = None
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    assert client.get_experiment(outer.info.experiment_id).name == "mine"
    assert [run.info.run_id for run in below(client, outer.info.run_id)] == [run_id]
    assert len(below(client, run_id)) == 6
    assert verify.check(run_id).whole


def test_in_another_thread_a_study_is_done_and_a_failed_one_is_closed(store: Any, write_config: Any) -> None:
    """Python allows signal handlers in the main thread alone."""
    with ThreadPoolExecutor(1) as pool:
        assert verify.check(pool.submit(pipeline.run, write_config(arms=["flat"])).result()).whole
        with pytest.raises(TrainingError, match="longer than"):
            pool.submit(pipeline.run, write_config(arms=["flat"], training={"max_length": 8})).result()
    assert statuses(connect()) == ["FAILED"] * 2 + ["FINISHED"] * 7


def test_two_studies_of_one_name_are_told_so_at_the_start(
    store: Any, write_config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(arms=["flat"])
    pipeline.run(config, experiment_name="one")
    pipeline.run(config, experiment_name="one")
    assert "!" not in capsys.readouterr().out.replace("! code.", "")
    pipeline.run(config, experiment_name="two")
    said = capsys.readouterr().out
    line = "! experiment one has a study tiny too: both register models as models:/tiny"
    assert said.index(line) < said.index("split")
    assert "! alias models:/tiny@flat-s1 moved from version 1 (experiment one) to 2" in said


def study(config: Path) -> None:
    pipeline.run(config)


def test_two_studies_at_once_on_a_fresh_store_both_finish(
    tmp_path: Path, write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("STAGEWISE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    config = write_config(arms=["flat"])
    with Process(study, config) as one, Process(study, config) as other:
        outputs = [process.wait() for process in (one, other)]
    assert [one.code, other.code] == [0, 0], "\n---\n".join(outputs)
    # Each step was done by one of them, and the other took what it made.
    done = [line.split(":")[0] for output in outputs for line in output.splitlines() if line.startswith("✓ f1")]
    assert sorted(done) == ["✓ f1 s1 eval · flat", "✓ f1 s1 train · flat"]


def test_require_clean_refuses_changed_code_before_any_run(
    store: Any, write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "PACKAGE", tmp_path)  # no repository
    with pytest.raises(CodeError, match="require_clean"):
        pipeline.run(write_config(require_clean=True))
    assert statuses(connect()) == []
