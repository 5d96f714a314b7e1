"""The train step by its record: what a store, a signal or a mistake does to it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import TINY, Store
from helpers import models
from helpers.studies import base, runs, statuses
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from stagewise import pipeline
from stagewise.cli import main
from stagewise.errors import TrackingError, UserError
from stagewise.model import loading
from stagewise.steps import common, split
from stagewise.tracking.records import Record
from stagewise.tracking.store import connect
from stagewise.training import loop


@pytest.mark.parametrize("name", ["model.safetensors", "order.npy"])
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
        line = rf"{name}: the artifact store altered it: found sha256 \w+, expected \w+; rerun the same command.*"
        with pytest.raises(TrackingError, match=line + "last save, or starts over where it left none"):
            base(config)
    assert statuses() == ["FAILED"]
    (kept,) = (path for path in (store.folder / "home" / "work").iterdir() if path.is_dir())
    assert (kept / "checkpoint" / "model" / "model.safetensors").is_file()
    assert (kept / "out" / "order.npy").is_file()
    base(config)
    assert statuses() == ["FAILED", "FINISHED"]
    assert not kept.exists()


def commanded(config: Path, stages: Record, parent: str, arm: str, phase: int) -> Result:
    """The phase, by its command."""
    chain = ["--split-run", stages.run_id, "--init-run", parent]
    which = ["--arm", arm, "--phase", str(phase), "--seed", "1"]
    return CliRunner().invoke(main, ["train", "--config", str(config), *chain, *which])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_closes_the_run_and_says_how_to_go_on(
    number: int, write_config: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config()
    stages, parent = base(config)
    taken = loop._Stepper.take

    def interrupted(stepper: Any, step: Any, count: int, rate: float) -> Any:
        if count == 3:
            signal.raise_signal(number)
        return taken(stepper, step, count, rate)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Stepper, "take", interrupted)
        done = commanded(config, stages, parent.run_id, "flat", 1)
    assert done.exit_code == 130
    assert done.stderr.strip() == "Interrupted. saved at step 3 of 9; rerun the same command to resume"
    assert statuses() == ["FINISHED", "KILLED"]
    done = commanded(config, stages, parent.run_id, "flat", 1)
    assert done.exit_code == 0, done.output
    assert "resumed at step 3" in done.stdout
    assert statuses() == ["FINISHED", "KILLED", "FINISHED"]
    _, killed, resumed = runs()
    assert resumed.data.tags["stagewise.resumed_from"] == killed.info.run_id
    history = connect().get_metric_history(resumed.info.run_id, "train/loss")
    assert [point.step for point in history] == list(range(1, 10))


def test_a_loss_that_is_not_finite_fails_the_run_and_nothing_chains_on_it(write_config: Any, store: Any) -> None:
    config = write_config(training={"learning_rate": 1e30})
    stages, parent = base(config)
    done = commanded(config, stages, parent.run_id, "curriculum", 1)
    assert done.exit_code == 2
    assert re.fullmatch(
        r"TrainingError: step \d: the (loss|norm of the gradient) is (nan|inf); a lower .* may help\n", done.stderr
    )
    assert statuses() == ["FINISHED", "FAILED"]
    done = commanded(config, stages, runs()[1].info.run_id, "curriculum", 2)
    assert done.exit_code == 2
    assert "found a train run that is FAILED, expected FINISHED" in done.stderr
    assert statuses() == ["FINISHED", "FAILED"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"model": {"scratch": {"max_positions": 40}}},
            r"^stage \w, line \d+: found \d+ tokens, expected at most the 40 ",
        ),
        (
            {"evaluation": {"max_new_tokens": 500}},
            r"^item generated-2-\d+: \d+ tokens and evaluation.max_new_tokens 500 are more than the 512 ",
        ),
    ],
)
def test_what_the_model_has_no_room_for_fails_before_there_is_a_base_model(
    write_config: Any, store: Any, changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(UserError, match=line):
        base(write_config(**changes))
    assert statuses() == ["FAILED"]


# --- bad input ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def the_split(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> tuple[Store, str]:
    """A store that holds the tiny study's split, and its run."""
    made = Store(tmp_path_factory.mktemp("the_split"))
    (made.folder / "mlflow.db").write_bytes(fresh_database)
    (made.folder / "config.yaml").write_text(yaml.safe_dump(TINY))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        session = common.open_session(made.folder / "config.yaml")
        return made, common.perform(session, split.specify(session)).run_id


