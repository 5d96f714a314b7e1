"""Two processes that train together, as torch's launcher starts them: real ones, on the CPU."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from helpers.models import loaded
from helpers.rounding import STRAY, UNITS, WRONG, apart, astray

from stagewise.config import Compute, Training
from stagewise.curriculum.order import Rows
from stagewise.errors import ConfigError, TrainingError
from stagewise.model import loading
from stagewise.model.device import set_up
from stagewise.model.templates import Examples, packed
from stagewise.training import distributed, loop, openmp
from stagewise.training.distributed import Shared
from stagewise.training.job import Job, Saving, Schedule

pytestmark = pytest.mark.numeric
CPU = Compute(device="cpu", threads=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parent") / "model"
    loading.save(loaded(), folder)
    return folder


def rows(*instances: tuple[int, int]) -> Rows:
    """Of the first stage: position and epoch of each."""
    return np.array([[0, *each] for each in instances], dtype=np.int32)


def job(checkpoint: Path, folder: Path, count: int = 5, **changes: Any) -> Shared:
    """`count` steps of four examples and one of a single one, so that a process has nothing to do in it."""
    generator = torch.Generator().manual_seed(5)
    usable = []
    for position in range(8):
        ids = torch.randint(3, 20, (4 + (position * 7) % 12,), generator=generator).tolist()
        usable.append(([*ids, 1], position, len(ids) // 4))
    steps = [rows(*(((2 * index + k) % 8, index) for k in range(4))) for index in range(count)]
    settings = Training(**({"batch_size": 4, "learning_rate": 1e-2, "processes": 2} | changes))
    made = Job(
        steps=(*steps, rows((0, 9))),
        examples=Examples([packed(usable, [], 0, 0)]),
        pad=0,
        settings=settings,
        schedule=Schedule(0, count + 1),
        seed=3,
        saving=Saving.of(settings, folder / "saves"),
    )
    return Shared(made, checkpoint, CPU)


def changed(given: Shared, **changes: Any) -> Shared:
    """With another job; `saves` is the folder of its saves."""
    if saves := changes.pop("saves", None):
        changes["saving"] = replace(given.job.saving, folder=saves)
    return replace(given, job=replace(given.job, **changes))


def alone(given: Shared) -> tuple[Any, loop.Outcome]:
    """The job in this process, and the model that came out."""
    model = loading.load(given.checkpoint).model
    outcome, _ = loop.train(given.job, model, set_up(CPU))
    return model, outcome


def together(given: Shared, work: Path, on_step: Callable[..., None] = lambda report: None) -> tuple[Any, Any]:
    model = loading.load(given.checkpoint).model
    outcome, _ = distributed.train(given, model, work, "test", on_step)
    return model, outcome


def way(given: Shared, found: Any, wanted: Any) -> float:
    return astray(found, wanted, loading.load(given.checkpoint).model)


def furthest(found: loop.Outcome, wanted: loop.Outcome) -> float:
    """Of the losses."""
    return max(apart(one.loss, other.loss) for one, other in zip(found.curve, wanted.curve, strict=True))


@pytest.mark.parametrize(("strategy", "optimizer"), [("ddp", "adamw"), ("fsdp", "adamw"), ("fsdp", "adafactor")])
def test_two_processes_do_what_one_does(strategy: str, optimizer: str, checkpoint: Path, tmp_path: Path) -> None:
    wanted, one = alone(job(checkpoint, tmp_path / "one", optimizer=optimizer))
    told: list[int] = []
    given = job(checkpoint, tmp_path, strategy=strategy, optimizer=optimizer, save_steps=4, micro_batch_tokens=16)
    found, two = together(given, tmp_path, lambda report: told.append(report.step))
    assert np.array_equal(two.consumed, one.consumed)
    assert furthest(two, one) < UNITS
    assert [report.loss_tokens for report in two.curve] == [report.loss_tokens for report in one.curve]
    assert told == [1, 2, 3, 4, 5, 6]
    assert way(given, found, wanted) < STRAY
    # One process goes on from what the two had saved at step 4.
    model, resumed = alone(changed(given, settings=given.job.settings.model_copy(update={"processes": 1})))
    assert resumed.resumed_at == 4
    assert furthest(resumed, one) < UNITS
    assert way(given, model, wanted) < STRAY


def test_one_other_example_in_one_step_is_seen(checkpoint: Path, tmp_path: Path) -> None:
    given = job(checkpoint, tmp_path / "one")
    wanted, one = alone(given)
    (*before, third) = given.job.steps[:3]
    other = third.copy()
    other[-1, 1] = (other[-1, 1] + 1) % 8
    found, outcome = alone(changed(given, saves=tmp_path / "two", steps=(*before, other, *given.job.steps[3:])))
    assert furthest(outcome, one) > WRONG
    assert way(given, found, wanted) > 100 * STRAY


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_two_processes_go_on_from_their_own_save_to_the_same_bits(
    optimizer: str, checkpoint: Path, tmp_path: Path
) -> None:
    given = job(checkpoint, tmp_path, save_steps=2, strategy="fsdp", optimizer=optimizer)
    unbroken, _ = together(given, tmp_path / "first")
    again, outcome = together(given, tmp_path / "second")  # the saves are there still
    assert outcome.resumed_at == 4
    assert all(torch.equal(a, b) for a, b in zip(unbroken.parameters(), again.parameters(), strict=True))


def processes(of: psutil.Process) -> list[psutil.Process]:
    living = [child for child in of.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if "stagewise.training.distributed" in child.cmdline()]


def test_a_killed_process_is_a_clear_error_and_ends_the_others(checkpoint: Path, tmp_path: Path) -> None:
    waits: list[str | None] = []

    def kill(report: loop.StepReport) -> None:
        if report.step == 1:
            *_, last = processes(psutil.Process())
            waits.extend(last.environ().get(name) for name in openmp.CHOSEN)
            last.kill()

    with pytest.raises(TrainingError, match=r"process [01] of 2 was ended by SIGKILL.*resume from the last save"):
        together(job(checkpoint, tmp_path, count=5000), tmp_path, kill)
    assert not processes(psutil.Process())
    assert any(waits), "its threads spin while they wait"


def test_an_error_in_following_the_processes_ends_them(checkpoint: Path, tmp_path: Path) -> None:
    def fail(report: loop.StepReport) -> None:
        raise ValueError("the server is gone")

    with pytest.raises(ValueError, match="the server is gone"):
        together(job(checkpoint, tmp_path, count=5000), tmp_path, fail)
    (saved,) = (tmp_path / "saves").glob("step-*")
    assert json.loads((saved / "progress.json").read_bytes())["curve"]["count"] < 5000


def test_a_mistake_that_a_process_finds_is_told_in_its_words(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step \d+: the (loss|norm of the gradient) is (nan|inf)"):
        together(job(checkpoint, tmp_path, learning_rate=1e30, max_grad_norm=None), tmp_path)


def test_a_signal_has_the_processes_save(checkpoint: Path, tmp_path: Path) -> None:
    given = job(checkpoint, tmp_path, count=5000)
    sent = threading.Event()

    def interrupt(report: loop.StepReport) -> None:
        if not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="rerun the same command to resume"):
        together(given, tmp_path, interrupt)
    assert signal.getsignal(signal.SIGTERM) is before
    (saved,) = (tmp_path / "saves").glob("step-*")
    assert 0 < json.loads((saved / "progress.json").read_bytes())["curve"]["count"] < 5000


WAITING = """
import sys
from pathlib import Path
from stagewise.training import distributed
from stagewise.config import Training
distributed.launch(Training.model_validate_json(sys.argv[1]), Path(sys.argv[2]), "two machines")
"""


@pytest.mark.slow
def test_two_machines_meet(checkpoint: Path, tmp_path: Path) -> None:
    """Two launchers on this machine, each with one process, as on two."""
    endpoint = f"localhost:{free_port()}"
    given = job(checkpoint, tmp_path, machines=2, rendezvous=endpoint)
    waiting = []
    for rank in (0, 1):
        changed(given, saves=tmp_path / f"saves {rank}").write(tmp_path / str(rank))  # no disk in common
        waiting.append(machine(given, tmp_path, rank))
    said = [process.communicate(timeout=120)[1] for process in waiting]
    assert [process.returncode for process in waiting] == [0, 0], said
    model = loading.load(checkpoint).model
    outcome, _ = loop.ended(model, given.job, tmp_path / "0" / "end")
    wanted, one = alone(job(checkpoint, tmp_path / "one"))
    assert np.array_equal(outcome.consumed, one.consumed)
    assert way(given, model, wanted) < STRAY
    assert not (tmp_path / "1" / "end").exists()


def broken(machine: Shared) -> Shared:
    return replace(machine, checkpoint=machine.checkpoint / "none")


def of_another_step(machine: Shared) -> Shared:
    return changed(machine, saving=replace(machine.job.saving, identity={"code": "9f"}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "change", "lines"),
    [
        (0, of_another_step, ("saved by another step", "saved by another step")),
        (1, broken, ("", "no model here")),
    ],
)
def test_a_mistake_on_one_machine_ends_both(
    rank: int, change: Callable[[Shared], Shared], lines: tuple[str, str], checkpoint: Path, tmp_path: Path
) -> None:
    given = job(checkpoint, tmp_path, machines=2, rendezvous=f"localhost:{free_port()}")
    alone(changed(given, saving=replace(given.job.saving, every=2)))  # leaves saves
    waiting = []
    for each in (0, 1):
        (change(given) if each == rank else given).write(tmp_path / str(each))
        waiting.append(machine(given, tmp_path, each))
    said = [process.communicate(timeout=120)[1].strip().splitlines()[-1] for process in waiting]
    assert [process.returncode for process in waiting] == [1, 1]  # what the command makes a line of, raised here
    for found, line in zip(said, lines, strict=True):
        assert line in found


def machine(given: Shared, folder: Path, rank: int) -> Any:
    """A launcher of its own, as on a machine of its own."""
    command = [sys.executable, "-c", WAITING, given.job.settings.model_dump_json(), str(folder / str(rank))]
    environment = os.environ | {"PET_NODE_RANK": str(rank)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def test_processes_do_not_outlive_the_one_that_waits(checkpoint: Path, tmp_path: Path) -> None:
    job(checkpoint, tmp_path, count=100_000).write(tmp_path / "job")
    settings = Training(batch_size=4, learning_rate=1e-2, processes=2)
    waits = subprocess.Popen([sys.executable, "-c", WAITING, settings.model_dump_json(), str(tmp_path / "job")])
    curve = tmp_path / "job" / distributed.CURVE
    wait_for(lambda: curve.is_file() and curve.stat().st_size > 0)
    started = processes(psutil.Process(waits.pid))
    assert len(started) == 2
    waits.kill()
    waits.wait()
    wait_for(lambda: not any(process.is_running() and process.status() != "zombie" for process in started))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("changes", "environment", "line"),
    [
        ({"processes": 4096, "batch_size": 4096}, {}, r"training.processes: found 4096, .* which has \d+ CPU cores"),
        ({"processes": 2, "machines": 2}, {}, "training.rendezvous: found none for 2 machines"),
        (
            {"processes": 2, "machines": 2, "rendezvous": "one"},
            {},
            "training.rendezvous: found one .* expected host:port",
        ),
        ({"processes": 1}, {"PET_NODE_RANK": "1"}, "PET_NODE_RANK: found 1, expected less than"),
        ({"processes": 1}, {"PET_NODE_RANK": "x"}, "PET_NODE_RANK: found 'x'"),
    ],
)
def test_what_this_machine_cannot_do_is_one_line(
    changes: Any, environment: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=line) as found:
        distributed.check_machine(Training(**({"batch_size": 4, "learning_rate": 1e-2} | changes)), CPU)
    assert "\n" not in str(found.value)
