import re
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from filelock import FileLock

from stagewise import pipeline
from stagewise.cli import main
from stagewise.hashing import folder_digests
from stagewise.tracking.runs import open_run
from stagewise.tracking.store import caches, connect
from stagewise.training import loop


def gc(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["gc", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def files(store: Any) -> dict[str, Any]:
    return folder_digests(store.folder / "mlruns")


def test_a_finished_study_leaves_nothing(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gc("--remove") == "Nothing is left over.\n"


def test_what_a_killed_study_left_is_listed_and_removed_and_the_rest_stays_whole(
    write_config: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(training={"save_steps": 1})
    taken = loop._Stepper.take

    def interrupted(stepper: Any, step: Any, number: int, rate: float) -> Any:
        if number == 2:
            signal.raise_signal(signal.SIGTERM)
        return taken(stepper, step, number, rate)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Stepper, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(config)
    client = connect()
    pipeline.run(config)  # goes on, and finishes; the killed runs stay behind
    whole = files(store)
    listed = gc()
    killed = [line.split()[1] for line in listed.splitlines() if " killed " in line]
    assert {client.get_run(run).info.status for run in killed} == {"KILLED"}
    assert len(killed) == 2  # the train run and its pipeline
    assert files(store) == whole  # nothing is removed without being asked for
    assert "removed" in gc("--remove")
    assert {client.get_run(run).info.lifecycle_stage for run in killed} == {"deleted"}
    assert gc() == "Nothing is left over.\n"
    gone = {path for path in whole if any(run in path for run in killed)}
    assert files(store) == {path: entry for path, entry in whole.items() if path not in gone}
    assert gone
    pipeline.run(config)  # every step is found still
    assert [run for run in client.search_runs(["0", "1"]) if run.info.status != "FINISHED"] == []


def test_a_folder_in_which_a_process_works_is_left_alone(store: Any) -> None:
    work = store.folder / "home" / "work"
    for name in ("left", "living"):
        (work / name / "checkpoints").mkdir(parents=True)
        (work / name / "checkpoints" / "weights").write_bytes(b"x" * 2_000_000)
    (work / "gone.lock").touch()  # of a step that finished
    with FileLock(work / "living.lock"):
        assert "left " in gc("--remove")
    assert sorted(path.name for path in work.iterdir()) == ["living", "living.lock"]
    assert "2.0 MB" in gc()


def test_a_failed_run_that_a_sealed_manifest_names_is_kept(finished: Any) -> None:
    """A status is no word of the manifest's: whatever became of it, what is named stays."""
    from stagewise.tracking import leftovers

    (split,) = finished.runs("split")
    finished.client.set_terminated(split.info.run_id, "FAILED")
    try:
        assert split.info.run_id not in [found.run.info.run_id for found in leftovers.find(finished.client)]
    finally:
        finished.client.set_terminated(split.info.run_id, "FINISHED")


def test_a_failed_run_is_left_over(store: Any) -> None:
    client = connect()
    with pytest.raises(ValueError, match="of ours"):
        with open_run(client, "0", "split", "split"):
            raise ValueError("a failure of ours")
    assert " failed " in gc()
    assert Path(store.folder).is_dir()


def test_a_finished_phase_leaves_its_folder_only_where_it_is_to_be_kept(write_config: Any, store: Any) -> None:
    work = store.folder / "home" / "work"
    pipeline.run(write_config(arms=["flat"]))
    assert [path for path in work.iterdir() if path.is_dir()] == []
    pipeline.run(write_config(arms=["curriculum"], training={"keep_local": True, "save_steps": 2}))
    # Four phases of two arms, and the stages were encoded once.
    assert len(list((caches() / "tokens").glob("*.safetensors"))) == 1
    assert len([path for path in work.iterdir() if path.is_dir()]) == 3  # a phase each; the base was there


def test_what_other_releases_keep_is_listed_and_removed(store: Any) -> None:
    home = store.folder / "home"
    places = [caches() / "tokens", home / "caches" / "0.1.9" / "tokens", home / "gguf", home / "selfcheck"]
    for place in places:
        place.mkdir(parents=True)
        (place / "file").write_bytes(b"x" * 1_500_000)
    listed = gc()
    assert listed.count(" cache ") == 3
    assert re.search(r"caches/0\.1\.9 .*of stagewise 0\.1\.9, not read by this +1\.5 MB", listed)
    assert re.search(r"local +gguf .*of stagewise 0\.1\.0", listed)
    assert all(place.is_dir() for place in places)  # nothing is removed without being asked for
    assert "4.5 MB removed" in gc("--remove")
    assert [place.is_dir() for place in places] == [True, False, False, False]
    assert gc() == "Nothing is left over.\n"
