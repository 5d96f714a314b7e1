"""Trains one phase: the plan's steps in the plan's order, and nothing else.

    outcome, state = train(model, pad, examples, phase.steps, settings, schedule, 42, accelerator, saving)
    outcome.curve[0]    StepReport(step=1, loss=3.91, learning_rate=0.001, grad_norm=1.7, examples=64, …)

The loss of a step is the mean over all its loss tokens, so neither the size of a micro-batch nor
padding changes it. Within a step examples are grouped by length, which saves padding and, since a
step's gradient is a sum, changes nothing else.
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
from torch.nn.functional import cross_entropy
from transformers import Adafactor

from stagewise import checkpoints
from stagewise.config import Compute, Training
from stagewise.errors import ConfigError, TrainingError
from stagewise.formatting import IGNORED, Example
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
    torch.manual_seed(seed)  # dropout
    optimizer = _optimizer(model, settings)
    if optimizer_state is not None:
        checkpoints.restore_optimizer(optimizer, *optimizer_state)
    outcome = _resumed(model, optimizer, saving)
    for report in outcome.curve:
        on_step(report)
    prepared, prepared_optimizer = accelerator.prepare(model, optimizer)
    prepared.train()
    with _deferred_signals() as interrupted:
        for index in range(len(outcome.curve), len(steps)):
            rate = learning_rate(settings, schedule.first + index, schedule.total)
            report = _take(
                prepared, prepared_optimizer, steps[index], examples, index + 1, rate, pad, settings, accelerator
            )
            outcome.consumed.extend(steps[index])
            outcome.curve.append(report)
            on_step(report)
            due = saving.every is not None and (index + 1) % saving.every == 0 and index + 1 < len(steps)
            if due or interrupted():
                checkpoints.save(saving.folder, index + 1, model, optimizer, _progress(outcome), saving.keep)
            if interrupted():
                raise KeyboardInterrupt(
                    f"saved at step {index + 1} of {len(steps)}; the same command goes on from there"
                )
    model.eval()
    return outcome, checkpoints.optimizer_state(optimizer)


def _take(
    model: Any,
    optimizer: Any,
    step: Step,
    examples: Mapping[tuple[str, int], Example],
    number: int,
    rate: float,
    pad: int,
    settings: Training,
    accelerator: Accelerator,
) -> StepReport:
    """One optimizer step on the examples of `step`."""
    started = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = rate
    batches = micro_batches([examples[instance.example] for instance in step], settings.micro_batch_tokens)
    loss, loss_tokens = backward(model, batches, pad, settings.loss_on, accelerator)
    if not math.isfinite(loss):
        raise TrainingError(f"step {number}: the loss is {loss}; a lower training.learning_rate may help")
    norm = float(accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm or math.inf))
    optimizer.step()
    optimizer.zero_grad()
    tokens = sum(len(example.ids) for batch in batches for example in batch)
    computed = sum(len(batch) * max(len(example.ids) for example in batch) for batch in batches)
    seconds = time.perf_counter() - started
    return StepReport(number, loss, rate, norm, len(step), loss_tokens, tokens, computed - tokens, seconds)


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
        if received:
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


def micro_batches(examples: Sequence[Example], limit: int) -> list[list[Example]]:
    """The examples by length, in groups of at most `limit` tokens once padded to their longest."""
    batches: list[list[Example]] = []
    for example in sorted(examples, key=lambda example: len(example.ids)):
        # Sorted upwards, so the newest example is the longest of its group.
        if batches and (len(batches[-1]) + 1) * len(example.ids) <= limit:
            batches[-1].append(example)
        else:
            batches.append([example])
    return batches


def backward(
    model: Any, batches: Sequence[Sequence[Example]], pad: int, loss_on: str, accelerator: Accelerator
) -> tuple[float, int]:
    """Adds the gradient of the step's mean loss to the model; returns that loss and its loss tokens."""
    total, count = torch.zeros((), device=accelerator.device), 0
    # A row's first token is never predicted, so it takes no part in the loss even where it has a label.
    count = sum(label != IGNORED for batch in batches for example in batch for label in example.labels(loss_on)[1:])
    for batch in batches:
        loss = summed_loss(model, batch, pad, loss_on, accelerator) / count
        accelerator.backward(loss)
        total += loss.detach()
    return float(total), count


def summed_loss(model: Any, batch: Sequence[Example], pad: int, loss_on: str, accelerator: Accelerator) -> torch.Tensor:
    """Cross entropy summed over the loss tokens of a right-padded batch, in float32."""
    width = max(len(example.ids) for example in batch)
    rows = [list(example.ids) + [pad] * (width - len(example.ids)) for example in batch]
    marks = [[1] * len(example.ids) + [0] * (width - len(example.ids)) for example in batch]
    wanted = [example.labels(loss_on) + [IGNORED] * (width - len(example.ids)) for example in batch]
    ids, mask, labels = (torch.tensor(values, device=accelerator.device) for values in (rows, marks, wanted))
    # Logits are taken only from the first position on that has a loss: a large vocabulary makes them dear.
    first = min(example.prompt for example in batch) - 1 if loss_on == "completion" else 0
    keep = torch.arange(max(first, 0), width - 1, device=accelerator.device)
    with accelerator.autocast():
        logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=keep, use_cache=False).logits
    return cross_entropy(
        logits.float().flatten(0, 1), labels[:, keep + 1].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def _optimizer(model: Any, settings: Training) -> Any:
    """Weight decay applies to matrices alone, as usual: not to biases and norms."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adafactor":
        return Adafactor(groups, lr=settings.learning_rate, scale_parameter=False, relative_step=False)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
