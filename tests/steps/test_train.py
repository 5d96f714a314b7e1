"""The train step by its record: what a store, a signal or a mistake does to it."""

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
