"""A full or read-only disk below the database, the work folder or the artifacts: one line, nothing half done."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, event

from stagewise.cli import main
from stagewise.tracking.store import connect, experiment


@contextmanager
def told(*statements: str) -> Iterator[None]:
    """Every connection that is opened to SQLite begins with these."""

    def on_connect(connection: Any, _: Any) -> None:
        for statement in statements:
            connection.execute(statement)

    event.listen(Engine, "connect", on_connect)
    try:
        yield
    finally:
        event.remove(Engine, "connect", on_connect)


def one_line(output: str, kind: str) -> str:
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if line.startswith(("TrackingError", "DiskError", "AccessError"))]
    assert line.startswith(kind)
    return line


def test_a_full_disk_below_the_database(store: Any, write_config: Any) -> None:
    pages = (store.folder / "mlflow.db").stat().st_size // 4096
    with told(f"PRAGMA max_page_count = {pages + 12}"):
        ended = CliRunner().invoke(main, ["main", "--config", str(write_config())])
    assert ended.exit_code == 6, ended.output
    line = one_line(ended.output, "TrackingError")
    assert "its disk is full" in line
    assert "make room" in line


def test_a_database_that_cannot_be_written(store: Any, write_config: Any) -> None:
    with told("PRAGMA query_only = on"):
        ended = CliRunner().invoke(main, ["split", "--config", str(write_config())])
    assert ended.exit_code == 6, ended.output
    line = one_line(ended.output, "TrackingError")
    assert "is read-only, so it cannot create experiment" in line
    assert "make it writable" in line


def in_small(folder: Path, size: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command that finds so little room in the folder, which no other process sees."""
    script = f'mount -t tmpfs -o size={size} tmpfs "$1" || exit 77; shift; exec "$@"'
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(folder)]
    done = subprocess.run([*unshare, *command], capture_output=True, text=True, timeout=300)
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    return done


@pytest.mark.skipif(not shutil.which("unshare"), reason="no `unshare` here, to make a small disk with")
@pytest.mark.parametrize(("place", "kind"), [("home", "DiskError"), ("mlruns", "TrackingError")])
def test_a_full_disk_below_the_work_folder_or_the_artifacts(
    place: str, kind: str, store: Any, write_config: Any
) -> None:
    config = write_config()
    experiment(connect(), "tiny")
    (store.folder / place).mkdir(exist_ok=True)
    command = [sys.executable, "-m", "stagewise", "main", "--config", str(config)]
    ended = in_small(store.folder / place, "200k", command)
    assert ended.returncode == 6, ended.stdout + ended.stderr
    line = one_line(ended.stderr, kind)
    assert "No space left on device" in line
    assert "rerun the same command" in line
    client = connect()
    statuses = {run.info.status for run in client.search_runs([experiment(client, "tiny")])}
    assert "RUNNING" not in statuses
    assert "FAILED" in statuses
