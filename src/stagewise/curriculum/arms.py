"""The kinds of arms, each built from the stages' examples. Pure.

    material = Material(config, {"a": range(5), "b": range(3)}, seed=42, signals={})
    build(material, "curriculum")    (Phase(index=1, stages=("a",), …), Phase(index=2, stages=("b",), …))

`KINDS` is the one place where kinds are told apart; a new one is a section of `config/arm.py` and a line there.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stagewise.config import BASELINE, Config, Controlled, Mixed, OwnBudget, Paced, Phased
from stagewise.curriculum import mixture, pacing
from stagewise.curriculum.order import Numbers, Phase, Rows, cut, deal, empty, numbered, permutation
from stagewise.curriculum.orderings import ordered
from stagewise.errors import ConfigError

Values = Mapping[str, Mapping[str, Numbers]]


@dataclass(frozen=True, slots=True)
class Material:
    """What arms are made of."""

    config: Config
    positions: Mapping[str, Sequence[int] | Numbers]
    """Of each stage the lines of its file that are trained on, ascending."""
    seed: int
    signals: Values
    """By name of the signal, then of the stage: a value for each of `positions`."""

    @property
    def stages(self) -> list[str]:
        return [stage.name for stage in self.config.split.stages]

    def rows(self, stages: Sequence[str]) -> Rows:
        """An instance of each example, in source order: stage after stage, line after line."""
        blocks = [empty()]
        for stage in stages:
            positions = np.asarray(self.positions[stage], dtype=np.int32)
            number = np.full_like(positions, self.stages.index(stage))
            blocks.append(np.stack([number, positions, np.zeros_like(positions)], axis=1))
        return np.concatenate(blocks)

    def values(self, signal: str, stages: Sequence[str]) -> Numbers:
        """The signal's value of each of `rows(stages)`."""
        return np.concatenate([np.zeros(0, np.int64), *(self.signals[signal][stage] for stage in stages)])


class Draft(NamedTuple):
    """A phase before its instances are counted."""

    stages: tuple[str, ...]
    rows: Rows
    sizes: Numbers  # of its optimizer steps


Drafts = list[Draft]


def build(material: Material, name: str) -> tuple[Phase, ...]:
    """The phases of an arm for one seed. Raises `ConfigError` for what cannot be done with these stages."""
    drafts = _drafts(material, name)
    rows = numbered([draft.rows for draft in drafts])
    return tuple(
        Phase(index, draft.stages, each, draft.sizes)
        for index, (draft, each) in enumerate(zip(drafts, rows, strict=True), start=1)
    )


def shares(material: Material, name: str, phases: Sequence[Phase]) -> dict[str, dict[str, list[float]]]:
    """Of a mixture, by stage: what its milestones ask for and what its order gives, in each tenth of training."""
    arm = material.config.arm(name)
    if not isinstance(arm, Mixed):
        return {}
    compared = mixture.shares(np.concatenate([phase.rows[:, 0] for phase in phases]), *_weights(material, arm))
    return {
        stage: {"asked": compared.asked[number].round(4).tolist(), "given": compared.given[number].round(4).tolist()}
        for number, stage in enumerate(material.stages)
    }


def _drafts(material: Material, name: str) -> Drafts:
    arm = material.config.arm(name)
    return KINDS[type(arm)](material, name, arm)


def _phased(material: Material, name: str, arm: Phased) -> Drafts:
    """Of each phase its epochs one after the other, and what it replays."""
    rounds, before, drafts = Counter[tuple[str, ...]](), list[str](), Drafts()
    for number, epochs in enumerate(material.config.epochs_of_phases(name, arm), start=1):
        stages, rows = tuple(epochs), [empty()]
        for epoch in range(max(epochs.values())):
            taken = tuple(stage for stage in stages if epochs[stage] > epoch)
            rows.append(_epoch(material, taken, arm, rounds[taken]))
            rounds[taken] += 1
        together = np.concatenate(rows)
        if arm.replay is not None:
            earlier = [stage for stage in before if stage not in stages]
            together = _replayed(material, together, earlier, arm.replay.share, f"{name}/{material.seed}/{number}")
        drafts.append(Draft(stages, together, cut(len(together), material.config.training.batch_size)))
        before += [stage for stage in stages if stage not in before]
    return drafts


def _epoch(material: Material, stages: tuple[str, ...], arm: Phased, number: int) -> Rows:
    """Each example of the stages once: at random, anew in each round by the seed and alike in all arms; or as the
    arm's ordering has it."""
    rows, salt = material.rows(stages), f"{material.seed}/{'+'.join(stages)}/{number}"
    if arm.order is None:
        return rows[permutation(len(rows), salt)]
    return rows[ordered(arm.order, rows[:, 0], lambda signal: material.values(signal, stages), salt)]


