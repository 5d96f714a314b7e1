"""A copy of a store for tests that alter it or add runs, so that `finished` stays what the other tests count."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

from conftest import Store

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
