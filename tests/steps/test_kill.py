"""A real training process is killed at random moments, and what comes out in the end is the same to the bit."""

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import TINY, Store, merged
from helpers.processes import Process
from helpers.studies import base, runs, statuses

from stagewise.steps import common, split, train
from stagewise.tracking.records import read
from stagewise.tracking.store import connect

MOMENTS = ("step", "save", "record", "phase")


def chain(config: Path) -> None:
    """A chain of three phases, each saved after every step, as `main` does it in one process."""
    session = common.open_session(config)
    stages = common.perform(session, split.specify(session))
    parent = common.perform(session, train.specify(session, stages, "base", 0, 1, None))
    for phase in (1, 2, 3):
        print("phase", phase)
        parent = common.perform(session, train.specify(session, stages, "curriculum", phase, 1, parent))
    digests = parent.manifest.facts["order_sha256"], parent.manifest.facts["multiset_sha256"]
    print("weights", parent.model.weights_sha256, *digests)


def finish(config: Path) -> str:
    """Runs the chain to its end; returns the line that says what came out."""
    with Process(chain, config) as process:
        return process.wait().splitlines()[-1]


def kill(config: Path, work: Path, moment: str, draw: random.Random) -> bool:
    """Starts the chain and kills it: inside a step, inside a save, while a finished phase is recorded, or where one
    phase ends and the next begins. False where it came to its end before."""
    with Process(chain, config) as process:
        begins = f"phase {draw.randint(2, 3) if moment == 'phase' else draw.randint(1, 2)}\n"
        while (line := process.line()) and line != begins:
            pass
        if moment == "save":
            wait_for(process, lambda: any(work.glob("*/checkpoints/*.partial")))
        elif moment == "step":
            wait_for(process, lambda: any(work.glob("*/checkpoints/step-*")))
            time.sleep(draw.uniform(0, 0.1))
        elif moment == "record":
            wait_for(process, lambda: any(work.glob("*/checkpoint/model/config.json")))
            time.sleep(draw.uniform(0, 0.1))
        else:
            time.sleep(draw.uniform(0, 0.1))
    return process.code == -signal.SIGKILL


def wait_for(process: Process, condition: Callable[[], bool]) -> None:
    while process.code is None and not condition():
        time.sleep(0.001)


SHAPE = {
    "data": {"train": {"generate": {"seed": 1, "count": 40}}},
    "training": {"batch_size": 2, "save_steps": 1},
}


@pytest.mark.parametrize("seed", range(len(MOMENTS)))
def test_a_killed_process_goes_on_to_the_same_bits(seed: int, write_config: Any, store: Any, unbroken: str) -> None:
    config = write_config(**SHAPE)
    assert kill(config, store.folder / "home" / "work", MOMENTS[seed % 4], random.Random(seed))
    assert finish(config) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(len(MOMENTS), 30))
def test_one_killed_twice_does_too(seed: int, write_config: Any, store: Any, unbroken: str) -> None:
    config, draw = write_config(**SHAPE), random.Random(seed)
    work = store.folder / "home" / "work"
    killed = [kill(config, work, MOMENTS[(seed + run) % 4], draw) for run in range(2)]
    assert killed[0]  # the second time it goes on from a save, and may have little left to do
    assert finish(config) == unbroken


@pytest.mark.slow
def test_one_of_two_processes_that_is_killed_ends_the_run_and_the_same_command_goes_on(
    write_config: Any, store: Any
) -> None:
    config = write_config(training={"processes": 2, "batch_size": 2, "save_steps": 1})
    stages, parent = base(config)
    which = ("--split-run", stages.run_id, "--init-run", parent.run_id, "--arm", "flat", "--phase", "1", "--seed", "1")
    another = config.with_name("another.yaml")  # in whose experiment no step is done
    another.write_text(config.read_text().replace("study: tiny", "study: another"))

    def train(config: Path) -> Any:
        command = [sys.executable, "-m", "stagewise", "train", "--config", str(config), *which]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    process = train(config)
    while process.poll() is None and not any((store.folder / "home" / "work").glob("*/checkpoints/step-*")):
        time.sleep(0.001)
    children = psutil.Process(process.pid).children()
    ranks = [child for child in children if "stagewise.training.distributed" in child.cmdline()]
    assert len(ranks) == 2
    ranks[1].kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    wanted = r"TrainingError: process [01] of 2 was ended by SIGKILL, .*; rerun .* to resume from the last save"
    assert re.fullmatch(wanted, said.splitlines()[-1])
    assert "Traceback" not in said
    assert statuses() == ["FINISHED", "FAILED"]

    for each, resumed in ((config, True), (another, False)):
        process = train(each)
        output, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert ("resumed at step" in output) == resumed
    assert statuses() == ["FINISHED", "FAILED", "FINISHED", "FINISHED"]
    went_on, unbroken = (read(connect(), run.info.run_id, "train").model for run in runs()[2:])
    assert went_on.weights_sha256 == unbroken.weights_sha256


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> str:
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "mlflow.db").write_bytes(fresh_database)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(merged(TINY, SHAPE)))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in Store(folder).environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        line = finish(config)
    assert line.startswith("weights ")
    return line
