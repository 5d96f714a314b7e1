"""The tiny study: copied, begun, and its train runs."""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from conftest import Store

from stagewise.steps import common, split, train
from stagewise.tracking.records import Record
from stagewise.tracking.store import connect

# Where MLflow's database says that artifacts are.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def copied(original: Store, folder: Path) -> Store:
    """The store's database and artifacts in the folder, as an administrator moves an artifact root."""
    shutil.copytree(original.folder / "mlruns", folder / "mlruns")
    shutil.copy(original.folder / "mlflow.db", folder / "mlflow.db")
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        for table, column in LOCATIONS:
            replace = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            connection.execute(replace, (str(original.folder), str(folder)))
    return Store(folder)


def runs() -> Any:
    """The train runs, the oldest first."""
    client = connect()
    everywhere = [each.experiment_id for each in client.search_experiments()]
    query = "tags.`stagewise.kind` = 'train'"
    return client.search_runs(everywhere, query, order_by=["attributes.start_time ASC"])


def statuses() -> list[str]:
    return [run.info.status for run in runs()]


def base(config: Path) -> tuple[Record, Record]:
    """The split and the base checkpoint of the config's study."""
    session = common.open_session(config)
    stages = common.perform(session, split.specify(session))
    return stages, common.perform(session, train.specify(session, stages, "base", 0, 1, None))


def experiment_id(client: Any, name: str) -> str:
    """Of the experiment of this name; there must be one."""
    found = client.get_experiment_by_name(name)
    assert found is not None, f"no experiment {name}"
    return str(found.experiment_id)
