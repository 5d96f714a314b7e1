"""Arms of small studies, built without a config's file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stagewise.config import Config
from stagewise.curriculum.arms import Material, build
from stagewise.curriculum.order import Phase, Rows

SOURCE = {"generate": {"seed": 1, "count": 9}}


def config(epochs: Sequence[int], batch: int, arms: Any = ("curriculum",), scope: str = "per_phase") -> Config:
    """With stages s0, s1, … of these epochs."""
    stages = [
        {"name": f"s{number}", "rules": [{"steps": {"min": number, "max": number}}], "epochs": each}
        for number, each in enumerate(epochs)
    ]
    return Config.model_validate(
        {
            "study": "small",
            "data": {"train": SOURCE, "eval": SOURCE},
            "split": {"stages": stages},
            "model": {"scratch": {}},
            "training": {"batch_size": batch, "learning_rate": 1e-3, "schedule_scope": scope},
            "arms": list(arms) if isinstance(arms, tuple) else arms,
        }
    )


def material(study: Config, sizes: Sequence[int], seed: int = 1, signal: Sequence[Sequence[int]] = ()) -> Material:
    """Stages of these sizes; `signal` is every signal's values by stage, and else the number of the line."""
    positions = {stage.name: range(size) for stage, size in zip(study.split.stages, sizes, strict=True)}
    values = dict(zip(positions, map(np.asarray, signal or map(range, sizes)), strict=True))
    return Material(study, positions, seed, dict.fromkeys(("steps", "characters", "tokens"), values))


def arm_of(arm: str, sizes: Sequence[int], epochs: Sequence[int], batch: int, seed: int = 1) -> tuple[Phase, ...]:
    return build(material(config(epochs, batch), sizes, seed), arm)


def rows_of(phases: Sequence[Phase]) -> Rows:
    return np.concatenate([phase.rows for phase in phases])


def steps_of(phases: Sequence[Phase]) -> list[Rows]:
    return [step for phase in phases for step in phase.steps]
