from pathlib import Path
from typing import Any

from helpers.records import artifact, finished

from stagewise.tracking import leftovers
from stagewise.tracking.store import connect, experiment


def found(client: Any) -> list[str]:
    return [leftover.run.info.run_id for leftover in leftovers.find(client)]


def test_only_a_run_of_the_same_experiment_is_superseded(store: Any, tmp_path: Path) -> None:
    client = connect()
    study, other = experiment(client, "study"), experiment(client, "other")
    _, again, _ = (finished(client, where, tmp_path / "out") for where in (study, study, other))
    assert found(client) == [again]


def test_what_replaces_a_run_that_lost_a_file_is_kept(store: Any, tmp_path: Path) -> None:
    client = connect()
    study = experiment(client, "study")
    first, again, third = (finished(client, study, tmp_path / "out") for _ in range(3))
    artifact(client, first, "file.txt").unlink()
    assert found(client) == [third]
    client.delete_run(again)
    assert found(client) == []


def test_a_run_made_from_another_is_not_superseded(store: Any, tmp_path: Path) -> None:
    client = connect()
    study = experiment(client, "study")
    # Both splits are named, the second by a run that no other can stand for.
    splits = [finished(client, study, tmp_path / "out") for _ in range(2)]
    for split in splits:
        finished(client, study, tmp_path / "out", "train", split=split)
    assert found(client) == []


def test_what_a_deleted_run_names_is_kept_for_its_restoration(store: Any, tmp_path: Path) -> None:
    client = connect()
    study = experiment(client, "study")
    _, again = (finished(client, study, tmp_path / "out") for _ in range(2))
    assert found(client) == [again]
    client.delete_run(finished(client, study, tmp_path / "out", "train", split=again))
    assert found(client) == []


def test_a_deleted_run_whose_files_are_gone_is_no_obstacle(store: Any, tmp_path: Path) -> None:
    client = connect()
    study = experiment(client, "study")
    _, again = (finished(client, study, tmp_path / "out") for _ in range(2))
    for leftover in leftovers.find(client):
        leftovers.remove(client, leftover)
    assert client.get_run(again).info.lifecycle_stage == "deleted"
    assert found(client) == []