HUB = {"hub": "google/gemma-2b"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": HUB}, "model.revision: missing"),
        ({"model": HUB | {"revision": "main"}}, "model.revision: found 'main'"),
        ({"model": {"path": "mine", "trust_remote_code": True}}, "model.trust_remote_code: unknown key"),
        ({"model": models.with_code}, "cannot be loaded as a causal language model"),
        ({"model": models.with_pickle_alone}, "no weights here: expected *.safetensors, found"),
        ({"model": models.without_eos}, "the tokenizer has no EOS token"),
        ({"model": models.with_more_tokens}, "the tokenizer has 104 tokens, the model has embeddings for 54"),
        ({"arms": {"mine": ["a", "b", "z"]}}, "arms.mine: found ['a', 'b', 'z'], expected each of the stages"),
        ({"training": TINY["training"] | {"processes": 3}}, "batch_size 8 must be a multiple of processes (3)"),
        ({"training": {"batch_size": 4096, "learning_rate": 1, "processes": 4096}}, "training.processes: found 4096"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(
    the_split: tuple[Store, str], changes: dict[str, Any], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, split_run = the_split
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    if callable(damage := changes.get("model")):
        loading.save(models.loaded(), tmp_path / "mine")
        damage(tmp_path / "mine")
        changes = {"model": {"path": "mine"}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(TINY | changes))
    done = CliRunner().invoke(
        main, ["train", "--config", str(config), "--split-run", split_run, "--phase", "0", "--seed", "1"]
    )
    assert done.exit_code == 2, done.output
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert set(statuses()) <= {"FAILED"}


@pytest.mark.slow
def test_two_machines_train_one_phase_and_one_of_them_records_it(write_config: Any, store: Any, tmp_path: Path) -> None:
    """Both on this machine, by the command line, with a work folder each."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        endpoint = f"localhost:{probe.getsockname()[1]}"
    loop = {"processes": 2, "machines": 2, "rendezvous": endpoint, "batch_size": 2, "save_steps": 1}
    config = write_config(arms=["flat"], training=loop)
    stages, parent = base(config)
    which = ("--split-run", stages.run_id, "--init-run", parent.run_id, "--arm", "flat", "--phase", "1", "--seed", "1")
    command = [sys.executable, "-m", "stagewise", "train", "--config", str(config), *which]

    def machines(code: int = 0) -> list[str]:
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
        if code:
            while not any((tmp_path / "home 0").glob("work/*/checkpoints/step-*")):
                time.sleep(0.01)
            both[1].terminate()
        said = [process.communicate(timeout=200) for process in both]
        assert [process.returncode for process in both] == [code, code], said
        return [output + errors.splitlines()[-1] if code else output for output, errors in said]

    for said in machines(code=130):
        assert said.endswith("Interrupted. the processes saved; rerun the same command to resume")
    assert statuses() == ["FINISHED", "KILLED"]
    other, recording = machines()
    assert "✓ f1 s1 train · flat: 53 examples in 27 steps" in recording
    assert "resumed at step" in recording
    assert "manifest sha256" not in other
    assert statuses() == ["FINISHED", "KILLED", "FINISHED"]
    other, recording = machines()  # it is there: the one that records reuses it, and the other does not wait for it
    assert other.startswith("= f1 s1 train · flat: unchanged, in run ")
    pipeline.run(config)  # evaluates and compares what they made
    assert statuses() == ["FINISHED", "KILLED", "FINISHED"]
