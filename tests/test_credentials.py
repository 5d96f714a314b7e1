"""What counts as a credential, what is left of a text without it, and where one is refused."""

import contextlib
import gzip
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import TINY, Store
from helpers.commands import is_a_users_mistake, stagewise
from helpers.projects import made
from hypothesis import given
from hypothesis import strategies as st

from stagewise import config, credentials
from stagewise.commands.export import FORMATS
from stagewise.errors import SecretError
from stagewise.tracking.store import connect

SECRET = "cAnArY0123456789abcdefXYZ"
HELD = [
    f"https://me:{SECRET}@example.org/x.git",
    f"postgresql://me:{SECRET}@db/mlflow",
    f"https://{SECRET}@example.org/x",
    f"https://example.org/x?access_token={SECRET}&y=1",
    f"https://example.org/x?y=1&API_KEY={SECRET}",
    f"s3 https://b.s3.amazonaws.com/x?X-Amz-Signature={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"hf_{SECRET}",
    f"key = 'sk-{SECRET}'",
    f"ghp_{SECRET}",
    f"glpat-{SECRET}",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    f"https://me:pass@{SECRET}@example.org/x.git",
    f"https://example.org/x#access_token={SECRET}",
    f"https://example.org/x?private_token={SECRET}",
    f"https://example.org/x?jwt={SECRET}",
    f"Authorization: Basic {SECRET}",
    f"npm_{SECRET}{SECRET}",
    f"pypi-{SECRET}{SECRET}{SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", HELD)
def test_a_credential_is_found_and_taken_out(text: str) -> None:
    assert credentials.kind_of(text)
    left, count = credentials.redact(f"before {text} after")
    assert count == 1
    assert SECRET not in left
    assert left.startswith("before ")
    assert left.endswith(" after")
    assert credentials.kind_of(left) is None


@pytest.mark.parametrize(
    "text",
    ["https://example.org/x?split=train", "git@example.org:x.git", "token: characters", "a@b.org", "task-one-sk-two"],
)
def test_other_texts_are_left_alone(text: str) -> None:
    assert credentials.kind_of(text) is None
    assert credentials.redact(text) == (text, 0)


@given(st.text())
def test_redacting_is_final(text: str) -> None:
    once, _ = credentials.redact(text)
    assert credentials.redact(once) == (once, 0)


def test_the_value_of_a_secret_variable_is_one_whatever_it_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "plainwords")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "parallel-or-not")
    assert credentials.redact("say plainwords, parallel-or-not") == ("say ***, parallel-or-not", 1)


def test_the_home_folder_is_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    assert credentials.without_home("path: /home/alice/x, /home/alice2/y, /mnt/home/alice/z") == (
        "path: ~/x, /home/alice2/y, /mnt/home/alice/z"
    )


def test_a_config_with_a_token_is_refused_with_its_line_and_without_the_token() -> None:
    text = yaml.safe_dump(TINY | {"hypothesis": f"https://example.org/?token={SECRET}"}, sort_keys=False)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if SECRET in each)
    with pytest.raises(SecretError, match=f"c.yaml: line {line} holds a URL with a token in it") as caught:
        config.parse(text, "c.yaml")
    assert SECRET not in str(caught.value)


def test_a_token_in_a_value_is_refused_with_the_advice_to_delete_what_mlflow_wrote(store: Store) -> None:
    value = f"https://me:{SECRET}@example.org/c.yaml"
    run_id = made(connect(), "0", ["main", "--config", value])
    done = stagewise("main", "--config", value, MLFLOW_RUN_ID=run_id)
    is_a_users_mistake(done, f"mlflow runs delete --run-id {run_id}")
    assert SECRET not in done.stderr + done.stdout
    is_a_users_mistake(stagewise("main", "--config", value), "give it by the environment")


def test_nobody_is_told_to_delete_a_run_that_holds_no_token(store: Store) -> None:
    mine = connect().create_run("0").info.run_id
    done = stagewise("main", "--config", f"https://me:{SECRET}@example.org/c.yaml", MLFLOW_RUN_ID=mine)
    assert done.returncode == 2
    assert "delete" not in done.stderr
    assert "give it by the environment" in done.stderr


