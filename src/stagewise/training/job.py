"""What a phase is: all that decides what training makes of a model, and where it saves itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from stagewise.config import Training
from stagewise.curriculum.order import Rows
from stagewise.model.templates import Example
from stagewise.training.batching import LAYOUTS, Layout

OptimizerState = tuple[dict[str, torch.Tensor], dict[str, Any]]  # named tensors, named plain values


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where this phase's steps stand in the learning-rate schedule."""

    first: int  # steps of the schedule that went before
    total: int  # steps of the whole schedule


@dataclass(frozen=True, slots=True)
class Saving:
    """Where and how often a phase saves itself."""

    folder: Path
    every: int | None  # steps
    keep: int  # newest checkpoints that are left
    allow_inexact: bool
    end: Path | None = None  # where the phase's end is saved too, for a process that waits for it
    identity: Mapping[str, str] = field(default_factory=dict)  # of the step: only its own saves are gone on from

    @classmethod
    def of(cls, settings: Training, folder: Path, identity: Mapping[str, str] | None = None) -> "Saving":
        return cls(folder, settings.save_steps, settings.keep, settings.allow_inexact, identity=dict(identity or {}))


class Stored(Protocol):
    """Examples, wherever they are kept: `templates.Examples`, or a dict."""

    def __getitem__(self, key: tuple[int, int], /) -> Example: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A phase to train."""

    steps: Sequence[Rows]
    """In the plan's order."""
    examples: Stored
    """By (number of the stage, position)."""
    pad: int
    """Any token id."""
    settings: Training
    schedule: Schedule
    seed: int
    """From which dropout is drawn."""
    saving: Saving
    optimizer_state: OptimizerState | None = None
    """Of the phase before, where this one goes on with its optimizer."""
    layouts: Sequence[Layout] = LAYOUTS
    """Those that are right for the model."""
