"""One phase on several processes: torch's elastic launcher starts them, here and on other machines.

    outcome, state = train(Shared(job, checkpoint, compute), model, work, "flat-1-s42")

Each process is `python -m stagewise.training.distributed <job's folder>`: it loads the parent checkpoint and trains its
share of every step. The first one saves; what it saved at the end is read back into the process that waits.
"""

import ctypes
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from stagewise.config import Compute, Training
from stagewise.curriculum.order import Steps
from stagewise.errors import FAILED, INTERRUPTED, ConfigError, DiskError, TrainingError, foreseen
from stagewise.interrupts import handled
from stagewise.model import loading
from stagewise.model.device import set_up
from stagewise.model.templates import Examples
from stagewise.training import loop, token_cache
from stagewise.training.job import Job, OptimizerState, Saving, Schedule
from stagewise.training.loop import Outcome, StepReport
from stagewise.training.openmp import spin_little

JOB, STEPS, TOKENS = "job.json", "steps.npz", "tokens"
OPTIMIZER, CURVE, END, FAULT = "optimizer.safetensors", "curve.jsonl", "end", "fault.json"
TRACEBACK = "traceback-"  # and the number of the process
STOP = "stop"  # made by the process that waits, where it cannot go on
PR_SET_PDEATHSIG = 1  # of prctl.h
MEETING = 600  # seconds in which all machines have to come
SAVED = "the processes saved; rerun the same command to resume"
GRACE = 600  # seconds in which a process that is told to stop ends its step and saves


@dataclass(frozen=True, slots=True)
class Shared:
    """What every process is given."""

    job: Job
    checkpoint: Path
    """The parent's, which each loads."""
    compute: Compute

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        job, scalars = self.job, None
        if job.optimizer_state is not None:
            tensors, scalars = job.optimizer_state
            safetensors.torch.save_file(tensors, folder / OPTIMIZER)
        saving, steps = job.saving, Steps.of(job.steps)
        np.savez(folder / STEPS, rows=steps.rows, ends=steps.ends)
        assert isinstance(job.examples, Examples)
        token_cache.save(folder / TOKENS, {str(number): each for number, each in enumerate(job.examples.stages)})
        values = {
            "checkpoint": str(self.checkpoint),
            "compute": self.compute.model_dump(mode="json"),
            "pad": job.pad,
            "settings": job.settings.model_dump(mode="json"),
            "schedule": asdict(job.schedule),
            "seed": job.seed,
            "saving": {**asdict(saving), "folder": str(saving.folder), "end": None},
            "scalars": scalars,
            "layouts": job.layouts,
        }
        (folder / JOB).write_text(json.dumps(values))

    @classmethod
    def read(cls, folder: Path) -> Self:
        values = json.loads((folder / JOB).read_bytes())
        state = None
        if values["scalars"] is not None:
            state = safetensors.torch.load_file(folder / OPTIMIZER), values["scalars"]
        saving = values["saving"]
        with np.load(folder / STEPS, allow_pickle=False) as arrays:
            steps = Steps(arrays["rows"], arrays["ends"])
        job = Job(
            steps=steps,
            examples=Examples(list(token_cache.load(folder / TOKENS).values())),
            pad=values["pad"],
            settings=Training.model_validate(values["settings"]),
            schedule=Schedule(**values["schedule"]),
            seed=values["seed"],
            saving=Saving(**saving | {"folder": Path(saving["folder"]), "end": folder / END}),
            optimizer_state=state,
            layouts=tuple(values["layouts"]),
        )
        return cls(job, Path(values["checkpoint"]), Compute.model_validate(values["compute"]))


# --- the process that waits ---------------------------------------------------------------------


def machine_rank() -> int:
    """Which of the machines this is: 0 writes the record. The name is torchrun's own."""
    rank = os.environ.get("PET_NODE_RANK", "0")
    if not rank.isdecimal():
        raise ConfigError(f"PET_NODE_RANK: found {rank!r}, expected 0 for the machine that records, or 1, 2, …")
    return int(rank)


def check_machine(settings: Training, compute: Compute) -> None:
    """Raises `ConfigError` where this machine cannot run its share of the processes."""
    here = settings.processes // settings.machines
    gpu = compute.device != "cpu" and torch.cuda.is_available()
    most, kind = (torch.cuda.device_count(), "CUDA devices") if gpu else (len(os.sched_getaffinity(0)), "CPU cores")
    if here > most:
        raise ConfigError(
            f"training.processes: found {settings.processes}, {here} of them on this machine, which has {most} {kind}; "
            "expected no more than that"
        )
    if settings.machines > 1 and not re.fullmatch(r"[^\s/]+:\d+", _endpoint(settings)):
        raise ConfigError(
            f"training.rendezvous: found {_endpoint(settings) or 'none'} for {settings.machines} machines, expected "
            "host:port of the one that records, or the same in PET_RDZV_ENDPOINT"
        )
    if machine_rank() >= settings.machines:
        raise ConfigError(
            f"PET_NODE_RANK: found {machine_rank()}, expected less than training.machines, {settings.machines}"
        )


def _endpoint(settings: Training) -> str:
    return settings.rendezvous or os.environ.get("PET_RDZV_ENDPOINT", "")


