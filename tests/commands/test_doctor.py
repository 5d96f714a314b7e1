"""`doctor` on real stores and servers: a line for each thing, and 2 where a study could not run."""

import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import Finished
from helpers.commands import of, stagewise
from helpers.studies import experiment_id

from stagewise.commands.doctor import CHECKS, installed
from stagewise.tracking import roundtrip
from stagewise.tracking.store import caches, connect, pages


def lines(out: str) -> dict[str, str]:
    """What is said of each thing, with its mark; of a thing with several lines the first."""
    found: dict[str, str] = {}
    for mark, what, said in re.findall(r"^([✓!✗]) (\w+) +(.+)$", out, re.MULTILINE):
        found.setdefault(what, f"{mark} {said}")
    return found


def test_where_a_study_can_run_it_says_so_and_leaves_nothing(store: Any) -> None:
    done = stagewise("doctor")
    assert done.returncode == 0, done.stdout
    found = lines(done.stdout)
    assert list(found) == [name for name in CHECKS if name != "upgrade"]  # there is no study to say it of
    assert found["Python"] == f"✓ {platform.python_version()}"
    assert f"MLflow {mlflow.__version__}" in found["server"]
    assert "1 MiB there and back" in found["artifacts"]
    assert "the same bits twice" in found["determinism"]
    assert done.stdout.endswith("\nA study can run here.\n")
    client = connect()
    everywhere = [each.experiment_id for each in pages(client.search_experiments)]
    assert list(pages(client.search_runs, everywhere)) == []
    assert list(pages(client.search_registered_models)) == []
    assert list(pages(client.search_logged_models, everywhere)) == []
    assert [path for path in (store.folder / "mlruns").rglob("*") if path.is_file()] == []
    assert stagewise("doctor").returncode == 0  # and again, in the experiment that stays


def test_a_server_is_told_with_its_version(proxy: Any) -> None:
    found = lines(stagewise("doctor").stdout)
    assert found["server"] == f"✓ {proxy.url}, MLflow {mlflow.__version__}"
    assert "at mlflow-artifacts" in found["artifacts"]
    assert found["permissions"].startswith("✓")


def test_a_server_that_is_not_there_is_one_line_and_2(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = stagewise("doctor")
    assert done.returncode == 2
    found = lines(done.stdout)
    assert list(found) == list(CHECKS)[: list(CHECKS).index("server") + 1]
    assert re.match(r"✗ tracking server http://127\.0\.0\.1:9: cannot be reached .*; start it", found["server"])
    assert done.stdout.endswith("\nA study cannot run here: server.\n")


@pytest.mark.parametrize(
    ("refused", "what"),
    [("/runs/create", "artifacts"), ("/logged-models", "permissions"), ("/registered-models/create", "permissions")],
)
def test_what_a_server_refuses_is_named(proxy: Any, refused: str, what: str) -> None:
    proxy.rule = lambda method, path: 403 if method == "POST" and path.endswith(refused) else None
    done = stagewise("doctor")
    assert done.returncode == 2
    assert re.match(r"✗ .*(refuse|permission|denied|403)", lines(done.stdout)[what], re.IGNORECASE)
    proxy.rule = lambda method, path: None  # and what was made before is removed
    client = connect()
    assert list(pages(client.search_runs, [experiment_id(client, roundtrip.EXPERIMENT)])) == []


def test_a_store_that_alters_files_is_found(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagewise.tracking.stored.Files.read", lambda files, path: b"other")
    done = stagewise("doctor")
    assert done.returncode == 2
    assert lines(done.stdout)["artifacts"].endswith("gives back other bytes than it was given")


def test_a_home_that_cannot_be_written_is_named(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.folder / "file").touch()
    monkeypatch.setenv("STAGEWISE_HOME", str(store.folder / "file" / "home"))
    done = stagewise("doctor")
    assert done.returncode == 2
    assert re.match(r"✗ .*file/home: Not a directory; .*set STAGEWISE_HOME", lines(done.stdout)["disk"])


def test_cores_that_others_use_are_said(store: Any) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        found = lines(stagewise("doctor").stdout)["cores"]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert re.match(r"! \d+, of which [1-9]\d*\.\d are busy: ", found)


def test_a_study_of_this_code_would_be_found_as_it_is(finished: Finished) -> None:
    done = of(finished, "doctor")
    assert done.returncode == 0, done.stdout
    assert lines(done.stdout)["upgrade"] == f"✓ study tiny (run {finished.run_id[:8]}) would be found as it is"


def test_what_an_upgrade_does_again_is_said_and_why(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    before = platform.python_version()
    monkeypatch.setattr("platform.python_version", lambda: "3.11.99")
    monkeypatch.setattr("stagewise.record.code.packages", lambda: {"torch": "9.9", "tokenizers": "0.23.3"})
    done = of(finished, "doctor")
    assert done.returncode == 0  # a study can run
    said = lines(done.stdout)["upgrade"]
    assert said.startswith(f"! study tiny (run {finished.run_id[:8]}), if it is run again: split and what follows ")
    assert f"Python {before}, here 3.11.99" in said
    assert "matplotlib 3" in said


def test_caches_of_other_releases_are_offered_to_gc(store: Any) -> None:
    for folder in (caches(), caches().parent / "0.1.9"):
        folder.mkdir(parents=True)
    assert lines(stagewise("doctor").stdout)["upgrade"] == (
        "! caches/0.1.9: caches of other releases, which this makes anew; stagewise gc --remove"
    )


LOCK = ["# a lock", "", "alpha==1.2", "beta==3.0 ; sys_platform == 'linux'", "gamma==9 ; sys_platform == 'win32'"]


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ({"alpha": "1.2", "beta": "3.0+cpu"}, [("✓", "2 as constraints.txt pins them")]),
        ({"Alpha": "1.3", "beta": "3.0"}, [("!", "alpha 1.3, pinned 1.2: results may differ")]),
        ({"beta": "3.0"}, [("✗", "alpha is not installed: pip install -c constraints.txt .")]),
        ({"alpha": "2.0", "beta": "3.0"}, [("✗", "alpha 2.0, expected <2,>=1"), ("!", "alpha 2.0, pinned 1.2")]),
    ],
)
def test_packages_are_held_against_ranges_and_lock(here: dict[str, str], expected: list[tuple[str, str]]) -> None:
    found = list(installed.compared(["alpha>=1,<2", "Beta>=3", "delta>=1 ; extra == 'export'"], LOCK, here))
    assert [(mark, said[: len(text)]) for (mark, said), (_, text) in zip(found, expected, strict=True)] == expected


def test_without_a_lock_the_ranges_count() -> None:
    assert list(installed.compared(["alpha>=1"], [], {"alpha": "1.2"})) == [
        ("✓", "1 in the tested ranges; constraints.txt is not here")
    ]


def test_the_checkout_is_found() -> None:
    assert (installed.ROOT / installed.LOCK).is_file()
    assert Path(__file__).parents[2] == installed.ROOT
