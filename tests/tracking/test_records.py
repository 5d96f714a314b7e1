from pathlib import Path
from typing import Any

import pytest
from helpers.records import artifact, finished

from stagewise.errors import LineageError, TrackingError
from stagewise.hashing import sha256
from stagewise.record import manifest
from stagewise.tracking import lineage, records, runs
from stagewise.tracking.models import lost
from stagewise.tracking.store import connect, experiment
from stagewise.tracking.stored import Files


@pytest.fixture
def client(store: Any) -> Any:
    return connect()


@pytest.fixture
def study(client: Any) -> str:
    return experiment(client, "study")


def find(client: Any, study: str, kind: str = "split") -> str | None:
    found = records.find_finished(client, study, kind, sha256(kind.encode()), lambda record: not lost(record))
    return None if found is None else found.run_id


def status(client: Any, run_id: str) -> str:
    return str(client.get_run(run_id).info.status)


def test_a_sealed_run_is_read_again(client: Any, study: str, tmp_path: Path) -> None:
    record = records.read(client, finished(client, study, tmp_path / "out"), "split")
    assert record.artifact("file.txt") == b"content"
    assert record.manifest.schema_ == manifest.SCHEMA
    assert status(client, record.run_id) == "FINISHED"


def test_an_unknown_run_a_wrong_kind_and_an_unfinished_run_are_refused(client: Any, study: str, tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="no such run on this tracking server"):
        records.read(client, "0" * 32, "split")
    run_id = finished(client, study, tmp_path / "out")
    with pytest.raises(LineageError, match="found a run of kind split, expected train"):
        records.read(client, run_id, "train")
    with runs.open_run(client, study, "split", "at work") as run, pytest.raises(LineageError, match="that is RUNNING"):
        records.read(client, run.id, "split")


@pytest.mark.parametrize("path", ["file.txt", "manifest.json"])
def test_an_altered_file_is_found_when_it_is_read(client: Any, study: str, tmp_path: Path, path: str) -> None:
    run_id = finished(client, study, tmp_path / "out")
    altered = artifact(client, run_id, path)
    altered.write_bytes(altered.read_bytes() + b" ")
    with pytest.raises(LineageError, match=f"{path} was altered: found sha256"):
        records.read(client, run_id, "split").artifact("file.txt")


def test_a_finished_step_is_found_unless_it_lost_something(client: Any, study: str, tmp_path: Path) -> None:
    first, second, third = (finished(client, study, tmp_path / "out") for _ in range(3))
    assert find(client, study) == first
    artifact(client, first, "file.txt").unlink()
    assert find(client, study) == second
    artifact(client, second, "manifest.json").unlink()
    assert find(client, study) == third
    client.delete_run(third)
    assert find(client, study) is None
    assert records.find_deleted(client, study, sha256(b"split")) == third
    client.restore_run(third)
    assert find(client, study) == third
    assert find(client, study, "train") is None


def test_a_store_that_does_not_answer_is_not_taken_for_one_that_lost_the_file(
    client: Any, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a step of days would be done again for an expired key."""
    finished(client, study, tmp_path / "out")

    def refused(*_: Any) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Files, "read", refused)
    with pytest.raises(TrackingError, match=r"artifact manifest\.json cannot be fetched: .*Permission denied"):
        find(client, study)


def test_a_deleted_run_is_refused_with_what_restores_it(client: Any, study: str, tmp_path: Path) -> None:
    run_id = finished(client, study, tmp_path / "out")
    client.delete_run(run_id)
    line = f"^run {run_id} is deleted: mlflow runs restore --run-id {run_id}$"
    for read in (lambda: records.read(client, run_id, "split"), lambda: lineage.record_of(client, run_id)):
        with pytest.raises(LineageError, match=line):
            read()


def test_a_run_stands_on_all_that_it_was_made_from(client: Any, study: str, tmp_path: Path) -> None:
    source = finished(client, study, tmp_path / "out")
    parent = finished(client, study, tmp_path / "out", "train", split=source)
    record = lineage.record_of(client, finished(client, study, tmp_path / "out", "eval", split=source, train=parent))
    lineage.check_standing(record)
    client.delete_run(source)
    with pytest.raises(LineageError, match=f"run {source} is deleted: mlflow runs restore"):
        lineage.check_standing(record)
    client.restore_run(source)
    artifact(client, source, "file.txt").unlink()
    with pytest.raises(LineageError, match=f"run {source}: its artifact file.txt is gone from the artifact store"):
        lineage.check_standing(record)
