"""Steps in processes of their own: as entry points of this MLflow Project, or of code that is elsewhere."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.projects.utils import get_run_env_vars, load_project
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_BACKEND,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from stagewise.errors import FAILED, INTERRUPTED, ConfigError, TrackingError, TrainingError, UserError
from stagewise.interrupts import held
from stagewise.tracking.calls import closing
from stagewise.tracking.owners import OWNER, close_abandoned, owner_tag

PROJECT = Path(__file__).parents[3]  # where MLproject stands


def launch(
    client: MlflowClient, experiment_id: str, entry_point: str, name: str, parameters: Mapping[str, str], parent: str
) -> None:
    """Runs the entry point to its end, as `mlflow run` does with the environment manager `local`.

    Raises what the step found, where it did not end well. MLflow's own function would ask the server itself, and
    keep the exit code to itself.
    """
    if not (PROJECT / "MLproject").is_file():
        raise ConfigError(
            "launcher: found project, but this stagewise is installed without its MLproject; run it from a clone of "
            "the repository, or set launcher to inline"
        )
    tags = {
        MLFLOW_PARENT_RUN_ID: parent,
        MLFLOW_SOURCE_TYPE: "PROJECT",
        MLFLOW_SOURCE_NAME: "stagewise",
        MLFLOW_PROJECT_ENTRY_POINT: entry_point,
        MLFLOW_PROJECT_BACKEND: "local",
        OWNER: owner_tag(),
    }
    # The command says `python`; this must be the one that runs us.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    project = load_project(str(PROJECT))  # type: ignore[no-untyped-call]
    command = project.get_entry_point(entry_point).compute_command(dict(parameters), None)
    _follow(client, experiment_id, name, tags, ["bash", "-c", command], {"PATH": path}, PROJECT)


def run_elsewhere(
    client: MlflowClient, experiment_id: str, name: str, arguments: list[str], environment: Mapping[str, str], cwd: Path
) -> str:
    """Runs `stagewise <arguments>` with the code that the environment's PYTHONPATH names, in a run made for it.

    Returns the run's id. Raises what the command found where it did not end well; no run is left RUNNING then.
    """
    tags = {MLFLOW_SOURCE_NAME: "stagewise", OWNER: owner_tag()}
    command = [sys.executable, "-m", "stagewise", *arguments]
    try:
        return _follow(client, experiment_id, name, tags, command, environment, cwd)
    finally:
        with closing(), contextlib.suppress(UserError):
            close_abandoned(client)  # its steps


def _follow(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    command: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
) -> str:
    """Runs a command in a run made for it, to its end; returns the run's id."""
    with held():
        run_id = str(client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id)
        given = get_run_env_vars(run_id, experiment_id)  # type: ignore[no-untyped-call]
        process = subprocess.Popen(command, env={**os.environ, **environment, **given}, cwd=cwd)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()  # it closes its runs
        process.wait()
        _end(client, run_id)
        raise
    if code:
        raise _failure(name, code, _end(client, run_id))
    return run_id


def _end(client: MlflowClient, run_id: str) -> str:
    """Closes a run that its process has left RUNNING; returns what that found wrong, as far as the server tells."""
    with closing(), contextlib.suppress(UserError):
        run = client.get_run(run_id)
        if run.info.status == "RUNNING":
            client.set_terminated(run_id, status="KILLED")
        return str(run.data.tags.get("stagewise.error", ""))
    return ""


def _failure(name: str, code: int, said: str) -> BaseException:
    """What a process that ended with this exit code is to its launcher."""
    if code == INTERRUPTED:
        return KeyboardInterrupt(f"{name} was; the same command goes on from what was saved")
    if code < 0:
        ended = signal.Signals(-code).name
        return TrainingError(f"{name}: its process was ended by {ended}; the same command goes on from the last save")
    said = said or f"{name}: its process ended with exit code {code}, and says why above"
    if code == FAILED:
        return TrackingError(said)
    return UserError(said) if code == UserError.exit_code else RuntimeError(said)
