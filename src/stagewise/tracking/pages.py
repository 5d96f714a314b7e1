"""A saved view of the runs list in MLflow's UI: the columns by which checkpoints are compared.

By default that list shows no metric at all. A shared view is a tag of the experiment; the UI reads it
where a link names its key.
"""

import base64
import json
import time
import zlib

from mlflow import MlflowClient

from stagewise.record.code import scrub

KEY = "stagewise"
COLUMNS = [
    *(f"metrics.`{name}`" for name in ("eval/flexible", "eval/strict", "eval/eos", "train/loss_last")),
    *(f"tags.`stagewise.{name}`" for name in ("arm", "phase", "seed")),
]


def save_view(client: MlflowClient, experiment_id: str) -> None:
    state = {"selectedColumns": COLUMNS, "orderByKey": "attributes.start_time", "orderByAsc": True}
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": "stagewise", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{KEY}", json.dumps(view))


def page(experiment_id: str) -> str:
    """The path of the runs list in that view. MLflow would else open another workflow's page."""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"


def run_page(experiment_id: str, run_id: str) -> str:
    """The path of a run's own page."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def address(tracking_uri: str) -> str:
    """Where a browser finds the UI of this tracking store; '' for a database, which has none of its own."""
    return scrub(tracking_uri).rstrip("/") if tracking_uri.startswith(("http://", "https://")) else ""
