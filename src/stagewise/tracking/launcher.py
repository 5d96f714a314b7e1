"""Steps in processes of their own, as entry points of this MLflow Project or of code that is elsewhere; and the run
that a launcher made for this process.

    claim(["split", "--config", "study.yaml"])    the run that `mlflow run . -e split -P config=study.yaml` made

MLFLOW_RUN_ID alone says nothing: schedulers export it, and an MLproject of the user's own may start us after something
else. So a run is ours to fill only if it is RUNNING, nobody fills it yet, and its entry point, parameters and source
are this command's. Every other is left as it is.
"""

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Param, Run
from mlflow.exceptions import ExecutionException, MlflowException
from mlflow.projects.utils import load_project
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from stagewise import progress
from stagewise.credentials import without_home
from stagewise.errors import ConfigError, UserError
from stagewise.provenance import git
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
    client = connect()
    del os.environ["MLFLOW_RUN_ID"]  # no process that is started from here takes it too
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
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


@contextmanager
def _run_for(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    entry_point: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> Iterator[str]:
    """A run as MLflow's launcher makes one, for a process that claims it; `params` are quoted as for a shell.

    It is made here and not by MLflow, which would nest it only below a run that is active in this process. At the end
    it is not RUNNING, whatever became of the process.
    """
    tags = {MLFLOW_PROJECT_ENTRY_POINT: entry_point, OWNER: owner_tag(), **tags}
    run_id = str(client.create_run(experiment_id, tags=tags, run_name=name).info.run_id)
    try:
        client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
        yield run_id
    finally:
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, status="KILLED")


def launch(
    client: MlflowClient, experiment_id: str, entry_point: str, name: str, parameters: Mapping[str, str], parent: str
) -> None:
    """Runs the entry point to its end. Raises `UserError` with its line where the step found a user's mistake."""
    if not (PROJECT / "MLproject").is_file():
        raise ConfigError(
            "launcher: found project, but this stagewise is installed without its MLproject; run it from a clone of "
            "the repository, or set launcher to inline"
        )
    project = load_project(str(PROJECT))  # type: ignore[no-untyped-call]
    recorded, _ = project.get_entry_point(entry_point).compute_parameters(dict(parameters), None)
    # The process that claims the run hides the folder's name.
    tags = {MLFLOW_PARENT_RUN_ID: parent, MLFLOW_SOURCE_TYPE: "PROJECT", MLFLOW_SOURCE_NAME: without_home(str(PROJECT))}
    _put_first_on_path(Path(sys.executable).parent)  # the command says `python`; this must be the one that runs us
    logging.getLogger("mlflow.projects").setLevel(logging.WARNING)
    with _run_for(client, experiment_id, name, entry_point, recorded, tags) as run_id:
        try:
            mlflow.projects.run(  # type: ignore[no-untyped-call]
                str(PROJECT),
                entry_point=entry_point,
                parameters=dict(parameters),
                experiment_id=experiment_id,
                env_manager="local",
                run_id=run_id,
            )
        except ExecutionException as error:
            mistake = client.get_run(run_id).data.tags.get("stagewise.error")
            raise UserError(mistake) if mistake else error from None


def _put_first_on_path(folder: Path) -> None:
    before = os.environ.get("PATH", "")
    if before.split(os.pathsep)[0] != str(folder):
        os.environ["PATH"] = os.pathsep.join([str(folder), before])


def run_elsewhere(
    client: MlflowClient, experiment_id: str, name: str, arguments: list[str], source: Path, folder: Path
) -> str:
    """Runs `stagewise <arguments>` with the code in `source`, in `folder`, where its work is kept too, and in a run
    made for it.

    Returns the run's id. Raises `UserError` where the command does not end well; no run is left RUNNING then.
    """
    params = {
        option.removeprefix("--").replace("-", "_"): shlex.quote(value)
        for option, value in zip(arguments[1::2], arguments[2::2], strict=True)
    }
    tags = {MLFLOW_SOURCE_NAME: without_home(str(source.parent))}
    with _run_for(client, experiment_id, name, arguments[0], params, tags) as run_id:
        given = {"PYTHONPATH": str(source), "STAGEWISE_HOME": str(folder / "home")}
        # What MLflow's launcher would hand to the command.
        given |= {"MLFLOW_RUN_ID": run_id, "MLFLOW_EXPERIMENT_ID": experiment_id}
        command = [sys.executable, "-m", "stagewise", *arguments]
        process = subprocess.Popen(command, env={**os.environ, **given}, cwd=folder)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()  # it closes its runs
            process.wait()
            raise
        finally:
            close_abandoned(client)  # its runs, if it could not
    if code:
        said = client.get_run(run_id).data.tags.get("stagewise.error", "its output stands above")
        raise UserError(f"run {run_id}: `stagewise {arguments[0]}` ended with exit code {code}: {said}")
    return run_id
