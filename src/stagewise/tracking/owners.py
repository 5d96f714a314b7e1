"""Who works on a run, and what becomes of a run whose owner is gone.

A run of ours carries its owner as a tag: host, process id and the process's start. Host and start
make the id unmistakable, since ids are given out again. A run that MLflow's launcher made and whose
command never began has no such tag; its owner is that launcher, a process of this machine.
Never age alone: a run may rightly take days.
"""

import json
import platform
from typing import Any

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from stagewise.tracking.store import SQLITE, pages

OWNER = "stagewise.owner"
SLACK = 2.0  # seconds between the clocks of the process table and of MLflow


def owner_tag() -> str:
    process = psutil.Process()
    return json.dumps({"host": platform.node(), "pid": process.pid, "started": process.create_time()})


def is_gone(tag: str) -> bool:
    """True where the owner was a process of this machine and runs no more. Of another machine nobody here can say."""
    owner = json.loads(tag)
    if owner["host"] != platform.node():
        return False
    try:
        process = psutil.Process(owner["pid"])
        return bool(abs(process.create_time() - owner["started"]) > SLACK or process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def close_abandoned(client: MlflowClient) -> list[str]:
    """Ends, as KILLED, each RUNNING run whose owner is gone; returns their ids.

    In all experiments: a plain `mlflow run` leaves its run in another one than the study's.
    """
    closed = []
    experiments = [found.experiment_id for found in pages(client.search_experiments)]
    for run in list(pages(client.search_runs, experiments, "attributes.status = 'RUNNING'")):
        tag = run.data.tags.get(OWNER)
        if is_gone(tag) if tag else _launcher_is_gone(client, run):
            client.set_tag(run.info.run_id, "stagewise.closed", "its process was gone when the next study started")
            client.set_terminated(run.info.run_id, status="KILLED")
            closed.append(run.info.run_id)
    return closed


def _launcher_is_gone(client: MlflowClient, run: Run) -> bool:
    """Of a run that `mlflow run` of this project made on a local store: True if no process that could have
    made it is left. On a server's store the launcher may sit on another machine, so there it is never True."""
    ours = run.data.tags.get(MLFLOW_PROJECT_ENTRY_POINT) and run.data.params.get("config")
    if not ours or not client.tracking_uri.startswith(SQLITE):
        return False
    started = run.info.start_time / 1000
    # A launcher makes one run, and the one above this process made this process's.
    own = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    return not any(_may_have_launched(process, started) for process in psutil.process_iter() if process.pid not in own)


def _may_have_launched(process: Any, started: float) -> bool:
    try:
        command = process.cmdline()
        old_enough = process.create_time() <= started + SLACK
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
    launches = any("mlflow" in part for part in command) and "run" in command
    return old_enough and launches
