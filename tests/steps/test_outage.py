"""Commands whose tracking server goes away, hangs or refuses: one line, in time, and the same command goes on."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from helpers.proxy import DROP, HANG, Proxy
from helpers.studies import base, experiment_id

from stagewise import errors
from stagewise.cli import main
from stagewise.hashing import sha256
from stagewise.steps import common
from stagewise.tracking import calls, journal
from stagewise.tracking.records import read
from stagewise.tracking.store import connect

# Long enough for an outage, and without a save of its own before the end.
LONG = {
    "data": {"train": {"generate": {"seed": 1, "count": 200}}},
    "training": {"batch_size": 1, "save_steps": 100000},
    "split": {"stages": [{"name": "all", "rules": [{"steps": {"min": 0}}], "epochs": 2}]},
    "arms": ["flat"],
}
SOON = 30  # seconds, on a machine with much else to do; alone it took 5 at most, and MLflow by itself took minutes
METRICS = "/runs/log-batch"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.05)


class Gone:
    """A server that is gone from some request on, and for which nobody waits longer than a second."""

    def __init__(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proxy, self.monkeypatch = proxy, monkeypatch

    def at(self, method: str, ending: str, count: int = 1) -> None:
        """From the request of this kind on that has this number."""
        seen: list[str] = []

        def rule(asked: str, path: str) -> str | None:
            seen.extend([path] if asked == method and path.endswith(ending) else [])
            if len(seen) < count:
                return None
            self.monkeypatch.setenv(calls.PATIENCE, "1")
            return DROP

        self.proxy.rule = rule

    def back(self) -> None:
        self.monkeypatch.delenv(calls.PATIENCE)
        self.proxy.rule = lambda method, path: None


@pytest.fixture
def gone(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Gone:
    return Gone(proxy, monkeypatch)


@pytest.fixture
def study(proxy: Proxy, write_config: Any, request: Any) -> Any:
    """A study whose split and base are made: its config, and the command of its one phase."""
    config = write_config(study=f"outage-{sha256(request.node.name.encode())[:12]}", **LONG)
    stages, parent = base(config)
    which = ("--split-run", stages.run_id, "--init-run", parent.run_id, "--arm", "flat", "--phase", "1", "--seed", "1")
    return config, ("train", "--config", str(config), *which)


def command(*arguments: str) -> Result:
    calls.forget()
    return CliRunner().invoke(main, arguments)


def while_training(proxy: Proxy, rule: Callable[[str, str], str | int | None]) -> None:
    """The rule holds from the first points of the training on."""
    batches: list[str] = []

    def late(method: str, path: str) -> str | int | None:
        batches.extend([path] if path.endswith(METRICS) else [])
        return rule(method, path) if len(batches) >= 8 else None

    proxy.rule = late


def phases(config: Path) -> list[Any]:
    """The runs of the phase, the oldest first."""
    session = common.open_session(config)
    found = session.client.search_runs([session.experiment_id], order_by=["attributes.start_time ASC"])
    return [run for run in found if run.data.tags.get("stagewise.arm") == "flat"]


def one_line(said: str, kind: str) -> str:
    """The line that ended it, which is the only one of its kind."""
    assert "Traceback" not in said
    found = [line for line in said.splitlines() if re.match(r"\w+Error: ", line)]
    assert len(found) == 1, said
    assert found[0].startswith(f"{kind}: ")
    return found[0]


def test_a_server_gone_for_good_ends_the_phase_saved_and_the_same_command_goes_on(study: Any, gone: Gone) -> None:
    config, arguments = study
    gone.at("POST", METRICS, 8)  # a step's own points are the first ones after its tags and params
    began = time.monotonic()
    ended = command(*arguments)
    assert ended.exit_code == errors.FAILED, ended.output
    assert time.monotonic() - began < SOON
    line = r"! the tracking server .* does not answer since \S+ .*, trying again until \S+ \(training goes on\)"
    assert len(re.findall(line, ended.output)) == 1
    assert "has not answered since" in one_line(ended.output, "TrackingError")

    gone.back()
    again = command(*arguments)
    assert again.exit_code == 0, again.output
    (step,) = re.findall(r"resumed at step ([\d,]+)", again.output)
    left, made = phases(config)
    assert (left.info.status, made.info.status) == ("KILLED", "FINISHED")
    assert made.data.tags["stagewise.resumed_from"] == left.info.run_id
    record = read(connect(), made.info.run_id, "train")
    assert record.manifest.facts["resumed_at_step"] == int(step.replace(",", "")) > 1
    points = connect().get_metric_history(record.run_id, "train/loss")
    assert [point.step for point in points] == list(range(1, 401))


@pytest.mark.parametrize(
    ("method", "ending"),
    [("PUT", "/artifacts/order.npy"), pytest.param("POST", "/logged-models", marks=pytest.mark.slow)],
)
def test_what_was_trained_to_its_end_is_not_trained_again(method: str, ending: str, study: Any, gone: Gone) -> None:
    """The server goes away while the phase is recorded."""
    config, arguments = study
    gone.at(method, ending)
    ended = command(*arguments)
    assert ended.exit_code == errors.FAILED, ended.output
    one_line(ended.output, "TrackingError")
    gone.back()
    again = command(*arguments)
    assert again.exit_code == 0, again.output
    assert "resumed at step 400" in again.output
    assert [run.info.status for run in phases(config)] == ["KILLED", "FINISHED"]


@pytest.mark.parametrize(
    ("status", "ending", "said", "left"),
    [
        (401, "", "refuses the credentials .* set MLFLOW_TRACKING_USERNAME", "KILLED"),
        (403, "/logged-models", "no permission to create logged model", "FAILED"),
    ],
)
def test_a_refusal_ends_it_in_one_line_with_what_to_do(
    status: int, ending: str, said: str, left: str, study: Any, proxy: Proxy
) -> None:
    """Credentials that expire while it trains, and a permission that is missing."""
    config, arguments = study
    while_training(proxy, lambda method, path: status if path.endswith(ending) else None)
    ended = command(*arguments)
    assert ended.exit_code == 2, ended.output
    assert re.search(said, one_line(ended.output, "AccessError"))
    proxy.rule = lambda method, path: None
    again = command(*arguments)
    assert again.exit_code == 0, again.output
    assert "resumed at step" in again.output
    assert [run.info.status for run in phases(config)] == [left, "FINISHED"]


def test_a_registered_model_of_somebody_else_is_told_of_at_the_start(proxy: Proxy, write_config: Any) -> None:
    config = write_config(study="somebodys")
    proxy.rule = lambda method, path: 403 if path.endswith("/registered-models/set-tag") else None
    ended = command("main", "--config", str(config))
    assert ended.exit_code == 2
    line = one_line(ended.output, "AccessError")
    assert line.startswith("AccessError: registered model 'somebodys': is somebody else's")
    assert "rename the study" in line
    client = connect()
    experiment = client.get_experiment_by_name("somebodys")
    assert client.search_runs([experiment.experiment_id]) == []  # type: ignore[union-attr]


def test_a_study_ends_in_one_line_whatever_it_cannot_close(proxy: Proxy, gone: Gone, write_config: Any) -> None:
    config = write_config(study="left-over", training={"batch_size": 4})
    gone.at("POST", "/logged-models", 2)
    ended = command("main", "--config", str(config))
    assert ended.exit_code == errors.FAILED, ended.output
    one_line(ended.output, "TrackingError")
    gone.back()
    client = connect()
    experiment = experiment_id(client, "left-over")
    left = client.search_runs([experiment], "attributes.status = 'RUNNING'")
    assert len(left) == 2  # the study's and the phase's: nobody could close them


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_it_while_the_server_hangs(number: int, study: Any, proxy: Proxy) -> None:
    _, arguments = study
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started in the background ignores it
    while_training(proxy, lambda method, path: HANG)
    process = subprocess.Popen(
        [sys.executable, "-m", "stagewise", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "of 400 steps" in line:
            break
    time.sleep(1)
    sent = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == errors.INTERRUPTED, said
    assert time.monotonic() - sent < SOON
    # Where the signal comes after the last step, the phase was saved as a whole.
    ended = r"^Interrupted\. (saved at step \d+ of 400; )?rerun the same command to resume$"
    assert re.search(ended, said, re.MULTILINE), said
    assert "Traceback" not in said


@pytest.mark.slow
def test_the_whole_study_ends_where_its_step_gives_up(proxy: Proxy, write_config: Any, monkeypatch: Any) -> None:
    """`main` with a process for each step: it ends with its step's exit code, and asks nobody for long."""
    config = write_config(study="in-processes", launcher="project", **LONG)
    monkeypatch.setenv(calls.PATIENCE, "5")
    process = subprocess.Popen(
        [sys.executable, "-m", "stagewise", "main", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "of 400 steps" in line:
            break
    proxy.close()
    began = time.monotonic()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == errors.FAILED, said
    assert time.monotonic() - began < SOON
    assert "Traceback" not in said
    with Proxy(f"http://{proxy.upstream}", int(proxy.url.rpartition(":")[2])):
        again = command("main", "--config", str(config))
        assert again.exit_code == 0, again.output
        client = connect()
        experiment = experiment_id(client, "in-processes")
        assert {run.info.status for run in client.search_runs([experiment])} == {"KILLED", "FINISHED"}
