"""Runs as MLflow's launcher of projects leaves them to a command."""

import shlex
from typing import Any

from stagewise.tracking import launcher


def made(client: Any, study: str, words: list[str], source: str = str(launcher.PROJECT), **params: str) -> str:
    """A run as `mlflow run` makes it for the command of these words."""
    tags = {"mlflow.project.entryPoint": words[0], "mlflow.source.name": source, "mlflow.source.type": "PROJECT"}
    run_id = client.create_run(study, tags=tags, run_name="the user's").info.run_id
    given = zip(words[1::2], words[2::2], strict=True)
    for name, value in [*((name.removeprefix("--").replace("-", "_"), each) for name, each in given), *params.items()]:
        client.log_param(run_id, name, shlex.quote(value))
    return str(run_id)
