"""The train step by its record: what a store, a signal or a mistake does to it."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from stagewise.errors import TrackingError
from stagewise.steps import common, split, train
from stagewise.tracking.runs import Record
from stagewise.tracking.store import connect


def statuses(kind: str = "train") -> list[str]:
    """Of the runs of this kind, the oldest first."""
    client = connect()
    everywhere = [each.experiment_id for each in client.search_experiments()]
    query = f"tags.`stagewise.kind` = '{kind}'"
    return [run.info.status for run in client.search_runs(everywhere, query, order_by=["attributes.start_time ASC"])]


def base(config: Path) -> tuple[Record, Record]:
    """The split and the base checkpoint of the config's study."""
    session = common.open_session(config)
    stages = common.perform(session, split.specify(session))
    return stages, common.perform(session, train.specify(session, stages, "base", 0, 1, None))


@pytest.mark.parametrize("name", ["model.safetensors", "order.json"])
def test_a_store_that_alters_a_file_fails_the_run_and_what_was_made_stays_here(
    name: str, write_config: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = LocalArtifactRepository.log_artifacts

    def altered(repository: Any, *arguments: Any, **options: Any) -> None:
        stored(repository, *arguments, **options)
        for path in Path(repository.artifact_dir).rglob(name):
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # of the same size: only its digest tells

    config = write_config()
    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "log_artifacts", altered)
        with pytest.raises(TrackingError, match=rf"{name}: the artifact store altered it: found sha256 \w+, expected"):
            base(config)
    assert statuses() == ["FAILED"]
    (kept,) = (path for path in (store.folder / "home" / "work").iterdir() if path.is_dir())
    assert (kept / "checkpoint" / "model" / "model.safetensors").is_file()
    assert (kept / "out" / "order.json").is_file()
    base(config)
    assert statuses() == ["FAILED", "FINISHED"]
    assert not kept.exists()


@pytest.mark.slow
def test_two_machines_train_one_phase_and_one_of_them_records_it(write_config: Any, store: Any, tmp_path: Path) -> None:
    """Both on this machine, by the command line, with a work folder each."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        endpoint = f"localhost:{probe.getsockname()[1]}"
    config = write_config(training={"processes": 2, "machines": 2, "rendezvous": endpoint})
    stages, parent = base(config)
    which = ("--split-run", stages.run_id, "--init-run", parent.run_id, "--arm", "flat", "--phase", "1", "--seed", "1")
    command = [sys.executable, "-m", "stagewise", "train", "--config", str(config), *which]

    def machines() -> list[str]:
        both = [
            subprocess.Popen(
                command,
                env=os.environ | {"PET_NODE_RANK": rank, "STAGEWISE_HOME": str(tmp_path / f"home {rank}")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in ("1", "0")
        ]
        said = [process.communicate(timeout=200) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        return [output for output, _ in said]

    other, recording = machines()
    assert "✓ f1 s1 train · flat: 54 examples in 8 steps" in recording
    assert "manifest sha256" not in other
    assert statuses() == ["FINISHED", "FINISHED"]
    other, recording = machines()  # it is there: the one that records reuses it, and the other does not wait for it
    assert other.startswith("= f1 s1 train · flat: unchanged, in run ")
    assert statuses() == ["FINISHED", "FINISHED"]
