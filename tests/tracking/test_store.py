import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from stagewise.errors import TrackingError, UserError
from stagewise.tracking import store as stores


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_server_that_is_not_there_is_one_line_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError, match="cannot be reached") as caught:
        stores.connect()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sqlite:///mlflow.db", "{folder}/mlflow.db"),
        ("sqlite:///below/./mlflow.db", "{folder}/below/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=60", "{folder}/mlflow.db?timeout=60"),
        ("sqlite:///{folder}/mlflow.db", "{folder}/mlflow.db"),
    ],
)
def test_a_relative_database_is_that_of_the_working_directory(
    given: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_database: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Path(expected.format(folder=tmp_path).partition("?")[0])
    database.parent.mkdir(exist_ok=True)
    database.write_bytes(fresh_database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given.format(folder=tmp_path))
    client = stores.connect()
    # Steps in processes of their own, in whatever folder, write to the same one.
    assert client.tracking_uri == os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{expected.format(folder=tmp_path)}"
    stores.experiment(client, "study")
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {database, Path(f"{database}.lock")}


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=f"found {uri}, a database in the memory of one process"):
        stores.connect()


def test_a_file_that_is_no_database_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, and long enough to be seen as none" * 10)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(TrackingError, match=r"the database cannot be used .*not a database"):
        stores.connect()


def test_without_an_address_the_database_is_beside_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert stores.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_an_experiment_is_made_once_and_keeps_artifacts_beside_the_database(store: Any) -> None:
    client = stores.connect()
    first = stores.experiment(client, "study")
    assert stores.experiment(client, "study") == first
    assert client.get_experiment(first).artifact_location == (store.folder / "mlruns" / "study").as_uri()


def test_a_deleted_experiment_is_said_to_be(store: Any) -> None:
    client = stores.connect()
    client.delete_experiment(stores.experiment(client, "study"))
    with pytest.raises(TrackingError, match="is deleted: mlflow experiments restore --experiment-id 1"):
        stores.experiment(client, "study")


@pytest.mark.parametrize(
    ("flag", "environment", "expected"),
    [
        ("", {}, "study"),
        ("", {"MLFLOW_EXPERIMENT_NAME": "named"}, "named"),
        ("", {"MLFLOW_EXPERIMENT_ID": "1"}, "numbered"),
        ("", {"MLFLOW_EXPERIMENT_NAME": "numbered", "MLFLOW_EXPERIMENT_ID": "1"}, "numbered"),
        ("flag", {"MLFLOW_EXPERIMENT_NAME": "named", "MLFLOW_EXPERIMENT_ID": "1"}, "flag"),
        ("", {"MLFLOW_EXPERIMENT_NAME": "", "MLFLOW_EXPERIMENT_ID": ""}, "study"),
    ],
)
def test_the_experiment_is_the_flags_else_the_environments_else_the_studys(
    flag: str, environment: dict[str, str], expected: str, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stores.connect()
    assert stores.experiment(client, "numbered") == "1"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = client.get_experiment(stores.chosen_experiment(client, "study", flag))
    assert found.name == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MLFLOW_EXPERIMENT_ID": "77"}, "MLFLOW_EXPERIMENT_ID: found 77, expected the id of an experiment"),
        ({"MLFLOW_EXPERIMENT_ID": "seven"}, "MLFLOW_EXPERIMENT_ID: found seven, expected the id of an experiment"),
        (
            {"MLFLOW_EXPERIMENT_ID": "0", "MLFLOW_EXPERIMENT_NAME": "named"},
            "found 0, which is 'Default', and MLFLOW_EXPERIMENT_NAME is 'named'; unset one",
        ),
        ({"MLFLOW_EXPERIMENT_ID": "1"}, "is deleted: mlflow experiments restore --experiment-id 1"),
        ({"MLFLOW_EXPERIMENT_NAME": "gone"}, "is deleted: mlflow experiments restore --experiment-id 1"),
    ],
)
def test_variables_that_name_no_experiment_are_one_line(
    environment: dict[str, str], expected: str, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stores.connect()
    client.delete_experiment(stores.experiment(client, "gone"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=re.escape(expected)) as caught:
        stores.chosen_experiment(client, "study")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/Users/me/study", "../study", ".."])
def test_the_artifacts_of_an_experiment_of_any_name_lie_beside_the_database(store: Any, name: str) -> None:
    client = stores.connect()
    place = client.get_experiment(stores.experiment(client, name)).artifact_location
    assert Path(place.removeprefix("file://")).parent == store.folder / "mlruns"
