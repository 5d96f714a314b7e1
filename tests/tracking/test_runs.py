import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.owners import ended
from helpers.records import artifact, finished

from stagewise.errors import DataError, LineageError, TrackingError
from stagewise.hashing import sha256
from stagewise.record import manifest
from stagewise.tracking import lineage, runs
from stagewise.tracking.models import lost
from stagewise.tracking.owners import OWNER, owner_tag
from stagewise.tracking.store import connect, experiment
from stagewise.tracking.stored import Files


@pytest.fixture
def client(store: Any) -> Any:
    return connect()


@pytest.fixture
def study(client: Any) -> str:
    return experiment(client, "study")


def find(client: Any, study: str, kind: str = "split") -> str | None:
    found = runs.find_finished(client, study, kind, sha256(kind.encode()), lambda record: not lost(record))
    return found and found.run_id  # type: ignore[return-value]


def status(client: Any, run_id: str) -> str:
    return str(client.get_run(run_id).info.status)


def test_a_sealed_run_is_read_again(client: Any, study: str, tmp_path: Path) -> None:
    record = runs.read(client, finished(client, study, tmp_path / "out"), "split")
    assert record.artifact("file.txt") == b"content"
    assert record.manifest.schema_ == manifest.SCHEMA
    assert status(client, record.run_id) == "FINISHED"


def test_an_unknown_run_a_wrong_kind_and_an_unfinished_run_are_refused(client: Any, study: str, tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="no such run on this tracking server"):
        runs.read(client, "0" * 32, "split")
    run_id = finished(client, study, tmp_path / "out")
    with pytest.raises(LineageError, match="found a run of kind split, expected train"):
        runs.read(client, run_id, "train")
    with runs.open_run(client, study, "split", "at work") as run, pytest.raises(LineageError, match="that is RUNNING"):
        runs.read(client, run.id, "split")


@pytest.mark.parametrize("path", ["file.txt", "manifest.json"])
def test_an_altered_file_is_found_when_it_is_read(client: Any, study: str, tmp_path: Path, path: str) -> None:
    run_id = finished(client, study, tmp_path / "out")
    altered = artifact(client, run_id, path)
    altered.write_bytes(altered.read_bytes() + b" ")
    with pytest.raises(LineageError, match=f"{path} was altered: found sha256"):
        runs.read(client, run_id, "split").artifact("file.txt")


def test_a_finished_step_is_found_unless_it_lost_something(client: Any, study: str, tmp_path: Path) -> None:
    first, second, third = (finished(client, study, tmp_path / "out") for _ in range(3))
    assert find(client, study) == first
    artifact(client, first, "file.txt").unlink()
    assert find(client, study) == second
    artifact(client, second, "manifest.json").unlink()
    assert find(client, study) == third
    client.delete_run(third)
    assert find(client, study) is None
    assert runs.find_deleted(client, study, sha256(b"split")) == third
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
    for read in (lambda: runs.read(client, run_id, "split"), lambda: lineage.record_of(client, run_id)):
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


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(DataError("bad"), "FAILED"), (ValueError("ours"), "FAILED"), (KeyboardInterrupt(), "KILLED")],
)
def test_a_body_that_raises_does_not_leave_a_run_running(
    client: Any, study: str, raised: BaseException, expected: str
) -> None:
    with pytest.raises(type(raised)), runs.open_run(client, study, "split", "a run") as run:
        raise raised
    assert status(client, run.id) == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_the_run_and_says_how_to_go_on(client: Any, study: str, number: int) -> None:
    line = "^the same command goes on from what was saved$"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started in the background ignores it
    with pytest.raises(KeyboardInterrupt, match=line), runs.open_run(client, study, "split", "a run") as run:
        os.kill(os.getpid(), number)
    assert status(client, run.id) == "KILLED"


def test_a_run_in_another_thread_is_closed_as_well(client: Any, study: str) -> None:
    """Python allows no signal handler there."""

    def work(error: Exception | None) -> str:
        with suppress(ValueError), runs.open_run(client, study, "split", "a run") as run:
            if error:
                raise error
        return run.id

    with ThreadPoolExecutor(1) as pool:
        ended, failed = (pool.submit(work, error).result() for error in (None, ValueError("ours")))
    assert (status(client, ended), status(client, failed)) == ("FINISHED", "FAILED")


def test_params_are_dotted_and_over_long_values_are_named_by_digest(client: Any, study: str) -> None:
    with runs.open_run(client, study, "split", "a run") as run:
        run.params({"data": {"path": "x", "list": [1, "é"]}, "long": "y" * 6001, "none": None, "empty": {}})
    params = client.get_run(run.id).data.params
    assert params["data.path"] == "x"
    assert params["data.list"] == '[1,"é"]'
    assert params["none"] == "null"
    assert params["empty"] == "{}"
    assert params["long"].startswith("sha256:")
    assert len(params["long"]) == 71


def test_a_folder_left_by_a_killed_run_closes_it_and_keeps_what_it_saved(
    client: Any, study: str, tmp_path: Path
) -> None:
    earlier = left_by(client, study, ended(), tmp_path / "work")
    (tmp_path / "work" / "checkpoints").mkdir(parents=True)
    (tmp_path / "work" / "out").mkdir()
    (tmp_path / "work" / "out" / "half").touch()
    with runs.open_run(client, study, "train", "again") as run:
        with runs.work_folder(tmp_path / "work", run) as (work, found):
            assert found == earlier
            assert sorted(path.name for path in work.iterdir()) == ["checkpoints", "out", "run"]
            assert list((work / "out").iterdir()) == []
        assert not (tmp_path / "work").exists()
    assert status(client, earlier) == "KILLED"


def left_by(client: Any, study: str, owner: str, work: Path) -> str:
    """A run that is RUNNING in the record, and the folder that it worked in."""
    run_id = str(client.create_run(study, tags={OWNER: owner} if owner else {}).info.run_id)
    work.mkdir()
    (work / "run").write_text(run_id)
    return run_id


@pytest.mark.parametrize(
    "owner", [json.dumps(json.loads(owner_tag()) | {"host": "elsewhere"}), ""], ids=["elsewhere", "nobody"]
)
def test_a_folder_left_by_a_process_that_nobody_here_can_see_leaves_its_run_and_says_so(
    client: Any, study: str, tmp_path: Path, owner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = left_by(client, study, owner, tmp_path / "work")
    with runs.open_run(client, study, "train", "again") as run, runs.work_folder(tmp_path / "work", run) as (_, found):
        assert found == earlier
    assert status(client, earlier) == "RUNNING"
    assert f"if it is: mlflow runs delete --run-id {earlier}" in capsys.readouterr().out
