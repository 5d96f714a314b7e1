"""Trains one phase: the plan's steps in the plan's order, and nothing else.

    outcome, state = train(model, pad, examples, phase.steps, settings, schedule, 42, accelerator, saving)
    outcome.curve[0]    StepReport(step=1, loss=3.91, learning_rate=0.001, grad_norm=1.7, examples=64, …)

The loss of a step is the mean over all its loss tokens, so how the step is cut and laid out
(`batching`) does not change it.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from transformers import Adafactor

from stagewise import checkpoints
from stagewise.batching import Batching, attending, backward, micro_batches
from stagewise.config import Compute, Training
from stagewise.errors import ConfigError, TrainingError
from stagewise.formatting import Example
from stagewise.plan import Instance, Step

OptimizerState = tuple[dict[str, torch.Tensor], dict[str, Any]]  # named tensors, named plain values


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where this phase's steps stand in the learning-rate schedule."""

    first: int  # steps of the schedule that went before
    total: int  # steps of the whole schedule


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


@dataclass(frozen=True, slots=True)
class Saving:
    """Where and how often a phase saves itself."""

    folder: Path
    every: int | None  # steps
    keep: int  # newest checkpoints that are left
    allow_inexact: bool

    @classmethod
    def of(cls, settings: Training, folder: Path) -> "Saving":
        return cls(folder, settings.save_steps, settings.keep, settings.allow_inexact)


@dataclass(slots=True)
class Outcome:
    """What went through the model, as counted there."""

    consumed: list[Instance] = field(default_factory=list)
    curve: list[StepReport] = field(default_factory=list)
    resumed_at: int = 0  # steps that an earlier process had done
    passed_over: list[str] = field(default_factory=list)  # checkpoints that were not whole

    def total(self, name: str) -> float:
        return float(sum(getattr(report, name) for report in self.curve))


def set_up(compute: Compute, precision: str = "float32") -> Accelerator:
    """Device, threads and determinism of this process."""
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("compute.device: found cuda, but there is no CUDA device here; use auto or cpu")
    torch.set_num_threads(threads(compute))
    # warn_only: an operation without a deterministic form is named on stderr and not forbidden.
    torch.use_deterministic_algorithms(True, warn_only=True)
    return Accelerator(cpu=compute.device == "cpu", mixed_precision="bf16" if precision == "bfloat16" else "no")


def threads(compute: Compute) -> int:
    return compute.threads or len(os.sched_getaffinity(0))


