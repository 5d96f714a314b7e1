"""Whose run MLFLOW_RUN_ID names: only what MLflow's launcher made for this very command is filled, all else is left."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import stagewise
from helpers.projects import made

from stagewise.tracking import launcher, runs
from stagewise.tracking.store import connect, experiment

WORDS = ["split", "--config", "my study.yaml"]


@pytest.fixture
def client(store: Any) -> Any:
    return connect()


@pytest.fixture
def study(client: Any) -> str:
    return experiment(client, "study")


def claim(run_id: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> str | None:
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    claimed = launcher.claim(words)
    assert "MLFLOW_RUN_ID" not in os.environ  # it is asked for once
    return claimed and str(claimed.info.run_id)  # type: ignore[return-value]


def test_the_run_that_was_made_for_this_command_is_claimed_and_filled(
    client: Any, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = made(client, study, WORDS)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    launched = launcher.claim(WORDS)
    with runs.open_run(client, "0", "split", "split", None, launched) as run:
        assert (run.id, run.experiment_id) == (run_id, study)
    found = client.get_run(run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "split")
    assert run.recorded["params"] == {"config": "'my study.yaml'"}


def test_without_the_variable_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert launcher.claim(WORDS) is None


OTHERS: dict[str, tuple[Callable[[Any, str], str], str]] = {
    "a run of the user's own code": (lambda client, study: client.create_run(study).info.run_id, "entry point split"),
    "another entry point": (lambda client, study: made(client, study, ["eval", *WORDS[1:]]), "entry point split"),
    "another config": (lambda client, study: made(client, study, [*WORDS[:2], "other.yaml"]), "other parameters"),
    "more parameters": (lambda client, study: made(client, study, WORDS, depth="3"), "other parameters"),
    "fewer parameters": (lambda client, study: made(client, study, WORDS[:1]), "other parameters"),
    "another project": (lambda client, study: made(client, study, WORDS, "/home/me/mine"), "another project"),
    "another repository": (
        lambda client, study: made(client, study, WORDS, "https://example.org/mine.git#src"),
        "another project",
    ),
    "no source": (lambda client, study: made(client, study, WORDS, ""), "another project"),
    "one that ended": (lambda client, study: ended(client, made(client, study, WORDS)), "it is FINISHED"),
    "one that failed": (lambda client, study: ended(client, made(client, study, WORDS), "FAILED"), "it is FAILED"),
    "one that was deleted": (lambda client, study: deleted(client, made(client, study, WORDS)), "it is deleted"),
    "one that another process fills": (lambda client, study: filled(client, made(client, study, WORDS)), "split run"),
    "one that is not there": (lambda client, study: "0" * 32, "not found"),
    "no id of MLflow's": (lambda client, study: "azureml_HD_1-2_3", "not found"),
}


def ended(client: Any, run_id: str, status: str = "FINISHED") -> str:
    client.set_terminated(run_id, status)
    return run_id


def deleted(client: Any, run_id: str) -> str:
    client.delete_run(run_id)
    return run_id


def filled(client: Any, run_id: str) -> str:
    client.set_tag(run_id, runs.KIND, "split")
    return run_id


def all_of(client: Any) -> list[Any]:
    """Every run, deleted ones too, as the server tells of it."""
    found = client.search_runs(["0", "1", "2"], run_view_type=3, order_by=["attributes.run_id"])
    return [run.to_dictionary() for run in found]


@pytest.mark.parametrize("other", OTHERS)
def test_every_other_run_is_left_as_it_is_and_one_line_says_so(
    client: Any, study: str, other: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, why = OTHERS[other]
    run_id = make(client, study)
    before = all_of(client)
    assert claim(run_id, WORDS, monkeypatch) is None
    assert all_of(client) == before
    said = capsys.readouterr()
    assert said.out == ""  # which may be a verdict in JSON
    (line,) = said.err.splitlines()
    assert line.startswith(f"! MLFLOW_RUN_ID names run {run_id}, which this command leaves as it is: ")
    assert why in line


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the folder `ml/stagewise` of a clone, from which this package is made to believe it runs."""
    folder = tmp_path / "clone" / "ml" / "stagewise"
    folder.mkdir(parents=True)
    git(folder.parents[1], "init", "-q")
    git(folder.parents[1], "remote", "add", "origin", "https://me:token@example.org/mono.git")
    monkeypatch.setattr(launcher, "PROJECT", folder)
    return folder