def train(
    shared: Shared, model: Any, work: Path, name: str, on_step: Callable[[StepReport], None] = lambda report: None
) -> tuple[Outcome, OptimizerState]:
    """`loop.train` on `settings.processes` processes; `model` gets the weights. `name` is what machines
    that train together have in common.

    Raises `TrainingError` where one of them fails; SIGTERM and Ctrl-C have them save (`KeyboardInterrupt`).
    """
    folder, settings = work / "processes", shared.job.settings
    shared.write(folder)
    with _followed(folder / CURVE, on_step):
        launch(settings, folder, name)
    return loop.ended(model, shared.job, folder / END)


def launch(settings: Training, folder: Path, name: str) -> None:
    """Starts this machine's processes, each in a session of its own so that Ctrl-C reaches them once, through
    the launcher, and waits for their end."""
    config = LaunchConfig(
        min_nodes=settings.machines,
        max_nodes=settings.machines,
        nproc_per_node=settings.processes // settings.machines,
        run_id=name,
        **_where(settings),
        max_restarts=0,
        shutdown_timeout=GRACE,
    )
    spin_little()
    with handled(None, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):  # the launcher leaves its own
        try:
            elastic_launch(config, sys.executable)("-m", "stagewise.training.distributed", str(folder))
        except SignalException as error:
            raise KeyboardInterrupt(SAVED) from error
        except ChildFailedError as error:
            raise _failure(error, settings, folder) from error
        except dist.DistError as error:
            raise TrainingError(
                f"the {settings.machines} machines did not meet at {_endpoint(settings)} in {MEETING} s; give the same "
                f"command on each of them ({str(error).splitlines()[0]})"
            ) from error


def _where(settings: Training) -> dict[str, Any]:
    """Where this machine's launcher meets the others. The machine that records must hold the first process, and
    only a static rendezvous numbers processes by PET_NODE_RANK: the others do by address."""
    if settings.machines == 1:
        return {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": _endpoint(settings),
        "rdzv_configs": {"rank": machine_rank(), "timeout": MEETING},
    }


def _failure(error: ChildFailedError, settings: Training, folder: Path) -> BaseException:
    if (folder / FAULT).is_file():  # what was foreseen, as the process found it
        disk = any(failure.exitcode == FAILED for failure in error.failures.values())
        return (DiskError if disk else TrainingError)((folder / FAULT).read_text())
    # One that was killed is the cause: the others fail for want of it, maybe seen at the same time.
    rank, failure = min(error.failures.items(), key=lambda each: (each[1].exitcode >= 0, each[1].timestamp))
    if failure.exitcode == INTERRUPTED:  # on another machine; its processes tell these
        return KeyboardInterrupt(SAVED)
    who = f"process {rank} of {settings.processes}"
    if failure.exitcode < 0:
        return TrainingError(
            f"{who} was ended by {signal.Signals(-failure.exitcode).name}, and the others with it; "
            "rerun the same command to resume from the last save"
        )
    told = folder / f"{TRACEBACK}{rank}"
    said = told.read_text() if told.is_file() else "what it said stands above"
    return RuntimeError(f"{who} failed with exit code {failure.exitcode}: {said}")


@contextmanager
def _followed(path: Path, on_step: Callable[[StepReport], None]) -> Iterator[None]:
    """Tells of every step that the first process writes down, as it does; of all of them by the end. Where that
    raises, the processes save and end, and it is raised here."""
    over = threading.Event()
    path.touch()

    def follow() -> None:
        with path.open() as file:
            kept = ""
            while True:
                last = over.is_set()
                kept += file.read()
                *lines, kept = kept.split("\n")
                try:
                    for line in lines:
                        on_step(StepReport(*json.loads(line)))
                except BaseException:
                    (path.parent / STOP).touch()
                    raise
                if last:
                    return
                over.wait(0.2)

    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(follow)
        try:
            yield
        finally:
            over.set()
            told.result()  # raises what `on_step` raised


# --- one of the processes -----------------------------------------------------------------------


def main(folder: Path) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing is written once nobody holds the lock
    shared = Shared.read(folder)
    # Also for tensors on the CPU, where saves are gathered. A machine that is late is waited for.
    dist.init_process_group("cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo", timeout=timedelta(hours=1))
    code = 0
    try:
        _train(shared, folder)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = 1
        if said := foreseen(error):
            code = said.exit_code
            (folder / FAULT).write_text(str(said))
        else:
            (folder / f"{TRACEBACK}{dist.get_rank()}").write_text(traceback.format_exc())  # told where it is the cause
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # no teardown: threads of gloo's that outlive it abort a process that is done, or wait for ever


def _train(shared: Shared, folder: Path) -> None:
    settings = shared.job.settings
    accelerator = set_up(shared.compute, settings.processes // settings.machines)
    first = dist.get_rank() == 0
    with (folder / CURVE).open("a") if first else open(os.devnull, "w") as curve:

        def on_step(report: StepReport) -> None:
            curve.write(json.dumps(astuple(report)) + "\n")
            curve.flush()
            if (folder / STOP).exists():
                signal.raise_signal(signal.SIGTERM)

        loop.train(shared.job, loading.load(shared.checkpoint, loop.WEIGHTS).model, accelerator, on_step)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
