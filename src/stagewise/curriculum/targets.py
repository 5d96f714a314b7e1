"""Which checkpoints a study makes: every phase of every arm for every seed, and the base model as phase 0.

    targets(config)                              Target(arm="base", phase=0, …), Target(arm="curriculum", phase=1, …), …
    target_of(config, "flat", 1, 42).checkpoint  "flat-1-s42"

A base that is pretrained is the same for every seed, and has none.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from stagewise.config import Config, ScratchModel
from stagewise.errors import ConfigError
from stagewise.record.facts import CheckpointFacts
from stagewise.record.manifest import Sealed

BASE = "base"


class Target(NamedTuple):
    """Which phase of which chain; phase 0 is the base, whose seed is None where all seeds share it."""

    arm: str
    phase: int
    seed: int | None
    phases: int

    @property
    def checkpoint(self) -> str:
        return f"{self.arm}-{self.phase}{'' if self.seed is None else f'-s{self.seed}'}"

    def run_name(self, kind: str) -> str:
        """What tells runs apart comes first: MLflow's list of runs shows about 14 characters."""
        seed = "" if self.seed is None else f" s{self.seed}"
        return f"{self.arm[0]}{self.phase}{seed} {kind} · {self.arm}"

    @property
    def is_final(self) -> bool:
        return self.phase == self.phases > 0

    @property
    def tags(self) -> dict[str, str]:
        return {"arm": self.arm, "phase": str(self.phase), "seed": str(self.seed)}

    @property
    def facts(self) -> dict[str, Any]:
        return {"arm": self.arm, "phase": self.phase, "seed": self.seed, "phases": self.phases}

    @classmethod
    def of(cls, record: Sealed) -> "Target":
        facts = record.facts(CheckpointFacts)
        return cls(facts.arm, facts.phase, facts.seed, facts.phases)


def target_of(config: Config, arm: str, phase: int, seed: int) -> Target:
    """Raises `ConfigError` for an arm, phase or seed that the study does not have."""
    if seed not in config.seeds:
        raise ConfigError(f"seed: found {seed}, expected one of {', '.join(map(str, config.seeds))}")
    if phase == 0:
        # A pretrained model is the same for every seed, so its checkpoint is made once.
        return Target(BASE, 0, seed if isinstance(config.model, ScratchModel) else None, 0)
    if arm not in config.arms:
        raise ConfigError(f"arm: found {arm!r}, expected one of {', '.join(config.arms)}")
    phases = len(config.phases(arm))
    if not 1 <= phase <= phases:
        raise ConfigError(f"phase: found {phase}, expected 0 for the base model, or 1 to {phases} of {arm}")
    return Target(arm, phase, seed, phases)


def targets(config: Config) -> Iterator[Target]:
    """Every phase of the study in the order in which they are made; a base that all seeds share comes once a seed."""
    for seed in config.seeds:
        yield target_of(config, BASE, 0, seed)
        for arm in config.arms:
            phases = target_of(config, arm, 1, seed).phases
            yield from (target_of(config, arm, phase, seed) for phase in range(1, phases + 1))
