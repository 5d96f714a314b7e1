"""Steps in processes of their own, as entry points of this MLflow Project or of code that is elsewhere; and the run
that a launcher made for this process.

    claim(["split", "--config", "study.yaml"])    the run that `mlflow run . -e split -P config=study.yaml` made

MLFLOW_RUN_ID alone says nothing: schedulers export it, and an MLproject of the user's own may start us after something
else. So a run is ours to fill only if it is RUNNING, nobody fills it yet, and its entry point, parameters and source
are this command's. Every other is left as it is.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Param, Run
from mlflow.exceptions import MlflowException
from mlflow.projects.utils import get_run_env_vars, load_project
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_BACKEND,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from stagewise import progress
from stagewise.credentials import without_home
from stagewise.errors import FAILED, INTERRUPTED, AccessError, ConfigError, TrackingError, TrainingError, UserError
from stagewise.interrupts import held
from stagewise.record.commits import git
from stagewise.tracking.calls import closing
from stagewise.tracking.owners import OWNER, close_abandoned, owner_tag
from stagewise.tracking.runs import KIND, Launched
from stagewise.tracking.store import connect

PROJECT = Path(__file__).parents[3]  # where MLproject stands


def claim(arguments: Sequence[str]) -> Launched | None:
    """The run that MLflow's launcher made for this command, whose words are `arguments`; None where it made none.

    A run that MLFLOW_RUN_ID names and that is not this command's stays as it is, and a line says so.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return None
    client = connect(launched=True)
    del os.environ["MLFLOW_RUN_ID"]  # no process that is started from here takes it too
    try:
        run = client.get_run(run_id)
    except (MlflowException, AccessError) as error:  # there is none, or it is not ours to see
        why = (str(error).splitlines() or [type(error).__name__])[0]
    else:
        why = _not_ours(run, arguments)
        if not why:
            return run
    progress.warn(f"! MLFLOW_RUN_ID names run {run_id}, which this command leaves as it is: {why}")
    return None


def _not_ours(run: Run, arguments: Sequence[str]) -> str:
    """Why the run was not made for this command, in words; '' if it was."""
    tags = run.data.tags
    entry_point, given = arguments[0], dict(zip(arguments[1::2], arguments[2::2], strict=False))
    if run.info.lifecycle_stage != "active" or run.info.status != "RUNNING":
        return f"it is {'deleted' if run.info.lifecycle_stage != 'active' else run.info.status}"
    if KIND in tags:
        return f"it is another process's {tags[KIND]} run"
    if tags.get(MLFLOW_PROJECT_ENTRY_POINT) != entry_point:
        return f"it was not made for the entry point {entry_point}"
    recorded = {f"--{name.replace('_', '-')}": value for name, value in run.data.params.items()}
    if recorded != {name: shlex.quote(value) for name, value in given.items()}:  # as MLflow's launcher records them
        return "it was made for other parameters"
    if not _is_this_project(tags.get(MLFLOW_SOURCE_NAME, "")):
        return "it was made for another project"
    return ""


def _is_this_project(source: str) -> bool:
    """Whether MLflow's name for a project's source, `file://<repository>#<folder>`, a folder or the address of a git
    repository, leads to this code."""
    # Of `file:///x` MLflow makes `<working directory>/file:/x`.
    place, _, below = source.rpartition("file:")[2].partition("#")
    if (Path(place).expanduser() / below).resolve() == PROJECT.resolve():
        return True
    # MLflow cloned the address to a temporary folder, and that clone is what runs.
    top, origin = git(PROJECT, "rev-parse", "--show-toplevel"), git(PROJECT, "config", "--get", "remote.origin.url")
    return origin == source.partition("#")[0] and (Path(str(top)) / below).resolve() == PROJECT.resolve()


def discard(client: MlflowClient, launched: Launched, instead: str) -> None:
    """Deletes the run that the launcher made for a step which turned out to be done already."""
    run_id = launched.info.run_id
    client.set_tag(run_id, "stagewise.reused", instead)
    client.set_terminated(run_id)
    client.delete_run(run_id)


