"""The command line as a user sees it: by its output and exit code."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Finished
from helpers.commands import ROOT, in_a_process, is_a_users_mistake, of, stagewise
from helpers.studies import experiment_id

from stagewise import errors
from stagewise.tracking.store import connect

MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())


def run_id(finished: Finished, kind: str, name: str = "") -> str:
    return next(str(run.info.run_id) for run in finished.runs(kind) if run.info.run_name.startswith(name))


def test_entry_points_and_commands_are_the_same_with_the_same_parameters() -> None:
    from stagewise import cli

    for name, entry in MLPROJECT["entry_points"].items():
        command = cli.main.commands[name]
        options = {parameter.name: parameter for parameter in command.params}
        assert set(options) - {"experiment_name"} == set(entry["parameters"])  # `mlflow run` has that one itself
        assert command.help
        for parameter, declared in entry["parameters"].items():
            assert declared["type"] == "string"
            assert f"--{parameter.replace('_', '-')} {{{parameter}}}" in entry["command"]
            assert options[parameter].help
            if "default" in declared:
                assert str(options[parameter].default) == declared["default"]


def test_help_comes_without_loading_torch() -> None:
    code = "import sys\nfrom stagewise import cli\nassert 'torch' not in sys.modules and 'mlflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False)
    assert done.returncode == 0
    assert "The whole study" in in_a_process("--help").stdout


def test_only_a_command_of_a_launcher_asks_for_its_run() -> None:
    """The help of one comes without a server, whatever a scheduler exports."""
    environment = {"MLFLOW_RUN_ID": "0" * 32, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    for name in MLPROJECT["entry_points"]:
        assert stagewise(name, "--help", **environment).returncode == 0
    assert stagewise("score", "none.jsonl", **environment).returncode == 2


@pytest.mark.parametrize(
    ("flag", "environment", "expected"),
    [
        ([], {}, "tiny"),
        ([], {"MLFLOW_EXPERIMENT_NAME": "theirs"}, "theirs"),
        (["--experiment-name", "mine"], {"MLFLOW_EXPERIMENT_NAME": "theirs"}, "mine"),
    ],
)
def test_the_experiment_is_the_flags_else_the_environments_else_the_studys(
    store: Any, write_config: Any, flag: list[str], environment: dict[str, str], expected: str
) -> None:
    done = stagewise("split", "--config", str(write_config()), *flag, **environment)
    assert done.returncode == 0, done.stderr
    client = connect()
    (run,) = client.search_runs([experiment_id(client, expected)])
    assert run.info.run_id in done.stdout


def test_a_missing_config_is_one_line(store: Any) -> None:
    is_a_users_mistake(stagewise("main", "--config", "none.yaml"), "none.yaml: no such config file")


def test_an_unknown_key_is_one_line(store: Any, write_config: Any) -> None:
    is_a_users_mistake(stagewise("main", "--config", str(write_config(colour="red"))), "colour: unknown key")


def test_a_server_that_is_not_there_is_one_line(write_config: Any, tmp_path: Path) -> None:
    done = stagewise(
        "main", "--config", str(write_config()), MLFLOW_TRACKING_URI="http://127.0.0.1:9", STAGEWISE_HOME=str(tmp_path)
    )
    is_a_users_mistake(done, "tracking server http://127.0.0.1:9: cannot be reached", code=6)


def test_an_unknown_run_is_one_line(finished: Finished) -> None:
    done = of(finished, "eval", "--config", str(finished.config), "--split-run", "0" * 32, "--train-run", "1" * 32)
    is_a_users_mistake(done, "no such run on this tracking server")


def test_a_run_of_the_wrong_kind_is_one_line(finished: Finished) -> None:
    split = run_id(finished, "split")
    done = of(finished, "eval", "--config", str(finished.config), "--split-run", split, "--train-run", split)
    is_a_users_mistake(done, "found a run of kind split, expected train")
    is_a_users_mistake(of(finished, "report", "--run-id", split), "found a run of kind split, expected pipeline")


@pytest.mark.parametrize(
    ("arm", "phase", "seed", "parent", "expected"),
    [
        ("curriculum", "2", "1", "b0", "found arm base, expected curriculum"),
        ("flat", "1", "1", "c1", "found arm curriculum, expected base"),
        ("curriculum", "3", "1", "c1", "found phase 1, expected 2"),
        ("curriculum", "9", "1", "c3", "phase: found 9, expected 0 for the base model, or 1 to 3"),
        ("sideways", "1", "1", "b0", "arm: found 'sideways', expected one of curriculum, flat"),
        ("curriculum", "1", "2", "b0", "seed: found 2, expected one of 1"),
        ("curriculum", "1", "1", "", "needs init_run"),
    ],
)
def test_a_parent_of_another_chain_is_one_line(
    finished: Finished, arm: str, phase: str, seed: str, parent: str, expected: str
) -> None:
    done = of(
        finished,
        *("train", "--config", str(finished.config), "--split-run", run_id(finished, "split")),
        *("--arm", arm, "--phase", phase, "--seed", seed),
        *(["--init-run", run_id(finished, "train", parent)] if parent else []),
    )
    is_a_users_mistake(done, expected)


def test_a_parent_of_another_config_is_refused(finished: Finished, write_config: Any) -> None:
    done = of(
        finished,
        *("train", "--config", str(write_config(training={"learning_rate": 0.5}))),
        *("--split-run", run_id(finished, "split"), "--arm", "curriculum", "--phase", "2", "--seed", "1"),
        *("--init-run", run_id(finished, "train", "c1")),
    )
    is_a_users_mistake(done, "found model, training or stages")


def test_a_split_of_another_config_is_refused(finished: Finished, write_config: Any) -> None:
    done = of(
        finished,
        *("train", "--config", str(write_config(data={"duplicates": "drop"})), "--phase", "0", "--seed", "1"),
        *("--split-run", run_id(finished, "split")),
    )
    is_a_users_mistake(done, "found a split of another data section")


def test_a_step_done_before_is_found_by_its_command(finished: Finished) -> None:
    done = of(finished, "split", "--config", str(finished.config))
    assert done.returncode == 0, done.stderr
    assert run_id(finished, "split") in done.stdout


def test_the_report_of_a_finished_study_can_be_asked_for_again(finished: Finished) -> None:
    done = of(finished, "report", "--run-id", finished.run_id)
    assert done.returncode == 0, done.stderr
    assert run_id(finished, "report") in done.stdout


def test_the_documents_tell_every_exit_code() -> None:
    def below(kind: type[errors.UserError]) -> set[int]:
        return {kind.exit_code}.union(*map(below, kind.__subclasses__()))

    told = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "servers.md").read_text(), re.MULTILINE)
    assert {0, 1, errors.INTERRUPTED} | below(errors.UserError) == {int(code) for code in told}
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert all(re.search(rf"[:,] {code} ", readme.partition("Exit codes of `stagewise`")[2][:300]) for code in told)