def train(
    model: Any,
    pad: int,
    examples: Mapping[tuple[str, int], Example],
    steps: Sequence[Step],
    settings: Training,
    schedule: Schedule,
    seed: int,
    accelerator: Accelerator,
    saving: Saving,
    optimizer_state: OptimizerState | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> tuple[Outcome, OptimizerState]:
    """Trains `model` in place on `steps`; `examples` maps (stage, position) to tokens, `pad` is any token id.

    Goes on from the newest whole checkpoint in `saving.folder`, to the same bits as without the break; the
    curve then holds the earlier steps too, and `on_step` is told of all. SIGTERM and Ctrl-C save before
    they end it (`KeyboardInterrupt`). Raises `TrainingError` at the first loss that is not finite.
    """
    optimizer = _optimizer(model, settings)
    with _made_ready(model, settings):
        compiled = torch.compile(model, dynamic=True) if settings.torch_compile else model
        network, stepping = accelerator.prepare(compiled, optimizer)
        network.train()
        batching = Batching.of(model, pad, settings, accelerator)
        stepper = _Stepper(network, stepping, examples, settings, batching, accelerator)
        if settings.torch_compile:
            stepper.warm_up(steps[0])
        torch.manual_seed(seed)  # dropout
        if optimizer_state is not None:  # only now: to prepare an optimizer casts its state to the weights' dtype
            checkpoints.restore_optimizer(optimizer, *optimizer_state)
        outcome = _resumed(model, optimizer, saving)
        for report in outcome.curve:
            on_step(report)

        def save(step: int) -> None:
            checkpoints.save(saving.folder, step, model, optimizer, _progress(outcome), saving.keep)

        _run(stepper, steps, schedule, outcome, saving.every, save, on_step)
    model.eval()
    return outcome, checkpoints.optimizer_state(optimizer)


def _run(
    stepper: "_Stepper",
    steps: Sequence[Step],
    schedule: Schedule,
    outcome: Outcome,
    every: int | None,
    save: Callable[[int], None],
    on_step: Callable[[StepReport], None],
) -> None:
    """Takes the steps that `outcome` does not hold yet, adds them to it, and saves when due or interrupted."""
    with _deferred_signals() as interrupted:
        for index in range(len(outcome.curve), len(steps)):
            rate = learning_rate(stepper.settings, schedule.first + index, schedule.total)
            report = stepper.take(steps[index], index + 1, rate)
            outcome.consumed.extend(steps[index])
            outcome.curve.append(report)
            on_step(report)
            due = every is not None and (index + 1) % every == 0 and index + 1 < len(steps)
            if due or interrupted():
                save(index + 1)
            if interrupted():
                raise KeyboardInterrupt(
                    f"saved at step {index + 1} of {len(steps)}; the same command goes on from there"
                )


@contextmanager
def _made_ready(model: Any, settings: Training) -> Iterator[None]:
    """The model as its settings want it for training, and as it was once that is over."""
    with attending(model):
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            yield
        finally:
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
        batches = micro_batches([self.examples[instance.example] for instance in step], self.batching)
        backward(self.model, batches, self.batching, self.accelerator)
        self.optimizer.zero_grad()

    def take(self, step: Step, number: int, rate: float) -> StepReport:
        """One optimizer step on the examples of `step`."""
        started = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batches = micro_batches([self.examples[instance.example] for instance in step], self.batching)
        total, loss_tokens = backward(self.model, batches, self.batching, self.accelerator)
        limit = self.settings.max_grad_norm or math.inf
        total_norm = self.accelerator.clip_grad_norm_(self.model.parameters(), limit)
        self.optimizer.step()
        self.optimizer.zero_grad()
        # Read here and together: the host waits for the device once a step.
        loss, norm = torch.stack([total, total_norm.to(total)]).tolist()
        if not math.isfinite(loss):
            raise TrainingError(f"step {number}: the loss is {loss}; a lower training.learning_rate may help")
        tokens = sum(len(example.ids) for batch in batches for example in batch)
        padding = sum(self.batching.computed(batch) for batch in batches) - tokens
        seconds = time.perf_counter() - started
        return StepReport(number, loss, rate, norm, len(step), loss_tokens, tokens, padding, seconds)


def _resumed(model: Any, optimizer: Any, saving: Saving) -> Outcome:
    found = checkpoints.newest(saving.folder, saving.allow_inexact)
    if found.folder is None:
        return Outcome(passed_over=found.passed_over)
    progress = checkpoints.restore(found.folder, model, optimizer)
    consumed = [Instance(*entry) for entry in progress["consumed"]]
    curve = [StepReport(*entry) for entry in progress["curve"]]
    return Outcome(consumed, curve, len(curve), found.passed_over)


def _progress(outcome: Outcome) -> dict[str, Any]:
    return {"consumed": outcome.consumed, "curve": [astuple(report) for report in outcome.curve]}


@contextmanager
def _deferred_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C wait for the end of the step, so that what is saved is whole; a second one does not."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        # Of Ctrl-C alone: a launcher that gets one too sends SIGTERM after it.
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt("a second signal")
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def learning_rate(settings: Training, step: int, total: int) -> float:
    """The rate of 0-based `step` of `total`: a linear rise over the warm-up, then the schedule's fall."""
    warmup = round(settings.warmup * total)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    share = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return settings.learning_rate * share[settings.schedule]


def _optimizer(model: Any, settings: Training) -> Any:
    """Weight decay applies to matrices alone, as usual: not to biases and norms."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adafactor":
        return Adafactor(groups, lr=settings.learning_rate, scale_parameter=False, relative_step=False)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
