"""`stagewise export`: a folder that appears whole or not at all, and one line for each mistake."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Finished, Store
from helpers.projects import made

from stagewise.cli import main
from stagewise.commands.export import FORMATS, Format
from stagewise.export import provenance
from stagewise.tracking.store import connect


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(run_id: str, *options: str, format: str = "provenance") -> Result:
    return CliRunner().invoke(main, ["export", "--run-id", run_id, "--format", format, *options])


def is_one_line(done: Result, expected: str, code: int = 2) -> None:
    assert done.exit_code == code, done.output
    assert expected in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_it_says_where_it_wrote(finished: Finished, here: Path) -> None:
    done = asked(finished.run_id)
    assert done.exit_code == 0, done.output
    path = here / f"tiny-{finished.run_id[:8]}-provenance" / "provenance.json"
    assert str(path) in done.output
    assert json.loads(path.read_text())["run_id"] == finished.run_id
    assert asked(finished.run_id, "--out", "deep/er").exit_code == 0
    assert (here / "deep" / "er" / "provenance.json").read_bytes() == path.read_bytes()


def test_a_folder_that_is_there_is_left_alone(finished: Finished, here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "mine").write_text("mine")
    is_one_line(asked(finished.run_id, "--out", "out"), "is there already; name another folder, or remove it")
    (here / "file").touch()
    is_one_line(asked(finished.run_id, "--out", "file/out"), "cannot be written")
    assert sorted(path.name for path in here.rglob("*")) == ["file", "mine", "out"]


def test_a_failure_leaves_nothing_behind(finished: Finished, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(study: Any, out: Path) -> list[Path]:
        (out / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(provenance, "write", half)
    is_one_line(asked(finished.run_id), "cannot be written: No space left on device", code=6)
    assert list(here.iterdir()) == []


def test_a_credential_in_the_record_is_not_written_out(
    finished: Finished, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (split,) = finished.runs("split")
    monkeypatch.setenv("SOME_TOKEN", split.info.run_id)  # whatever it looks like
    is_one_line(asked(finished.run_id), "would hold the value of a secret environment variable")
    assert list(here.iterdir()) == []


def test_only_a_whole_pipeline_is_taken(finished: Finished, here: Path) -> None:
    (split,) = finished.runs("split")
    is_one_line(asked(split.info.run_id), "found a run of kind split, expected pipeline")
    is_one_line(asked("0" * 32), "no such run on this tracking server")
    is_one_line(asked(finished.run_id, format="pdf"), "--format: found 'pdf', expected one of ")
    is_one_line(asked(finished.run_id, "--key", "key.pem"), "only slsa is signed")
    assert list(here.iterdir()) == []


def test_a_missing_extra_is_named_with_what_installs_it(
    finished: Finished, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "provenance", Format("provenance", "export"))
    monkeypatch.delitem(sys.modules, "stagewise.export.provenance")
    monkeypatch.setitem(sys.modules, "stagewise.analysis.statistics", None)  # as if it were not installed
    is_one_line(asked(finished.run_id), 'pip install "stagewise[export]"')


def test_the_run_that_mlflow_launched_is_closed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect()
    run_id = made(client, "0", ["export", "--run-id", "0" * 32, "--format", "provenance"])
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    is_one_line(asked("0" * 32), "no such run on this tracking server")
    assert client.get_run(run_id).info.status == "FAILED"


def test_a_bundle_is_of_any_run_and_is_verified_by_the_command_that_is_printed(finished: Finished, here: Path) -> None:
    (run,) = finished.runs("split")
    done = asked(run.info.run_id, format="bundle")
    assert done.exit_code == 0, done.output
    place = here / f"{run.info.run_id[:8]}-bundle"
    digest = run.data.tags["stagewise.manifest_sha256"]
    assert f"stagewise verify --run-id {place} --expect {digest}" in done.output
    verified = CliRunner().invoke(main, ["verify", "--run-id", str(place), "--expect", digest])
    assert verified.exit_code == 0, verified.output
    is_one_line(asked(run.info.run_id, "--weights", "false"), "only a bundle may go without")
