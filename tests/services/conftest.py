"""PostgreSQL, an S3 store and tracking servers on top of them, as people run them; each started here, on 127.0.0.1."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import free_port, running, wait_until

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.services)


class Postgres:
    def __init__(self, port: int) -> None:
        self.port = port

    def execute(self, statement: str, database: str = "postgres") -> None:
        import psycopg2  # of the extra `services`, which a run of the other tests need not have

        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="stagewise", dbname=database)
        connection.autocommit = True
        connection.cursor().execute(statement)
        connection.close()

    def database(self, name: str) -> str:
        """The address of a fresh database."""
        self.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg2://stagewise@127.0.0.1:{self.port}/{name}"

    def answers(self) -> bool:
        import psycopg2

        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"), default="")
    assert found, "PostgreSQL is not installed: apt-get install postgresql"
    programs, made = Path(found).parent, Postgres(free_port())
    # It refuses to run as root; and the folders of pytest are root's alone.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="stagewise-postgres-"))
    shutil.chown(folder, user)
    options = {"user": user, "cwd": folder} if os.geteuid() == 0 else {"cwd": folder}
    data = str(folder / "data")
    create = [programs / "initdb", "-D", data, "-U", "stagewise", "-A", "trust", "-N"]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[arg-type]
    serve = [programs / "postgres", "-D", data, "-p", str(made.port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(serve, stdout=log, stderr=log, **options)  # type: ignore[arg-type]
    try:
        wait_until(made.answers, process, folder / "log")  # type: ignore[arg-type]
        yield made
    finally:
        process.send_signal(signal.SIGINT)  # which waits for no client
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the environment must say to reach a fresh S3 store with the bucket `record`."""
    import boto3

    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("s3") / "log"
    serve = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(serve, KEYS, log, f"{url}/moto-api/"):
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="record")
        yield {**KEYS, "MLFLOW_S3_ENDPOINT_URL": url}


@contextmanager
def mlflow_server(folder: Path, arguments: list[str], environment: dict[str, str]) -> Iterator[str]:
    """`mlflow server` with these arguments and otherwise its defaults, but for one worker; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port)]
    with running([*command, "--workers", "1", *arguments], environment, folder / "log", f"{url}/health"):
        yield url


@pytest.fixture(scope="session")
def recommended(postgres: Postgres, s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What MLflow's documentation recommends: PostgreSQL, S3, and a server through which artifacts go."""
    folder = tmp_path_factory.mktemp("recommended")
    store = ["--backend-store-uri", postgres.database("recommended"), "--artifacts-destination", "s3://record/files"]
    with mlflow_server(folder, store, s3) as url:
        yield url


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with basic-auth, whose administrator is admin with the password `the administrator's`."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "auth.ini").write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\n"
        "admin_username = admin\n"
        "admin_password = the administrator's\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": "for a test"}
    with mlflow_server(folder, [*store, "--app-name", "basic-auth"], environment) as url:
        yield url


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names a tracking address in the environment, with a work folder of the test's own."""

    def use(uri: str, **environment: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("STAGEWISE_HOME", str(tmp_path / "home"))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return use