def test_the_words_of_the_process_around_the_command_are_not_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a notebook's, or another program's that calls `main`."""
    monkeypatch.setattr(sys, "argv", ["theirs", f"https://me:{SECRET}@example.org/theirs"])
    is_a_users_mistake(stagewise("main", "--config", "none.yaml"), "none.yaml: no such config file")


# --- the canary ---------------------------------------------------------------------------------

CANARY = "cAnArY"
ROOT = Path(__file__).parents[1]


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """A clone, a home and an environment with a secret wherever one may stand; also the home's name is one."""
    clone, home = tmp_path / "clone", tmp_path / f"{CANARY}home"
    home.mkdir()
    clone.mkdir()
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in names.stdout.splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "one")
    git(clone, "remote", "add", "origin", f"https://me:{CANARY}remote@example.org/stagewise.git")
    with (clone / "src" / "stagewise" / "report" / "figures.py").open("a") as file:
        file.write(f'\nKEY = "hf_{CANARY}diff0123456789abcdef"\nURL = "https://u:{CANARY}code@example.org"\n')
    (home / "data").mkdir()
    from stagewise.data import generate

    options = {"families": None, "categories": None, "steps": None}
    (home / "data" / "train.jsonl").write_bytes(generate.traces(seed=1, count=40, **options))
    study = TINY | {"arms": ["flat"], "data": TINY["data"] | {"train": {"path": str(home / "data" / "train.jsonl")}}}
    (home / "study.yaml").write_text(yaml.safe_dump(study))
    kept = ("PATH", "LANG", "OMP_NUM_THREADS", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment |= {
        "HOME": str(home),
        "STAGEWISE_HOME": str(tmp_path / "work"),
        "HF_TOKEN": f"hf_{CANARY}0123456789abcdef",
        "OPENAI_API_KEY": f"sk-{CANARY}0123456789abcdef",
        "AWS_SECRET_ACCESS_KEY": f"{CANARY}aws01234567",
    }
    return clone, home, environment


def run(folder: Path, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [*command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def holding(folder: Path) -> list[str]:
    """The files below the folder that hold the canary; of a database the columns."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".db":
            with sqlite3.connect(path) as database:
                for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
                    rows = database.execute(f"select * from {table}").fetchall()
                    found += [f"{path.name}: {table}: {row}" for row in rows if CANARY in str(row)]
        elif CANARY.encode() in (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()):
            found.append(str(path))
    return found


@pytest.fixture
def server(tmp_path: Path, fresh_database: bytes) -> Iterator[int]:
    """The port of an MLflow server whose record is in `record`."""
    record = tmp_path / "record"
    record.mkdir()
    (record / "mlflow.db").write_bytes(fresh_database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{record / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(record / "artifacts"), "--port", str(port), "--workers", "1"]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.mark.entry
def test_no_secret_gets_into_what_a_study_writes(
    planted: tuple[Path, Path, dict[str, str]], server: int, tmp_path: Path
) -> None:
    clone, home, environment = planted
    uri = f"http://me:{CANARY}uri@127.0.0.1:{server}"
    environment |= {"PYTHONPATH": str(clone / "src"), "MLFLOW_TRACKING_URI": uri}
    said = run(clone, environment, sys.executable, "-m", "stagewise", "main", "--config", str(home / "study.yaml"))
    assert CANARY not in said
    assert holding(tmp_path / "record") == []
    (run_id,) = set(re.findall(r"record  run ([0-9a-f]{32}) ", said))
    # Exported, and verified over HTTP, each file through the server; and from the bundle, without it.
    (tmp_path / "exports").mkdir()
    after = f"""if True:
        from stagewise.commands import export, verify
        for name in (*export.FORMATS, export.BUNDLE):
            export.export("{run_id}", name, None, None)
        verify.verify("{run_id}", None, False)
        verify.verify("{run_id[:8]}-bundle", None, False)
    """
    told = run(tmp_path / "exports", environment, sys.executable, "-c", after)
    assert len(list((tmp_path / "exports").iterdir())) == len(FORMATS) + 1
    assert told.count("✓ whole: ") == 2
    assert CANARY not in told
    assert holding(tmp_path / "exports") == []
    (gone, *_) = (tmp_path / "record").rglob("predictions.jsonl")
    gone.rename(tmp_path / "kept")
    command = [sys.executable, "-m", "stagewise", "verify", "--run-id", run_id]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=400)
    (tmp_path / "kept").rename(gone)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "✗ artifact predictions.jsonl: found none" in done.stdout
    assert holding(tmp_path / "work") == []
    (diff, *_) = (tmp_path / "record").rglob("code.diff")
    assert 'KEY = "***"' in diff.read_text()  # it was there to be found
    assert "credentials are recorded as ***" in said
    assert list((tmp_path / "record").rglob("code.tar"))  # and it was looked into


@pytest.mark.entry
def test_no_secret_gets_from_mlflows_launcher_into_the_record(
    planted: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> None:
    clone, _, environment = planted
    (tmp_path / "record").mkdir()
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path / 'record' / 'mlflow.db'}"
    command = ["mlflow", "run", ".", "--env-manager", "local", "-e", "split", "-P", "config=~/study.yaml"]
    run(clone, environment, *command)
    assert holding(tmp_path / "record") == []
    with sqlite3.connect(tmp_path / "record" / "mlflow.db") as database:
        tags = dict(database.execute("select key, value from tags").fetchall())
    assert tags["mlflow.source.name"] == "stagewise"
    assert tags["mlflow.source.git.repoURL"] == "https://example.org/stagewise.git"
