"""The readable account: all that the original's hand-written one had, and every statement true of the record."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, Finished

from stagewise.export import Study, provenance
from stagewise.hashing import folder_digests, sha256
from stagewise.tracking.models import fetch_checkpoint
from stagewise.tracking.records import download, read

SECTIONS = [
    *("hypothesis", "baseline", "source_dataset", "partitioning", "stages", "training", "hyperparameters"),
    *("evaluation", "artifacts", "hardware", "reproducibility"),
]


@pytest.fixture(scope="module")
def told(study: Study) -> dict[str, Any]:
    return provenance.document(study)


def test_it_has_every_section(told: dict[str, Any]) -> None:
    assert [section for section in told if section in SECTIONS] == SECTIONS
    assert all(told[section] for section in SECTIONS)


def test_it_is_the_same_however_often_it_is_written(study: Study, tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (path,) = provenance.write(study, tmp_path / name)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert written[0].count(b"\n") > 100  # for people


def test_every_file_that_it_names_has_the_digest_and_size(
    told: dict[str, Any], finished: Finished, tmp_path: Path
) -> None:
    assert len(told["artifacts"]) == 13
    for name, entry in told["artifacts"].items():
        for path, expected in entry["files"].items():
            data = download(finished.client, entry["run_id"], path)
            assert {"sha256": sha256(data), "size": len(data)} == expected
        if name.startswith("train"):
            record = read(finished.client, entry["run_id"], "train")
            folder = fetch_checkpoint(None, record, tmp_path / name).parent
            assert folder_digests(folder) == entry["model"]["files"]


def test_each_phase_says_what_it_started_from_and_what_came_out(told: dict[str, Any], study: Study) -> None:
    phases = {each["checkpoint"]: each for each in told["training"]}
    assert {name: each["init_from"] for name, each in phases.items()} == {
        "base-0-s1": None,
        "curriculum-1-s1": "base-0-s1",
        "curriculum-2-s1": "curriculum-1-s1",
        "curriculum-3-s1": "curriculum-2-s1",
        "flat-1-s1": "base-0-s1",
    }
    second = phases["curriculum-2-s1"]
    (stage,) = [each for each in told["stages"] if each["stage"] == "b"]
    assert second["datasets"] == {"b": stage["sha256"]}
    assert stage["epochs"] == 2
    assert second["examples"] == 2 * stage["traces"] > 0
    record = study.steps["train curriculum-2-s1"]
    assert second["loss_last"] == json.loads(record.artifact("curve.json"))[-1]["loss"]
    assert second["weights_sha256"] == record.model.weights_sha256


def test_baseline_hypothesis_and_evaluation_are_the_reports(told: dict[str, Any], study: Study) -> None:
    comparison = json.loads(study.steps["report"].artifact("comparison.json"))
    assert told["hypothesis"]["verdict"] == comparison["verdict"]
    assert told["hypothesis"]["primary"] == {"arm": "curriculum", "against": "shuffled", "measure": "flexible"}
    (base,) = told["baseline"]["base_models"]
    assert base["checkpoint"] == "base-0-s1"
    assert list(told["baseline"]["arms"]) == ["flat"]
    assert told["baseline"]["arms"]["flat"]["final_checkpoints"] == ["flat-1-s1"]
    found = {each["checkpoint"]: each for each in told["evaluation"]["checkpoints"]}
    assert list(found) == [each["name"] for each in comparison["checkpoints"]]
    for name, each in found.items():
        lines = study.steps[f"eval {name}"].artifact("predictions.jsonl").decode().splitlines()
        right = sum(bool(json.loads(line)["flexible"]) for line in lines)
        assert (each["right"], each["items"]) == (right, len(lines))
        low, high = each["flexible_95"]
        assert low <= each["metrics"]["eval/flexible"] == right / len(lines) <= high


def test_it_says_how_to_check_it_and_where_it_was_made(told: dict[str, Any], finished: Finished) -> None:
    how, digest = told["reproducibility"], finished.client.get_run(finished.run_id).data.tags
    expect = digest["stagewise.manifest_sha256"]
    assert told["manifest_sha256"] == how["manifests"]["pipeline"] == expect
    assert how["verify"] == f"stagewise verify --run-id {finished.run_id} --expect {expect}"
    assert how["reproduce"] == f"stagewise reproduce --run-id {finished.run_id}"
    assert how["seeds"] == TINY["seeds"]
    assert how["config"] == finished.config.read_text()
    assert "torch" in how["software"][0]["packages"]
    runs = [name for each in told["hardware"] for name in each["runs"]]
    assert sorted(runs) == sorted(told["artifacts"])
    assert told["hardware"][0]["determinism"]["deterministic_algorithms"] is True
