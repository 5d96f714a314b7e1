"""Trains one phase: the plan's steps in the plan's order, and nothing else.

    outcome, state = train(job, model, accelerator)
    outcome.curve[0]    StepReport(step=1, loss=3.91, learning_rate=0.001, grad_norm=1.7, examples=64, …)

The loss of a step is the mean over all its loss tokens, so how the step is cut and laid out
(`batching`) does not change it.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from stagewise.config import Training
from stagewise.curriculum.order import Instance, Step
from stagewise.errors import TrainingError
from stagewise.hashing import seed_of
from stagewise.interrupts import handled
from stagewise.model.device import repeatable, return_freed_memory
from stagewise.model.templates import Example
from stagewise.training import checkpoints, optimizers
from stagewise.training.attention import attending
from stagewise.training.batching import Batching, backward
from stagewise.training.job import Job, OptimizerState, Saving

WEIGHTS = "float32"
"""What weights are trained and saved in, whatever the base model is held in. At fine-tuning rates most updates are
smaller than half a unit in the last place of a bfloat16 weight, and would be rounded away one by one."""


@dataclass(frozen=True, slots=True)
class StepReport:
    step: int  # 1-based, within the phase
    loss: float  # mean over the step's loss tokens
    learning_rate: float
    grad_norm: float  # before clipping
    examples: int
    loss_tokens: int
    tokens: int  # real tokens, padding not counted
    padding: int  # padding tokens that were computed
    seconds: float


@dataclass(slots=True)
class Outcome:
    """What went through the model, as counted there."""

    consumed: list[Instance] = field(default_factory=list)
    curve: list[StepReport] = field(default_factory=list)
    resumed_at: int = 0  # steps that an earlier process had done
    passed_over: list[str] = field(default_factory=list)  # checkpoints that were not whole
    lost: list[str] = field(default_factory=list)  # state that was gone on without, where that is allowed

    def total(self, name: str) -> float:
        return float(sum(getattr(report, name) for report in self.curve))


def train(
    job: Job, model: Any, accelerator: Accelerator, on_step: Callable[[StepReport], None] = lambda report: None
) -> tuple[Outcome, OptimizerState]:
    """Trains `model`, in float32 (`WEIGHTS`), in place on the job's steps.

    Goes on from the newest whole checkpoint in `job.saving.folder`, to the same bits as without the break; the
    curve then holds the earlier steps too, and `on_step` is told of all. SIGTERM and Ctrl-C save before
    they end it (`KeyboardInterrupt`), and so does what `on_step` raises. Raises `TrainingError` at the first
    loss or gradient that is not finite.
    """
    settings, saving = job.settings, job.saving
    dtypes = {parameter.dtype for parameter in model.parameters()}
    assert dtypes == {getattr(torch, WEIGHTS)}, f"found weights in {dtypes}; load the model in {WEIGHTS} to train it"
    with repeatable(accelerator.device), _made_ready(model, settings):
        network = _spread(model, settings, accelerator)
        optimizer = optimizers.of(model, settings)  # of parameters as they are spread
        stepping = accelerator.prepare_optimizer(optimizer)
        network.train()
        batching = Batching.of(model, job.pad, settings, accelerator, job.layouts)
        stepper = _Stepper(network, stepping, job.examples, settings, batching, accelerator)
        if settings.torch_compile:
            stepper.warm_up(job.steps[0])
        torch.manual_seed(seed_of("dropout", job.seed, accelerator.process_index))
        if job.optimizer_state is not None:
            checkpoints.restore_optimizer(optimizer, *job.optimizer_state)
        outcome = _resumed(model, optimizer, saving)
        for report in outcome.curve:
            on_step(report)

        def save(step: int) -> None:
            progress = _progress(outcome) | {"identity": dict(saving.identity)}
            checkpoints.save(saving.folder, step, model, optimizer, progress, saving.keep)

        _run(stepper, job, outcome, save, on_step)
        if saving.end is not None:
            checkpoints.save(saving.end, len(job.steps), model, optimizer, _progress(outcome), keep=1)
    model.eval()
    return_freed_memory()
    return outcome, checkpoints.optimizer_state(optimizer)


def _run(
    stepper: "_Stepper",
    job: Job,
    outcome: Outcome,
    save: Callable[[int], None],
    on_step: Callable[[StepReport], None],
) -> None:
    """Takes the steps that `outcome` does not hold yet, adds them to it, and saves when due or interrupted."""
    steps, every = job.steps, job.saving.every
    with _deferred_signals() as interrupted:
        for index in range(len(outcome.curve), len(steps)):
            rate = learning_rate(stepper.settings, job.schedule.first + index, job.schedule.total)
            report = stepper.take(steps[index], index + 1, rate)
            outcome.consumed.extend(steps[index])
            outcome.curve.append(report)
            try:
                on_step(report)
            except Exception:  # a server that is gone, say: the step itself is done
                if stepper.accelerator.num_processes == 1:  # else the others would have to save too
                    save(index + 1)
                raise
            due = every is not None and (index + 1) % every == 0 and index + 1 < len(steps)
            stop = _any(interrupted(), stepper.accelerator)
            if due or stop:
                save(index + 1)
            if stop:
                raise KeyboardInterrupt(f"saved at step {index + 1} of {len(steps)}; rerun the same command to resume")


def _any(flag: bool, accelerator: Accelerator) -> bool:
    """Whether it is set on any process: they stop at the same step or wait for each other for ever."""
    if accelerator.num_processes == 1:
        return flag
    flags = torch.tensor(float(flag), device=accelerator.device)
    return bool(accelerator.reduce(flags, "sum") > 0)


def _spread(model: Any, settings: Training, accelerator: Accelerator) -> Any:
    """The model over all processes, on their devices: a copy on each (`ddp`) or a shard (`fsdp`)."""
    if accelerator.num_processes > 1 and settings.strategy == "fsdp":
        model.to(accelerator.device)
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        for block in _blocks(model):
            fully_shard(block, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    return accelerator.prepare_model(model)


def _blocks(model: Any) -> list[torch.nn.Module]:
    """The layers that are gathered one at a time, as transformers names their classes."""
    names = set(model._no_split_modules or ())
    return [module for module in model.modules() if type(module).__name__ in names]


@contextmanager
def _made_ready(model: Any, settings: Training) -> Iterator[None]:
    """The model as its settings want it for training, and as it was once that is over."""
    with attending(model):
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        # Layer by layer: all share one compiled code, which takes seconds where a whole model takes minutes.
        compiled = (_blocks(model) or [model]) if settings.torch_compile else []
        for block in compiled:
            block.compile(dynamic=True)
        try:
            yield
        finally:
            for block in compiled:
                block._compiled_call_impl = None
            if settings.gradient_checkpointing:
                model.gradient_checkpointing_disable()


@dataclass(frozen=True, slots=True)
class _Stepper:
    """Takes optimizer steps."""

    model: Any  # as accelerate prepared it, like the optimizer
    optimizer: Any
    examples: Mapping[tuple[str, int], Example]
    settings: Training
    batching: Batching
    accelerator: Accelerator

    def warm_up(self, step: Step) -> None:
        """Compiles. Code is made for the shapes that are seen first, so a resumed phase has to see the same."""
        backward(self.model, [self.examples[one.example] for one in step], self.batching, self.accelerator)
        self.optimizer.zero_grad()

    def take(self, step: Step, number: int, rate: float) -> StepReport:
        """One optimizer step on the examples of `step`."""
        started = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        examples = [self.examples[instance.example] for instance in step]
        total, loss_tokens, padding = backward(self.model, examples, self.batching, self.accelerator)
        limit = self.settings.max_grad_norm or math.inf
        total_norm = self.accelerator.clip_grad_norm_(self.model.parameters(), limit)
        total_norm = total_norm.full_tensor() if isinstance(total_norm, DTensor) else total_norm
        # Read here and together: the host waits for the device once a step.
        loss, norm = torch.stack([total, total_norm.to(total)]).tolist()
        for name, value in (("loss", loss), ("norm of the gradient", norm)):
            if not math.isfinite(value):
                raise TrainingError(f"step {number}: the {name} is {value}; a lower training.learning_rate may help")
        self.optimizer.step()
        self.optimizer.zero_grad()
        tokens = sum(len(example.ids) for example in examples)
        seconds = time.perf_counter() - started
        return StepReport(number, loss, rate, norm, len(step), loss_tokens, tokens, padding, seconds)


def _resumed(model: Any, optimizer: Any, saving: Saving) -> Outcome:
    def own() -> checkpoints.Found:
        """Only the process that saves knows whose save it must be; another machine has none."""
        newest = checkpoints.newest(saving.folder, saving.allow_inexact)
        if newest.folder is not None:
            _check_identity(newest.folder, checkpoints.progress_of(newest.folder)["identity"], saving.identity)
        return newest

    found = checkpoints.agreed(own)
    if found.folder is None:
        return Outcome(passed_over=found.passed_over)
    progress = checkpoints.restore(found.folder, model, optimizer)
    return _outcome(progress, len(progress["curve"]), found.passed_over, found.lost)


def _progress(outcome: Outcome) -> dict[str, Any]:
    return {
        "consumed": outcome.consumed,
        "curve": [astuple(report) for report in outcome.curve],
        "resumed_at": outcome.resumed_at,
        "passed_over": outcome.passed_over,
        "lost": outcome.lost,
    }


def save_end(job: Job, model: Any, outcome: Outcome, state: OptimizerState) -> None:
    """Saves a phase that was trained to its end, for a process that could not do with it what it had to."""
    saving = job.saving
    progress = _progress(outcome) | {"identity": dict(saving.identity)}
    checkpoints.save_state(saving.folder, len(outcome.curve), model, state, progress, saving.keep)


def ended(model: Any, settings: Training, end: Path) -> tuple[Outcome, OptimizerState]:
    """What `train` returned in the processes that saved their phase's end there; its weights go into `model`."""
    optimizer = optimizers.of(model, settings)
    found = checkpoints.newest(end, allow_inexact=False)
    if found.folder is None:
        raise AssertionError(f"{end}: the processes ended well and left nothing whole: {found.passed_over}")
    progress = checkpoints.restore(found.folder, model, optimizer)
    outcome = _outcome(progress, progress["resumed_at"], progress["passed_over"], [])
    return outcome, checkpoints.optimizer_state(optimizer)