@pytest.mark.parametrize(
    ("source", "ours"),
    [
        ("{top}/ml/stagewise", True),
        ("file://{top}#ml/stagewise", True),  # MLflow's name for a folder of a repository
        ("/elsewhere/file:{top}#ml/stagewise", True),  # and for an address of that form
        ("https://me:token@example.org/mono.git#ml/stagewise", True),  # a clone of which is what runs
        ("{top}", False),
        ("file://{top}", False),
        ("file://{top}#ml/other", False),
        ("https://me:token@example.org/mono.git", False),
        ("https://example.org/other.git#ml/stagewise", False),
        ("stagewise", False),
        ("", False),
    ],
)
def test_a_source_is_this_project_or_it_is_not(project: Path, source: str, ours: bool) -> None:
    assert launcher._is_this_project(source.format(top=project.parents[1])) is ours


def split(config: Path, **environment: str) -> Any:
    return stagewise("split", "--config", str(config), **environment)


def test_a_step_records_in_a_run_of_its_own_and_leaves_the_users(
    client: Any, study: str, write_config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config()
    mine = client.create_run(study, run_name="prepared").info.run_id
    client.log_param(mine, "config", "mine.yaml")
    before = client.get_run(mine).to_dictionary()
    first = split(config, MLFLOW_RUN_ID=mine)
    again = split(config, MLFLOW_RUN_ID=mine)  # it is found done, and nothing of the user's is discarded
    for done in (first, again):
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert f"! MLFLOW_RUN_ID names run {mine}, which this command leaves as it is" in done.stderr
    assert client.get_run(mine).to_dictionary() == before
    (own,) = client.search_runs([experiment(client, "tiny")])
    assert "= split: unchanged, reused from run " + own.info.run_id in again.stdout


def test_a_stale_id_is_one_line(client: Any, write_config: Any) -> None:
    done = split(write_config(), MLFLOW_RUN_ID="0" * 32)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"! MLFLOW_RUN_ID names run {'0' * 32}, which this command leaves as it is: ")


def test_a_launched_step_that_is_done_already_says_so_and_takes_its_own_run_away(
    client: Any, study: str, write_config: Any
) -> None:
    config = write_config()
    assert split(config).returncode == 0
    (done,) = client.search_runs([experiment(client, "tiny")])
    run_id = made(client, experiment(client, "tiny"), ["split", "--config", str(config)])
    again = split(config, MLFLOW_RUN_ID=run_id)
    assert (again.returncode, again.stderr) == (0, "")
    assert f"= split: unchanged, reused from run {done.info.run_id}" in again.stdout
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"


def test_a_library_caller_hands_over_no_run_by_the_environment(
    client: Any, study: str, write_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagewise import pipeline

    config = write_config(arms=["flat"])
    run_id = made(client, study, ["main", "--config", str(config)])
    before = client.get_run(run_id).to_dictionary()
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert pipeline.run(config) != run_id
    assert client.get_run(run_id).to_dictionary() == before


@pytest.mark.parametrize("entry_point", ["verify", "export", "promote"])
def test_what_records_nothing_of_its_own_leaves_the_users_run_too(
    client: Any, study: str, write_config: Any, entry_point: str
) -> None:
    mine = client.create_run(study, run_name="prepared").info.run_id
    before = all_of(client)
    more = ["--format", "provenance"] if entry_point == "export" else []
    stagewise(entry_point, "--run-id", "0" * 32, *more, MLFLOW_RUN_ID=mine)
    assert all_of(client) == before
