"""The tiny study, and what is done with its record, on the services that people use."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from helpers.studies import experiment_id
from mlflow.server import get_app_client
from services.conftest import Postgres

from stagewise.cli import main
from stagewise.tracking import calls
from stagewise.tracking.store import connect

ADMINISTRATOR = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "the administrator's"}


def command(*arguments: str) -> Result:
    calls.forget()
    return CliRunner().invoke(main, arguments)


def done(*arguments: str) -> str:
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def check_study(config: Path, study: str) -> None:
    """Runs the study, looks at its record in every way, and runs it again."""
    done("main", "--config", str(config))
    client = connect()
    experiment = experiment_id(client, study)
    (pipeline,) = client.search_runs([experiment], "tags.`stagewise.kind` = 'pipeline'")
    assert "✓ whole" in done("verify", "--run-id", pipeline.info.run_id)
    assert "✓ whole" in done("verify", "--run-id", f"models:/{study}@flat-s1")
    assert f"models:/{study}@flat-s1" in done("lineage", f"models:/{study}@flat-s1")
    version = client.get_model_version_by_alias(study, "flat-s1")
    trained = client.get_logged_model(version.source.removeprefix("models:/")).source_run_id  # type: ignore[union-attr]
    assert f"models:/{study}@champion is version {version.version}" in done("promote", "--run-id", trained)  # type: ignore[arg-type]
    assert client.get_model_version_by_alias(study, "champion").version == version.version
    assert done("main", "--config", str(config)).count("unchanged, reused from run") >= 5


SMALL = {"arms": ["flat"]}


def test_on_postgresql_s3_and_a_server_between(recommended: str, here: Any, write_config: Any) -> None:
    here(recommended)
    check_study(write_config(study="recommended", **SMALL), "recommended")


def test_on_postgresql_and_s3_without_a_server(
    postgres: Postgres, s3: dict[str, str], here: Any, write_config: Any
) -> None:
    here(postgres.database("direct"), **s3)
    client = connect()
    client.create_experiment("direct", "s3://record/direct")
    check_study(write_config(study="direct", **SMALL), "direct")


def test_on_basic_auth(guarded: str, here: Any, write_config: Any) -> None:
    """Without all the rest: it hashes the password for each request."""
    here(guarded, **ADMINISTRATOR)
    done("main", "--config", str(write_config(study="guarded", **SMALL)))
    assert connect().get_model_version_by_alias("guarded", "flat-s1").version == "1"


def test_a_database_alone_says_where_its_files_lie(
    postgres: Postgres, here: Any, write_config: Any, tmp_path: Path
) -> None:
    here(postgres.database("alone"))
    said = done("split", "--config", str(write_config(study="alone")))
    assert f"! experiment alone: its files go to {tmp_path.as_uri()}/mlruns/alone" in said
    experiment = connect().get_experiment_by_name("alone")
    assert experiment.artifact_location == f"{tmp_path.as_uri()}/mlruns/alone"  # type: ignore[union-attr]
    assert "they lie in its artifact location" in experiment.tags["mlflow.note.content"]  # type: ignore[union-attr]
    assert "its files go to" not in done("split", "--config", str(write_config(study="alone", seeds=[2])))


def test_two_studies_that_make_one_databases_tables_at_once(postgres: Postgres, tmp_path: Path) -> None:
    """On machines of their own, as far as MLflow's lock in the temporary folder goes."""
    uri = postgres.database("fresh")
    make = "from stagewise.tracking.store import connect, experiment; print(experiment(connect(), 'one'))"
    processes = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        environment = {"MLFLOW_TRACKING_URI": uri, "TMPDIR": str(tmp_path / str(number))}
        processes.append(start(make, environment, tmp_path / str(number)))
    ended = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    assert len({output.splitlines()[-1] for output, _ in ended}) == 1


def start(code: str, environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    import os

    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- what fails ---------------------------------------------------------------------------------


def one_line(result: Result, kind: str, code: int) -> str:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith(("TrackingError", "AccessError"))]
    assert line.startswith(kind)
    return line


def test_a_database_that_is_read_only(postgres: Postgres, here: Any, write_config: Any) -> None:
    here(postgres.database("readonly"))
    config = write_config(study="readonly", **SMALL)
    done("split", "--config", str(config))
    postgres.execute("ALTER DATABASE readonly SET default_transaction_read_only = on")
    postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'readonly'")
    assert "is read-only" in one_line(command("main", "--config", str(config)), "TrackingError", 6)


def test_a_database_that_refuses_the_login_or_is_not_there(postgres: Postgres, here: Any, write_config: Any) -> None:
    config = str(write_config())
    here(f"postgresql+psycopg2://nobody:a-password@127.0.0.1:{postgres.port}/postgres")
    line = one_line(command("split", "--config", config), "TrackingError", 6)
    assert "a-password" not in line
    here("postgresql+psycopg2://stagewise@127.0.0.1:9/none")
    assert "onnection refused" in one_line(command("split", "--config", config), "TrackingError", 6)


def test_a_bucket_that_is_not_there(postgres: Postgres, s3: dict[str, str], here: Any, write_config: Any) -> None:
    here(postgres.database("bucketless"), **s3)
    connect().create_experiment("bucketless", "s3://no-such-bucket/x")
    line = one_line(command("split", "--config", str(write_config(study="bucketless"))), "AccessError", 2)
    assert "NoSuchBucket" in line
    client = connect()
    (run,) = client.search_runs([experiment_id(client, "bucketless")])
    assert run.info.status == "FAILED"


@pytest.fixture
def somebody(guarded: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Makes a user of this name; returns the administrator's own client."""

    def make(name: str) -> Any:
        for key, value in ADMINISTRATOR.items():
            monkeypatch.setenv(key, value)
        administrator = get_app_client("basic-auth", tracking_uri=guarded)
        administrator.create_user(name, f"the password of {name}")
        return administrator

    return make


def test_wrong_credentials(guarded: str, here: Any, write_config: Any) -> None:
    here(guarded, MLFLOW_TRACKING_USERNAME="admin", MLFLOW_TRACKING_PASSWORD="not the administrator's")
    line = one_line(command("main", "--config", str(write_config())), "AccessError", 2)
    assert "refuses the credentials" in line
    assert "set MLFLOW_TRACKING_USERNAME" in line


def test_an_experiment_and_a_registered_model_of_somebody_else(
    guarded: str, here: Any, write_config: Any, somebody: Callable[[str], Any]
) -> None:
    somebody("visitor")
    here(guarded, **ADMINISTRATOR)
    client = connect()
    client.create_registered_model("taken")
    client.create_experiment("owned")
    visitor = {"MLFLOW_TRACKING_USERNAME": "visitor", "MLFLOW_TRACKING_PASSWORD": "the password of visitor"}
    here(guarded, **visitor)
    line = one_line(command("main", "--config", str(write_config(study="taken"))), "AccessError", 2)
    assert "registered model 'taken': is somebody else's" in line
    line = one_line(command("split", "--config", str(write_config(study="owned"))), "AccessError", 2)
    assert "no permission to create run" in line
