"""The tracking server: found, created where it is a fresh local database, and shown to answer."""

import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from sqlalchemy.exc import SQLAlchemyError

from stagewise.errors import ConfigError, TrackingError
from stagewise.provenance import scrub

Client = MlflowClient
SQLITE = "sqlite:///"
ABSENT = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}
"""The error codes by which MLflow says that there is no such thing, or that this is no id."""


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or `mlflow.db` in the working directory, as MLflow itself would choose."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{Path.cwd() / 'mlflow.db'}"


def connect() -> MlflowClient:
    """A client of the tracking server that `tracking_uri` names, once it has answered.

    Raises `TrackingError` where nobody listens or the answer is a refusal.
    """
    uri = _absolute(_without_login(tracking_uri()))
    os.environ["MLFLOW_TRACKING_URI"] = uri  # steps in processes of their own write to the same server
    # Alembic tells of each migration of a fresh database, a hundred lines that nobody asked for.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    if not uri.startswith(SQLITE):
        _check_listening(uri)
        return _answering(uri)
    database = _database(uri)
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


def _absolute(uri: str) -> str:
    """A relative SQLite file, which MLflow allows, by its whole path: steps may run in other folders."""
    if not uri.startswith("sqlite:"):
        return uri
    place, mark, options = uri.removeprefix(SQLITE).partition("?")
    if not uri.startswith(SQLITE) or place in ("", ":memory:"):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI: found {uri}, a database in the memory of one process; expected one in a file, such "
            f"as {SQLITE}mlflow.db"
        )
    return f"{SQLITE}{os.path.abspath(place)}{mark}{options}"


def _database(uri: str) -> Path:
    """The file of an SQLite address."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


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
    """The id of the experiment of this name, created where there is none; safe against a second creator.

    Raises `TrackingError` for one that is deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        uri = client.tracking_uri
        # Beside the database: MLflow would take the folder that the first command happened to start in.
        folder = re.sub(r"^\.+|/", "-", name)
        beside = (_database(uri).parent / "mlruns" / folder).as_uri() if uri.startswith(SQLITE) else None
        try:
            return str(client.create_experiment(name, beside))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return _standing(found)


def active_run(client: MlflowClient) -> Run | None:
    """The run that `mlflow.start_run()` began in this thread, if this server has it."""
    active = mlflow.active_run()
    try:
        return client.get_run(active.info.run_id) if active else None
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None  # it was begun on another server


def chosen_experiment(client: MlflowClient, study: str, named: str = "") -> str:
    """The id of the experiment `named` by a flag, else by MLflow's own variables, else of the study's own.

    Raises `ConfigError` for variables that contradict each other or name none, `TrackingError` for a deleted one.
    """
    name, number = os.environ.get("MLFLOW_EXPERIMENT_NAME"), os.environ.get("MLFLOW_EXPERIMENT_ID")
    if named or not (name or number):
        return experiment(client, named or study)
    if not number:
        return experiment(client, str(name))
    try:
        found = client.get_experiment(number)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        raise ConfigError(
            f"MLFLOW_EXPERIMENT_ID: found {number}, expected the id of an experiment of this tracking server; unset "
            "it, or set MLFLOW_EXPERIMENT_NAME instead"
        ) from None
    if name and name != found.name:
        raise ConfigError(
            f"MLFLOW_EXPERIMENT_ID: found {number}, which is {found.name!r}, and MLFLOW_EXPERIMENT_NAME is {name!r}; "
            "unset one of them"
        )
    return _standing(found)


def experiment_name(client: MlflowClient, experiment_id: str) -> str:
    return str(client.get_experiment(experiment_id).name)


def _standing(found: Experiment) -> str:
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {found.name!r} is deleted: mlflow experiments restore --experiment-id {found.experiment_id}; "
            "or give the study another name"
        )
    return str(found.experiment_id)


def home() -> Path:
    """Where work in progress and converted models are kept: STAGEWISE_HOME, or a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("STAGEWISE_HOME") or Path(cache) / "stagewise").absolute()


if __name__ == "__main__":
    # `make` runs this before `mlflow run`, whose launcher would otherwise create database and experiment itself.
    experiment(connect(), sys.argv[1])
