"""Who works on a run, and what becomes of a run whose owner is gone.

A run of ours carries its owner as a tag: host, process id and the process's start. Host and start make the id
unmistakable, since ids are given out again; so does the process table it stands in, of which each container has its
own. Of a run without that tag nothing is known, and it is left alone. Never age alone: a run may rightly take days.
"""

import json
import os
import platform
from pathlib import Path
from typing import Any

import psutil
from mlflow import MlflowClient

from stagewise.tracking.store import pages

OWNER = "stagewise.owner"
SLACK = 2.0  # seconds by which the clock may have been set while a process ran
TABLE = Path("/proc/self/ns/pid")  # on Linux: names the process table that this process is in


def owner_tag() -> str:
    process = psutil.Process()
    return json.dumps(_here() | {"pid": process.pid, "started": process.create_time()})


def _here() -> dict[str, Any]:
    return {"host": platform.node(), "table": os.readlink(TABLE) if TABLE.is_symlink() else ""}


def is_gone(tag: str) -> bool:
    """True where the owner was a process of this machine and runs no more. Of another machine or container nobody here
    can say, nor of a tag that is none of ours."""
    try:
        owner = json.loads(tag)
        if {key: owner[key] for key in _here()} != _here():
            return False
        process = psutil.Process(owner["pid"])
        return bool(abs(process.create_time() - owner["started"]) > SLACK or process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError):
        return False


def close_abandoned(client: MlflowClient) -> list[str]:
    """Ends, as KILLED, each RUNNING run whose owner is gone; returns their ids.

    In all experiments: a plain `mlflow run` leaves its run in another one than the study's.
    """
    experiments = [found.experiment_id for found in pages(client.search_experiments)]
    query = f"attributes.status = 'RUNNING' and tags.`{OWNER}` LIKE '%'"
    return [
        run.info.run_id
        for run in list(pages(client.search_runs, experiments, query))
        if close_if_gone(client, run.info.run_id, run.data.tags[OWNER])
    ]


def close_if_gone(client: MlflowClient, run_id: str, tag: str, left: bool = False) -> bool:
    """Ends the run, as KILLED, if the owner that its tag names is gone; if it was `left`, also if that is this process,
    which could not close it then."""
    gone = is_gone(tag) or (left and tag == owner_tag())
    if gone:
        client.set_tag(run_id, "stagewise.closed", "its process was gone when the next study started")
        client.set_terminated(run_id, status="KILLED")
    return gone