def _replayed(material: Material, rows: Rows, earlier: Sequence[str], share: float, salt: str) -> Rows:
    """With examples of earlier stages at places drawn at random, so many that they are `share` of all."""
    pool = material.rows(earlier)
    extra = round(len(rows) * share / (1 - share)) if len(pool) else 0
    rounds = range(-(-extra // max(1, len(pool))))
    repeats = [pool[permutation(len(pool), f"{salt}/replay/{number}")] for number in rounds]
    together = np.concatenate([rows, *repeats])[: len(rows) + extra]
    places = np.sort(permutation(len(together), f"{salt}/places")[:extra])
    mixed = np.empty_like(together)
    own = np.ones(len(together), dtype=bool)
    own[places] = False
    mixed[own], mixed[places] = rows, together[len(rows) :]
    return mixed


def _mixed(material: Material, name: str, arm: Mixed) -> Drafts:
    """The curriculum's instances, stage by stage in its order, at the times that the milestones give them."""
    like = _drafts(material, BASELINE)
    together = np.concatenate([draft.rows for draft in like])
    by_stage = [together[together[:, 0] == number] for number in range(len(material.stages))]
    places, weights = _weights(material, arm)
    sequence = mixture.placed([len(rows) for rows in by_stage], places, weights)
    if isinstance(sequence, int):
        raise ConfigError(f"arms.{name}.mix: stage {material.stages[sequence]} has examples, and a weight nowhere")
    mixed = np.concatenate(by_stage)[sequence]
    compared = mixture.shares(mixed[:, 0], places, weights)
    if compared.gap > mixture.GAP and not arm.allow_gap:
        raise ConfigError(f"arms.{name}.mix: {compared.in_words(material.stages)}; change weights or set allow_gap")
    return _cut_like(like, mixed, tuple(material.stages))


def _weights(material: Material, arm: Mixed) -> tuple[list[float], list[list[float]]]:
    """Where the milestones are, and the weight of each stage there."""
    return [place for place, _ in arm.mix], [[each.get(stage, 0.0) for stage in material.stages] for _, each in arm.mix]


def _paced(material: Material, name: str, arm: Paced) -> Drafts:
    """As many instances in steps of the same sizes as the curriculum's."""
    like, stages = _drafts(material, BASELINE), tuple(material.stages)
    rows = material.rows(stages)
    easiest_first = rows[np.argsort(material.values(arm.by, stages), kind="stable")]
    sizes = np.concatenate([draft.sizes for draft in like])
    drawn = pacing.draw(arm, len(rows), sizes, f"{name}/{material.seed}")
    if isinstance(drawn, str):
        raise ConfigError(f"arms.{name}.pacing: {drawn}")
    return _cut_like(like, easiest_first[drawn], stages)


def _controlled(material: Material, name: str, arm: Controlled) -> Drafts:
    """The instances of the other arm, dealt at random."""
    like = _drafts(material, arm.control.of)
    return _dealt(material, name, like, one_phase=arm.control.one_phase)


def _own_budget(material: Material, name: str, arm: OwnBudget) -> Drafts:
    """Every example as often as the arm says, in one phase."""
    size = material.config.training.batch_size
    blocks = [np.tile(material.rows([stage]), (arm.epochs, 1)) for stage in material.stages]
    like = [Draft((stage,), rows, cut(len(rows), size)) for stage, rows in zip(material.stages, blocks, strict=True)]
    return _dealt(material, name, like, one_phase=True)


def _dealt(material: Material, name: str, like: Drafts, one_phase: bool) -> Drafts:
    rows, sizes = (np.concatenate([getattr(draft, part) for draft in like]) for part in ("rows", "sizes"))
    # Salted with the arm's name, or `flat` would be `shuffled` without its phases: the same order, once more.
    dealt = deal(rows, sizes, name, material.seed)
    held = tuple(stage for stage in material.stages if any(stage in draft.stages for draft in like))
    return [Draft(held, dealt, sizes)] if one_phase else _cut_like(like, dealt, held)


def _cut_like(like: Drafts, rows: Rows, stages: tuple[str, ...]) -> Drafts:
    """In phases and steps of the same sizes."""
    ends = np.cumsum([len(draft.rows) for draft in like])[:-1]
    return [Draft(stages, part, draft.sizes) for part, draft in zip(np.split(rows, ends), like, strict=True)]


KINDS: Mapping[type, Callable[[Material, str, Any], Drafts]] = {
    Phased: _phased,
    Mixed: _mixed,
    Paced: _paced,
    Controlled: _controlled,
    OwnBudget: _own_budget,
}
