"""Real `mlflow run`s of a clone of this repository, as a user starts them."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import TINY

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.entry


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return committed(tmp_path / "clone")


def committed(repository: Path, below: str = "") -> Path:
    """The folder `below` of a new repository, with this checkout's files: what is not committed yet is tested too."""
    target = repository / below
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return target


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | {"arms": ["flat"], "launcher": "project"}, sort_keys=False))
    return path


def mlflow_run(folder: Path, *arguments: str, path: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`mlflow run` from `folder`, which no tracking server is named for."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PYTHONPATH"))}
    clean |= {"PATH": f"{path or BIN}{os.pathsep}{os.environ['PATH']}", "STAGEWISE_HOME": str(folder.parent / "home")}
    return subprocess.run(
        [str(BIN / "mlflow"), "run", *arguments],
        cwd=folder,
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def statuses(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "mlflow.db") as database:
        return sorted(
            status for (status,) in database.execute("select status from runs where lifecycle_stage='active'")
        )


def test_mlflow_run_does_the_study_in_processes_of_their_own(clone: Path, config: Path) -> None:
    done = mlflow_run(clone, ".", "--env-manager", "local", "-P", f"config={config}")
    assert done.returncode == 0, done.stdout
    assert "flat-1-s1" in done.stdout
    assert statuses(clone) == ["FINISHED"] * 7  # pipeline, split, base, flat, an eval each, report
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == "", "a run leaves files behind that git does not ignore"


def test_mlflow_run_of_a_git_address_writes_where_it_was_started(clone: Path, config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("launcher: project", "launcher: inline"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = mlflow_run(elsewhere, f"file://{clone}", "--env-manager", "local", "-P", f"config={config}")
    assert done.returncode == 0, done.stdout
    assert statuses(elsewhere) == ["FINISHED"] * 7
    (run_id,) = set(re.findall(r"record  run ([0-9a-f]{32}) ", done.stdout))
    wanted = ["-e", "export", "-P", f"run_id={run_id}", "-P", "format=provenance", "-P", f"out={elsewhere / 'out'}"]
    done = mlflow_run(elsewhere, f"file://{clone}", "--env-manager", "local", *wanted)
    assert done.returncode == 0, done.stdout
    assert json.loads((elsewhere / "out" / "provenance.json").read_text())["run_id"] == run_id
    assert statuses(elsewhere) == ["FINISHED"] * 8


def test_a_mistake_in_a_step_fails_the_whole_run_with_its_line(clone: Path, config: Path) -> None:
    stages = [*TINY["split"]["stages"], {"name": "d", "rules": [{"category": ["poetry"]}]}]
    value = TINY | {"launcher": "project", "split": {"stages": stages}}
    config.write_text(yaml.safe_dump(value, sort_keys=False))
    done = mlflow_run(clone, ".", "--env-manager", "local", "-P", f"config={config}")
    assert done.returncode != 0
    assert "stage d gets no trace" in done.stdout
    assert "Traceback" not in done.stdout
    assert "RUNNING" not in statuses(clone)


def test_without_conda_mlflow_says_so_and_leaves_a_run_that_is_nobodys(clone: Path, config: Path) -> None:
    """The README tells how it is deleted."""
    config.write_text(config.read_text().replace("launcher: project", "launcher: inline"))
    if shutil.which("conda"):
        pytest.skip("there is a conda here")
    done = mlflow_run(clone, ".", "-P", f"config={config}")
    assert "Could not find Conda executable at conda" in done.stdout
    assert statuses(clone) == ["RUNNING"]
    # No tag says whose it is: it might as well be another project's, on the same database and at work.
    done = mlflow_run(clone, ".", "--env-manager", "local", "-e", "split", "-P", f"config={config}")
    assert done.returncode == 0, done.stdout
    assert statuses(clone) == ["FINISHED", "RUNNING"]


THEIRS = """
name: theirs
entry_points:
  split:
    parameters:
      config: {type: string}
    command: "echo prepared && PYTHONPATH=SOURCE python -m stagewise split --config {config}"
"""


def test_a_project_of_the_users_own_that_calls_a_step_keeps_its_run(clone: Path, config: Path, tmp_path: Path) -> None:
    """Whether the step is done, or was done before."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "MLproject").write_text(THEIRS.replace("SOURCE", str(clone / "src")))
    for own in (["FINISHED", "FINISHED"], ["FINISHED"] * 3):  # its run each time, and one split
        done = mlflow_run(theirs, ".", "--env-manager", "local", "-e", "split", "-P", f"config={config}")
        assert done.returncode == 0, done.stdout
        assert "which this command leaves as it is: it was made for another project" in done.stdout
        assert statuses(theirs) == own
    with sqlite3.connect(theirs / "mlflow.db") as database:
        names = {name for (name,) in database.execute("select name from runs")}
        (kept,) = database.execute("select count(*) from tags where key='mlflow.project.entryPoint'").fetchone()
    assert "split" in names
    assert len(names) == 3
    assert kept == 2


@pytest.mark.slow
def test_a_project_in_a_subfolder_of_a_repository_is_recorded_and_reproduced(config: Path, tmp_path: Path) -> None:
    committed(tmp_path / "mono", "ml/stagewise")
    address, elsewhere = f"file://{tmp_path / 'mono'}#ml/stagewise", tmp_path / "elsewhere"
    elsewhere.mkdir()
    config.write_text(config.read_text().replace("launcher: project", "launcher: inline"))
    done = mlflow_run(elsewhere, address, "--env-manager", "local", "-P", f"config={config}")
    assert done.returncode == 0, done.stdout
    with sqlite3.connect(elsewhere / "mlflow.db") as database:
        ((run_id,),) = database.execute("select run_uuid from runs where name like 'f1 % train %'").fetchall()
    asked = ["-e", "reproduce", "-P", f"run_id={run_id}", "-P", "yes=true"]
    done = mlflow_run(elsewhere, address, "--env-manager", "local", *asked)
    assert done.returncode == 0, done.stdout
    assert "✓ bit-identical: weights, order, losses" in done.stdout


def test_doctor_keeps_what_it_found_in_its_run(clone: Path) -> None:
    done = mlflow_run(clone, ".", "--env-manager", "local", "-e", "doctor")
    assert done.returncode == 0, done.stdout
    assert "A study can run here." in done.stdout
    (kept,) = (clone / "mlruns").rglob("doctor.txt")
    assert "✓ permissions " in kept.read_text()
    assert statuses(clone) == ["FINISHED"]


@pytest.mark.slow
def test_uv_makes_the_environment_of_conda_yaml(clone: Path, config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("launcher: project", "launcher: inline"))
    # Elsewhere than the user's own, so that it is made anew.
    done = mlflow_run(
        clone, ".", "--env-manager", "uv", "-P", f"config={config}", MLFLOW_ENV_ROOT=str(tmp_path / "environments")
    )
    assert done.returncode == 0, done.stdout
    assert statuses(clone) == ["FINISHED"] * 7
