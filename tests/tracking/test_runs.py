import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.owners import ended

from stagewise.errors import DataError
from stagewise.tracking import runs
from stagewise.tracking.owners import OWNER, owner_tag
from stagewise.tracking.store import connect, experiment


@pytest.fixture
def client(store: Any) -> Any:
    return connect()


@pytest.fixture
def study(client: Any) -> str:
    return experiment(client, "study")


def status(client: Any, run_id: str) -> str:
    return str(client.get_run(run_id).info.status)


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
    line = "^rerun the same command to resume$"
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
