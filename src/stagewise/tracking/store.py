"""The tracking server: found, created where it is a fresh local database, and shown to answer."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from stagewise.errors import TrackingError
from stagewise.provenance import scrub

Client = MlflowClient
SQLITE = "sqlite:///"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or `mlflow.db` in the working directory, as MLflow itself would choose."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{Path.cwd() / 'mlflow.db'}"


def connect() -> MlflowClient:
    """A client of the tracking server that `tracking_uri` names, once it has answered.

    Raises `TrackingError` where nobody listens or the answer is a refusal.
    """
    uri = _without_login(tracking_uri())
    os.environ["MLFLOW_TRACKING_URI"] = uri  # steps in processes of their own write to the same server
    # Alembic tells of each migration of a fresh database, a hundred lines that nobody asked for.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    if not uri.startswith(SQLITE):
        _check_listening(uri)
        return _answering(uri)
    database = Path(uri.removeprefix(SQLITE))
    if not database.is_absolute():
        raise TrackingError(
            f"MLFLOW_TRACKING_URI: found {uri}, expected an absolute path: {SQLITE}{database.resolve()}"
        )
    database.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that create one database at once: one of them crashes. So one does, first.
    with FileLock(f"{database}.lock"):
        return _answering(uri)


def pages(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """All that a search of MLflow's client finds, page after page."""
    token = None
    while True:
        page = search(*arguments, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def _without_login(uri: str) -> str:
    """An http address without name and password, which go where MLflow reads them: it prints the address."""
    where = urlparse(uri)
    if where.scheme not in ("http", "https") or where.username is None:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(where.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(where.password or "")
    return where._replace(netloc=where.netloc.rpartition("@")[2]).geturl()


def _check_listening(uri: str) -> None:
    """Fails within seconds where no server listens: MLflow itself would try for four minutes."""
    where = urlparse(uri)
    if where.scheme not in ("http", "https"):
        return
    port = where.port or (443 if where.scheme == "https" else 80)
    try:
        socket.create_connection((where.hostname or "", port), timeout=10).close()
    except OSError as error:
        raise TrackingError(
            f"tracking server {scrub(uri)}: cannot be reached ({error}); start it, or set MLFLOW_TRACKING_URI"
        ) from None


def _answering(uri: str) -> MlflowClient:
    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        first = str(error).splitlines()[0]
        raise TrackingError(f"tracking server {scrub(uri)}: does not answer as one: {first}") from error
    return client


def experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment of this name, created where there is none; safe against a second creator."""
    found = client.get_experiment_by_name(name)
    if found is None:
        uri = client.tracking_uri
        # Beside the database: MLflow would take the folder that the first command happened to start in.
        beside = (Path(uri.removeprefix(SQLITE)).parent / "mlruns" / name).as_uri() if uri.startswith(SQLITE) else None
        try:
            return str(client.create_experiment(name, beside))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} is deleted; restore it (mlflow experiments restore) or rename the study"
        )
    return str(found.experiment_id)


def launched_experiment() -> str | None:
    """The experiment that MLflow's launcher chose, where it started this process."""
    return os.environ.get("MLFLOW_EXPERIMENT_ID") if "MLFLOW_RUN_ID" in os.environ else None


def discard_launched_run(client: MlflowClient, instead: str) -> None:
    """Deletes the run that MLflow's launcher made for a step which turned out to be done already."""
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    if run_id is not None:
        client.set_tag(run_id, "stagewise.reused", instead)
        client.set_terminated(run_id)
        client.delete_run(run_id)


def home() -> Path:
    """Where work in progress and converted models are kept: STAGEWISE_HOME, or a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("STAGEWISE_HOME") or Path(cache) / "stagewise").absolute()


if __name__ == "__main__":
    # `make` runs this before `mlflow run`, whose launcher would otherwise create database and experiment itself.
    experiment(connect(), sys.argv[1])
