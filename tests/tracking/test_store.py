import socket
from pathlib import Path
from typing import Any

import pytest

from stagewise.errors import TrackingError
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


def test_a_relative_database_is_refused_with_the_absolute_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(TrackingError, match=f"expected an absolute path: sqlite:///{tmp_path}/mlflow.db"):
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
    with pytest.raises(TrackingError, match="is deleted; restore it"):
        stores.experiment(client, "study")