def _check_identity(folder: Path, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    differing = [
        f"{key}: found {found.get(key, 'none')}, expected {expected.get(key, 'none')}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]
    if differing:
        raise TrainingError(
            f"checkpoint {folder}: was saved by another step, remove it to start this one afresh; "
            f"what differs: {'; '.join(differing)}"
        )


def _outcome(progress: Mapping[str, Any], resumed_at: int, passed_over: list[str], lost: list[str]) -> Outcome:
    consumed = [Instance(*entry) for entry in progress["consumed"]]
    curve = [StepReport(*entry) for entry in progress["curve"]]
    return Outcome(consumed, curve, resumed_at, passed_over, [*progress["lost"], *lost])


@contextmanager
def _deferred_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C wait for the end of the step, so that what is saved is whole; a second Ctrl-C does not."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        # Of Ctrl-C only: a launcher that gets one too sends SIGTERM after it.
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    with handled(note, signal.SIGINT, signal.SIGTERM):
        yield lambda: bool(received)


def learning_rate(settings: Training, step: int, total: int) -> float:
    """The rate of 0-based `step` of `total`: a linear rise over the warm-up, then the schedule's fall.

    The warm-up is counted as transformers' Trainer counts it, and from its end on the rates are the Trainer's. The
    Trainer's first update has the rate zero and changes nothing; here the rise is of as many equal parts and one more,
    so that no update is lost and a warm-up of one step is one.
    """
    warmup = math.ceil(total * settings.warmup)
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - warmup)
    share = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return settings.learning_rate * share[settings.schedule]
