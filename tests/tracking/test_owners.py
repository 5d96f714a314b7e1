import json
import platform
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from stagewise.tracking import owners
from stagewise.tracking.store import connect, experiment


def owner(process: psutil.Process, host: str = platform.node()) -> str:
    return json.dumps({"host": host, "pid": process.pid, "started": process.create_time()})


def sleeper() -> tuple[Any, str]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return process, owner(psutil.Process(process.pid))


def ended() -> str:
    process, tag = sleeper()
    process.kill()
    process.wait()
    return tag


def test_a_live_owner_is_not_gone_and_a_dead_one_is() -> None:
    process, tag = sleeper()
    assert not owners.is_gone(tag)
    process.kill()
    process.wait()
    assert owners.is_gone(tag)


def test_a_process_that_got_the_same_id_is_another() -> None:
    tag = json.loads(owners.owner_tag())
    assert not owners.is_gone(json.dumps(tag))
    assert owners.is_gone(json.dumps(tag | {"started": tag["started"] - 100}))


def test_of_another_machines_process_nothing_is_said() -> None:
    tag = json.loads(ended())
    assert not owners.is_gone(json.dumps(tag | {"host": "elsewhere"}))


def status(client: MlflowClient, run: Any) -> str:
    return str(client.get_run(run.info.run_id).info.status)


def test_only_runs_whose_owner_is_gone_are_closed(store: Any) -> None:
    client = connect()
    study = experiment(client, "study")
    process, alive = sleeper()
    dead_run = client.create_run(study, tags={owners.OWNER: ended()})
    live_run = client.create_run(study, tags={owners.OWNER: alive})
    # Somebody else's run, of which we know nothing, however old it is.
    foreign = client.create_run(study, start_time=0)
    assert owners.close_abandoned(client) == [dead_run.info.run_id]
    assert [status(client, run) for run in (dead_run, live_run, foreign)] == ["KILLED", "RUNNING", "RUNNING"]
    process.kill()
    process.wait()


def launched(client: MlflowClient, study: str) -> Any:
    run = client.create_run(study, tags={"mlflow.project.entryPoint": "main"})
    client.log_param(run.info.run_id, "config", "configs/quickstart.yaml")
    return run


class Launcher:
    """What the process table says of a launcher; a real one may be at work beside this test."""

    pid = -1

    def __init__(self, started: float) -> None:
        self.started = started

    def cmdline(self) -> list[str]:
        return ["python", "/bin/mlflow", "run", "."]

    def create_time(self) -> float:
        return self.started


def test_a_run_that_a_launcher_left_is_closed_once_no_launcher_is_left(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    study = experiment(client, "study")
    processes = [Launcher(time.time() - 1)]
    monkeypatch.setattr(owners.psutil, "process_iter", lambda: processes)
    run = launched(client, study)
    assert owners.close_abandoned(client) == []
    processes[:] = [Launcher(time.time() + 60)]  # one that began later made another run
    assert owners.close_abandoned(client) == [run.info.run_id]
    assert status(client, run) == "KILLED"
