"""The tracking server: found, created where it is a fresh local database, and shown to answer."""

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from stagewise import __version__, progress
from stagewise.errors import AccessError, ConfigError, TrackingError
from stagewise.record.code import scrub
from stagewise.tracking import calls
from stagewise.tracking.client import ABSENT as ABSENT
from stagewise.tracking.client import Client as Client  # what the steps know it by
from stagewise.tracking.failures import in_short

SQLITE = "sqlite:///"
MLFLOW_EXPERIMENT_NOTE = "mlflow.note.content"
CACHES = "caches"  # below `home()`
RACE = re.compile(r"already exists|duplicate key|UNIQUE constraint|out-of-date database schema", re.IGNORECASE)
CREATIONS = 5  # tries at the tables of a fresh database that another process makes at the same time


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or `mlflow.db` in the working directory, as MLflow itself would choose."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{Path.cwd() / 'mlflow.db'}"


def connect(launched: bool = False) -> Client:
    """A client of the tracking server that `tracking_uri` names, once it has answered.

    Raises `TrackingError` where nobody listens or the answer is a refusal. A person hears so within seconds; a process
    that was `launched` waits for the server that its launcher has just reached.
    """
    uri = _absolute(_without_login(tracking_uri()))
    os.environ["MLFLOW_TRACKING_URI"] = uri  # steps in processes of their own write to the same server
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # what is tried again, and until when, is `calls`' to say
    # Alembic tells of each migration of a fresh database, a hundred lines that nobody asked for; and MLflow logs a
    # traceback for what is one line here.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    mlflow.set_tracking_uri(uri)
    calls.forget()
    if uri.startswith(("http://", "https://")):
        if not launched:
            _check_listening(uri)
        return _answering(uri)
    if not uri.startswith(SQLITE):
        _check_database(uri, launched)
        return _answering(uri)
    database = _database(uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that create one database at once: one of them crashes. So one does, first.
    with FileLock(f"{database}.lock"):
        if database.exists():
            _check_database(uri, launched)
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
        raise AccessError(
            f"MLFLOW_TRACKING_URI: found {uri}, a database in the memory of one process; expected one in a file, such "
            f"as {SQLITE}mlflow.db"
        )
    return f"{SQLITE}{os.path.abspath(place)}{mark}{options}"


def _database(uri: str) -> Path:
    """The file of an SQLite address."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def _check_listening(uri: str) -> None:
    """Fails within seconds where no server listens."""
    where = urlparse(uri)
    port = where.port or (443 if where.scheme == "https" else 80)
    try:
        socket.create_connection((where.hostname or "", port), timeout=10).close()
    except OSError as error:
        raise TrackingError(
            f"tracking server {scrub(uri)}: cannot be reached ({error}); start it, or set MLFLOW_TRACKING_URI"
        ) from None


def _check_database(uri: str, launched: bool) -> None:
    """Fails at once where a database cannot be opened: MLflow itself would try for a hundred seconds."""

    def open_it() -> None:
        engine = sqlalchemy.create_engine(uri)
        try:
            sqlalchemy.inspect(engine).get_table_names()
        finally:
            engine.dispose()

    try:
        calls.call(open_it, "open it", once=not launched)
    except (ArgumentError, NoSuchModuleError) as error:
        raise AccessError(
            f"MLFLOW_TRACKING_URI: found {scrub(uri)}, expected an address of MLflow's ({error})"
        ) from None
    except ModuleNotFoundError as error:
        raise AccessError(
            f"tracking database {scrub(uri)}: needs the package {error.name}, which is not installed here"
        ) from None


def _answering(uri: str) -> Client:
    for tries in range(CREATIONS):
        try:
            client = Client(tracking_uri=uri)
            client.search_experiments(max_results=1)
        except (MlflowException, SQLAlchemyError) as error:
            # Two that make the tables of one fresh database at once: the one that is late finds them made.
            if tries + 1 < CREATIONS and RACE.search(str(error)):
                time.sleep(1 + tries)
                continue
            first = in_short(str(error).splitlines()[0])
            raise TrackingError(f"tracking server {scrub(uri)}: does not answer as one: {first}") from error
        return client
    raise AssertionError


def experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment of this name, created where there is none; safe against a second creator.

    Raises `AccessError` for one that is deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        location = _artifacts_of(client.tracking_uri, name)
        try:
            return _create(client, name, location)
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

    Raises `ConfigError` for variables that contradict each other or name none, `AccessError` for a deleted one.
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
        raise AccessError(
            f"experiment {found.name!r} is deleted: mlflow experiments restore --experiment-id {found.experiment_id}; "
            "or give the study another name"
        )
    return str(found.experiment_id)


def _artifacts_of(uri: str, name: str) -> str | None:
    """Where the artifacts of a new experiment go; None where the server says so."""
    if uri.startswith(("http://", "https://")):
        return None
    # Beside the database: MLflow would take the folder that the first command happened to start in.
    folder = _database(uri).parent if uri.startswith(SQLITE) else Path.cwd()
    return (folder / "mlruns" / re.sub(r"^\.+|/", "-", name)).as_uri()


def _create(client: MlflowClient, name: str, location: str | None) -> str:
    if location is None or client.tracking_uri.startswith(SQLITE):
        return str(client.create_experiment(name, location))
    # A database by itself names no place for files, and whoever reads the record must know which one was taken.
    note = (
        "Its tracking address is a database, which has no place for files: they lie in its artifact location, a folder "
        "of the machine where its first command was given, below the working directory. Others need that folder to "
        "read them."
    )
    made = str(client.create_experiment(name, location, {MLFLOW_EXPERIMENT_NOTE: note}))
    progress.say(f"! experiment {name}: its files go to {location}; a tracking server would keep them for everybody")
    return made


def home() -> Path:
    """Where work in progress and converted models are kept: STAGEWISE_HOME, or a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("STAGEWISE_HOME") or Path(cache) / "stagewise").absolute()


def caches() -> Path:
    """Where this release keeps what it can make again: tokens, self-checks, converted models. Each release has a folder
    of its own, by which `gc` finds those of others."""
    return home() / CACHES / __version__


if __name__ == "__main__":
    # `make` runs this before `mlflow run`, whose launcher would otherwise create database and experiment itself.
    experiment(connect(), sys.argv[1])
