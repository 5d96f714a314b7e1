"""A tiny study on a temporary store, run once for all the tests that look at its record."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

SHARED = Path(__file__).parents[2] / "shared" / "data"

PNG = b"\x89PNG\r\n\x1a\n"  # how every PNG file begins

TINY: dict[str, Any] = {
    "study": "tiny",
    "seeds": [1],
    "data": {"train": {"generate": {"seed": 1, "count": 40}}, "eval": {"generate": {"seed": 2, "count": 6}}},
    "split": {
        "stages": [
            {"name": "a", "rules": [{"category": ["synthetic", "golden_style"]}]},
            {"name": "b", "rules": [{"category": ["reasoning"], "steps": {"max": 3}}], "epochs": 2},
            {"name": "c", "rules": [{"category": ["reasoning"], "steps": {"min": 4}}, {"category": ["edge_case"]}]},
        ]
    },
    "model": {"scratch": {"hidden_size": 16, "intermediate_size": 32, "layers": 1, "heads": 2}},
    "training": {"batch_size": 8, "learning_rate": 1.0e-3},
    "evaluation": {"max_new_tokens": 8, "match": ["exact", "number"]},
    "promotion": {"margin": 0.5},  # which six items can pass
    "compute": {"device": "cpu", "threads": 1},
    "launcher": "inline",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the longest tests first: else one process is still at them when the other has nothing left."""
    long = {item.path for item in items if item.get_closest_marker("entry")}
    items.sort(key=lambda item: item.path not in long)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the changes put in, section by section."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, beside the checkout of a developer."""
    if not SHARED.is_dir():
        pytest.skip("the real data are not here: there is no ../shared/data beside this checkout")
    return SHARED


@pytest.fixture
def write_config(tmp_path: Path) -> Any:
    """Writes the tiny study's config, with changes; returns its path."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(merged(TINY, changes), sort_keys=False))
        return path

    return write


class Store:
    """A tracking database and a work folder of a test's own, named by the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.environment = {"MLFLOW_TRACKING_URI": self.uri, "STAGEWISE_HOME": str(folder / "home")}


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a database with MLflow's tables: making them takes seconds, copying them none."""
    from stagewise.tracking import store

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        store.connect()
    return path.read_bytes()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_database: bytes) -> Store:
    """An empty store, for studies of the test's own. Their figures are files without a picture: drawing takes more than
    a third of a tiny study's time, and `finished` has real ones."""
    made = Store(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(fresh_database)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **options: path.write_bytes(PNG))
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> Iterator[str]:
    """The address of a tracking server on SQLite, which keeps the artifacts too; all tests of a process share it."""
    from helpers.servers import tracking_app

    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(fresh_database)
    with tracking_app(folder, f"sqlite:///{folder / 'mlflow.db'}") as url:
        yield url


@pytest.fixture
def proxy(tracking_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy in front of it, named by the environment, and a work folder of the test's own."""
    from helpers.proxy import Proxy

    with Proxy(tracking_server) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
        monkeypatch.setenv("STAGEWISE_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        yield made


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of completions that is told how to answer."""
    from helpers.chat import Fake

    from stagewise.evaluation.server import KEY

    monkeypatch.delenv(KEY, raising=False)
    made = Fake()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> Iterator[Any]:
    """The tiny study, finished: (store, config path, pipeline run id, client). Tests must not change it."""
    from stagewise import pipeline
    from stagewise.tracking.store import connect

    folder = tmp_path_factory.mktemp("finished")
    (folder / "mlflow.db").write_bytes(fresh_database)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(TINY, sort_keys=False))
    made = Store(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        run_id = pipeline.run(config)
        yield Finished(made, config, run_id, connect())
    assert "MLFLOW_RUN_ID" not in os.environ


class Finished:
    def __init__(self, store: Store, config: Path, run_id: str, client: Any) -> None:
        self.store, self.config, self.run_id, self.client = store, config, run_id, client
        self.experiment_id = client.get_run(run_id).info.experiment_id

    def runs(self, kind: str) -> list[Any]:
        """Runs of this kind, oldest first."""
        query = f"tags.`stagewise.kind` = '{kind}'"
        found = self.client.search_runs([self.experiment_id], query, order_by=["attributes.start_time ASC"])
        return [self.client.get_run(run.info.run_id) for run in found]  # a search leaves out a run's models
