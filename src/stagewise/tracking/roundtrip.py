"""What a study does on a tracking server, tried on a run of its own that is removed again.

version(client)      "3.17.2"
latency(client)      0.012     seconds a request takes, the median of five
artifacts(client)    RoundTrip(bytes=1048576, seconds=0.05)
permissions(client)  what a study makes is made and removed: a model, a registered model
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from stagewise.errors import TrackingError
from stagewise.hashing import sha256
from stagewise.record.facts import PipelineFacts
from stagewise.record.manifest import Sealed
from stagewise.tracking.calls import call
from stagewise.tracking.client import Client
from stagewise.tracking.records import read
from stagewise.tracking.runs import KIND
from stagewise.tracking.store import experiment, pages
from stagewise.tracking.stored import Files

EXPERIMENT = "stagewise doctor"
"""It stays, empty: MLflow gives the name of a deleted experiment to no other."""
SIZE = 1 << 20  # bytes of the file that goes to the artifact store and back


class RoundTrip(NamedTuple):
    uri: str
    bytes: int
    seconds: float


def version(client: Client) -> str:
    """MLflow's on the server; of a database the one here, which reads it."""
    uri = client.tracking_uri
    if not uri.startswith(("http://", "https://")):
        return str(mlflow.__version__)
    credentials: Any = get_default_host_creds  # untyped
    ask = partial(http_request, credentials(uri), "/version", "GET", max_retries=0, timeout=10)
    response: Any = call(ask, "ask for its version", once=True)
    return str(response.text).strip() if response.status_code == 200 else "unknown"


def latency(client: Client) -> float:
    """Seconds a request takes, the median of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        client.search_experiments(max_results=1)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def artifacts(client: Client) -> RoundTrip:
    """A file sent to the artifact store and read back. Raises `TrackingError` where other bytes come back."""
    data, name = os.urandom(SIZE), "round-trip.bin"
    with _run(client) as run, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        files = Files(str(run.info.artifact_uri))
        start = time.perf_counter()
        try:
            files.put(Path(folder), [name])
            found = files.read(name)
        except (MlflowException, OSError) as error:
            raise TrackingError(f"artifact store {files.uri}: {error}") from error
        seconds = time.perf_counter() - start
        call(files.repository.delete_artifacts, "remove files", files.uri)
    if sha256(found) != sha256(data):
        raise TrackingError(f"artifact store {files.uri}: gives back other bytes than it was given")
    return RoundTrip(files.uri, SIZE, seconds)


def permissions(client: Client) -> None:
    """Makes and removes what a study makes. Raises `AccessError` for what the server refuses."""
    with _run(client) as run:
        client.log_param(run.info.run_id, "stagewise.doctor", "1")
        client.log_metric(run.info.run_id, "doctor", 1.0)
        model = client.create_logged_model(str(run.info.experiment_id), "doctor", run.info.run_id)
        client.delete_logged_model(model.model_id)
    name = f"stagewise-doctor-{uuid4().hex[:12]}"
    client.create_registered_model(name)
    client.delete_registered_model(name)


@contextmanager
def _run(client: Client) -> Iterator[Run]:
    run = client.create_run(experiment(client, EXPERIMENT), run_name="doctor")
    try:
        yield run
    finally:
        client.delete_run(run.info.run_id)


def newest_studies(client: Client, limit: int = 10) -> Iterator[tuple[str, str]]:
    """Name and id of the newest finished pipeline of each study, the newest first."""
    experiments = [found.experiment_id for found in pages(client.search_experiments)]
    query = f"attributes.status = 'FINISHED' and tags.`{KIND}` = 'pipeline'"
    newest: dict[str, str] = {}
    for run in pages(client.search_runs, experiments, query, order_by=["attributes.start_time DESC"]):
        newest.setdefault(run.data.tags.get("stagewise.study", run.info.run_name or ""), run.info.run_id)
        if len(newest) == limit:
            break
    yield from newest.items()


def one_of_each_kind(client: Client, pipeline: str) -> list[Sealed]:
    """Split, a train and an eval run, and the report of a study. Raises `LineageError` for a record that cannot be
    read, or that another release reads."""
    sealed = read(client, pipeline, "pipeline")
    steps, report = sealed.facts(PipelineFacts).steps, sealed.manifest.inputs.runs["report"]["run_id"]
    named = {"split": [steps.split], "train": steps.train, "eval": steps.eval, "report": [report]}
    return [read(client, run_ids[-1], kind) for kind, run_ids in named.items() if run_ids]
