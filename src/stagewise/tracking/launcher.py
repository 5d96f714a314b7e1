"""Steps in processes of their own: as entry points of this MLflow Project, or of code that is elsewhere."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import ExecutionException
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from stagewise.errors import ConfigError, UserError
from stagewise.tracking.owners import OWNER, close_abandoned, owner_tag

PROJECT = Path(__file__).parents[3]  # where MLproject stands


def launch(
    client: MlflowClient, experiment_id: str, entry_point: str, name: str, parameters: Mapping[str, str], parent: str
) -> None:
    """Runs the entry point to its end. Raises `UserError` with its line where the step found a user's mistake."""
    if not (PROJECT / "MLproject").is_file():
        raise ConfigError(
            "launcher: found project, but this stagewise is installed without its MLproject; run it from a clone of "
            "the repository, or set launcher to inline"
        )
    # The run is made here and not by MLflow, which would nest it only below a run that is active in this
    # process, and would end that one with it.
    tags = {
        MLFLOW_PARENT_RUN_ID: parent,
        MLFLOW_SOURCE_TYPE: "PROJECT",
        MLFLOW_SOURCE_NAME: "stagewise",
        MLFLOW_PROJECT_ENTRY_POINT: entry_point,
        OWNER: owner_tag(),
    }
    run_id = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    # The command says `python`; this must be the one that runs us.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    logging.getLogger("mlflow.projects").setLevel(logging.WARNING)
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


def run_elsewhere(
    client: MlflowClient, experiment_id: str, name: str, arguments: list[str], environment: Mapping[str, str], cwd: Path
) -> str:
    """Runs `stagewise <arguments>` with the code that the environment's PYTHONPATH names, in a run made for it.

    Returns the run's id. Raises `UserError` where the command does not end well; no run is left RUNNING then.
    """
    tags = {MLFLOW_SOURCE_NAME: "stagewise", OWNER: owner_tag()}
    run_id = str(client.create_run(experiment_id, tags=tags, run_name=name).info.run_id)
    # What MLflow's launcher would hand to the command.
    given = {"MLFLOW_RUN_ID": run_id, "MLFLOW_EXPERIMENT_ID": experiment_id}
    process = subprocess.Popen(
        [sys.executable, "-m", "stagewise", *arguments], env={**os.environ, **environment, **given}, cwd=cwd
    )
    try:
        code = process.wait()
    except BaseException:
        process.terminate()  # it closes its runs
        process.wait()
        raise
    finally:
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, status="KILLED")
        close_abandoned(client)  # and its steps
    if code:
        said = client.get_run(run_id).data.tags.get("stagewise.error", "its output stands above")
        raise UserError(f"run {run_id}: `stagewise {arguments[0]}` ended with exit code {code}: {said}")
    return run_id