def launch(
    client: MlflowClient, experiment_id: str, entry_point: str, name: str, parameters: Mapping[str, str], parent: str
) -> None:
    """Runs the entry point to its end, as `mlflow run` does with the environment manager `local`.

    Raises what the step found, where it did not end well. MLflow's own function would ask the server by itself, and
    keep the exit code to itself.
    """
    if not (PROJECT / "MLproject").is_file():
        raise ConfigError(
            "launcher: found project, but this stagewise is installed without its MLproject; run it from a clone of "
            "the repository, or set launcher to inline"
        )
    entry = load_project(str(PROJECT)).get_entry_point(entry_point)  # type: ignore[no-untyped-call]
    recorded, _ = entry.compute_parameters(dict(parameters), None)
    tags = {
        MLFLOW_PROJECT_ENTRY_POINT: entry_point,
        MLFLOW_PARENT_RUN_ID: parent,
        MLFLOW_PROJECT_BACKEND: "local",
        MLFLOW_SOURCE_TYPE: "PROJECT",
        MLFLOW_SOURCE_NAME: without_home(str(PROJECT)),  # the process that claims the run hides the folder's name
    }
    # The command says `python`; this must be the one that runs us.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = ["bash", "-c", entry.compute_command(dict(parameters), None)]
    _follow(client, experiment_id, name, recorded, tags, command, {"PATH": path}, PROJECT)


def run_elsewhere(
    client: MlflowClient, experiment_id: str, name: str, arguments: list[str], source: Path, folder: Path
) -> str:
    """Runs `stagewise <arguments>` with the code in `source`, in `folder`, where its work is kept too, and in a run
    made for it.

    Returns the run's id. Raises what the command found where it did not end well; no run is left RUNNING then.
    """
    params = {
        option.removeprefix("--").replace("-", "_"): shlex.quote(value)
        for option, value in zip(arguments[1::2], arguments[2::2], strict=True)
    }
    tags = {MLFLOW_PROJECT_ENTRY_POINT: arguments[0], MLFLOW_SOURCE_NAME: without_home(str(source.parent))}
    command = [sys.executable, "-m", "stagewise", *arguments]
    environment = {"PYTHONPATH": str(source), "STAGEWISE_HOME": str(folder / "home")}
    try:
        return _follow(client, experiment_id, name, params, tags, command, environment, folder)
    finally:
        with closing(), contextlib.suppress(UserError):
            close_abandoned(client)  # its runs, if it could not


def _follow(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
) -> str:
    """Runs a command to its end, in a run as MLflow's launcher makes one, which the process claims; returns its id.

    `params` are quoted as for a shell. The run is made here and not by MLflow, which would nest it only below a run
    that is active in this process. At the end it is not RUNNING, whatever became of the process.
    """
    with held():
        run_id = client.create_run(experiment_id, tags={OWNER: owner_tag(), **tags}, run_name=name).info.run_id
        try:
            client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
            given = get_run_env_vars(run_id, experiment_id)  # type: ignore[no-untyped-call]
            process = subprocess.Popen(command, env={**os.environ, **environment, **given}, cwd=folder)
        except BaseException:
            _end(client, run_id)
            raise
    try:
        code = process.wait()
    except BaseException:
        process.terminate()  # it closes its runs
        process.wait()
        _end(client, run_id)
        raise
    said = _end(client, run_id, waited=code == FAILED)
    if code:
        raise _failure(name, code, said)
    return str(run_id)


def _end(client: MlflowClient, run_id: str, waited: bool = False) -> str:
    """Closes a run that its process has left RUNNING; returns what that found wrong, as far as the server tells."""
    with closing(waited), contextlib.suppress(UserError):
        run = client.get_run(run_id)
        if run.info.status == "RUNNING":
            client.set_terminated(run_id, status="KILLED")
        return str(run.data.tags.get("stagewise.error", ""))
    return ""


def _failure(name: str, code: int, said: str) -> BaseException:
    """What a process that ended with this exit code is to its launcher."""
    if code == INTERRUPTED:
        return KeyboardInterrupt(f"{name} was; rerun the same command to resume")
    if code < 0:
        ended = signal.Signals(-code).name
        return TrainingError(
            f"{name}: its process was ended by {ended}; rerun the same command to resume from the last save"
        )
    said = said or f"{name}: its process ended with exit code {code}, and says why above"
    if code == FAILED:
        return TrackingError(said)
    return UserError(said) if code == UserError.exit_code else RuntimeError(said)
