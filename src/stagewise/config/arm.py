"""What an arm may be: the examples that it trains on, in phases, and their order.

    arms:
      curriculum:                                  a name that has a meaning: one of `NAMED`
      middle_first: [b, a, c]                      a phase for each stage
      baby_steps: {phases: [[a], [a, b], [a, b, c]]}
      baby_shuffled: {control: {of: baby_steps}}   the same instances, dealt at random over the same steps

docs/arms.md shows each kind. `curriculum/arms.py` builds them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from stagewise.config.section import Name, Section, one_of

Times = Annotated[int, Field(strict=True, ge=1)]
Signal = Literal["steps", "characters", "tokens"]
"""What difficulty is measured by: steps, the characters of steps and answer, or the tokens behind the prompt."""
Stages = tuple[tuple[str, ...], ...]  # of each phase


class Sorted(Section):
    sorted: Signal
    descending: bool = False


class Folding(Section):
    folding: Signal
    layers: Times = 3


class Zigzag(Section):
    zigzag: Signal
    layers: Times = 3


class Stair(Section):
    stair: Signal
    sections: Annotated[int, Field(strict=True, ge=2)] = 2
    ratio: Annotated[float, Field(gt=0, le=0.5)] = 0.225
    """Of the examples, on either side of each cut between sections."""
    layers: Times = 3


class Saw(Section):
    saw: Signal
    sections: Annotated[int, Field(strict=True, ge=2)] = 2
    ratio: Annotated[float, Field(gt=0, le=0.5)] = 0.225
    layers: Times = 3


class Interleaved(Section):
    interleaved: Literal["stages"]


Ordering = Sorted | Folding | Zigzag | Stair | Saw | Interleaved


class Replay(Section):
    share: Annotated[float, Field(gt=0, lt=1)]
    """Of a phase's instances: so many are examples of stages that went before. They are extra; the first phase has
    none."""


class Phased(Section):
    """Phases of stages."""

    phases: tuple[tuple[Name, ...] | dict[Name, Times], ...] | None = Field(default=None, min_length=1)
    """The stages of each phase, as a list, or with epochs of their own: `{a: 2, b: 1}`. A stage may come more than
    once. When left out, a phase for each stage, in the order of `split.stages`."""
    order: (
        Annotated[
            Annotated[Sorted, Tag("sorted")]
            | Annotated[Folding, Tag("folding")]
            | Annotated[Zigzag, Tag("zigzag")]
            | Annotated[Stair, Tag("stair")]
            | Annotated[Saw, Tag("saw")]
            | Annotated[Interleaved, Tag("interleaved")],
            one_of("sorted", "folding", "zigzag", "stair", "saw", "interleaved"),
        ]
        | None
    ) = None
    """Within each epoch of a phase; at random when left out."""
    replay: Replay | None = None

    def stages_of(self, names: Sequence[str]) -> Stages:
        return tuple(map(tuple, self.phases)) if self.phases is not None else tuple((name,) for name in names)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        for number, stages in enumerate(self.phases or (), start=1):
            if not stages or len(set(stages)) != len(stages):
                raise ValueError(f"phase {number}: found {list(stages)}, expected stages that differ, one at least")
        return self


class Mixed(Section):
    """The curriculum's instances, placed along training by weights that fade from milestone to milestone."""

    mix: Annotated[tuple[tuple[float, dict[Name, Annotated[float, Field(ge=0)]]], ...], Field(min_length=2)]
    """`[[0, {a: 1}], [0.5, {a: 0.3, b: 0.7}], [1, {c: 1}]]`: at these shares of training, stages by weight."""
    allow_gap: bool = False
    """Train though the shares miss what the milestones ask for by over 10 points, as the stages have other sizes."""

    def stages_of(self, names: Sequence[str]) -> Stages:
        return (tuple(names),) * len(names)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        places = [place for place, _ in self.mix]
        if places[0] != 0 or places[-1] != 1 or places != sorted(set(places)):
            raise ValueError(f"milestones at {places}: expected rising ones, from 0 to 1")
        if any(not sum(weights.values()) for _, weights in self.mix):
            raise ValueError("each milestone needs a stage with a weight above 0")
        return self


class Paced(Section):
    """Each step draws from the easiest examples, of which more and more are allowed; they repeat as they are drawn."""

    pacing: Literal["linear", "sqrt", "exponential", "step"]
    by: Signal
    start: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The share of the examples that the first step may draw from."""
    stairs: Times = 4
    """Of `step` alone: how many equal rises there are."""

    def stages_of(self, names: Sequence[str]) -> Stages:
        return (tuple(names),) * len(names)


class Control(Section):
    of: Name
    """The arm whose instances are dealt at random, over steps of the same sizes under the same schedule."""
    one_phase: bool = False
    """All in a single phase: a baseline where `training.schedule_scope` has the schedule start afresh in each."""


class Controlled(Section):
    """The instances of another arm at random: what that arm is held against."""

    control: Control

    @property
    def one_phase(self) -> bool:
        return self.control.one_phase


class OwnBudget(Section):
    """For `flat`: not the other arms' examples. It says what mixing alone gives, and nothing about order."""

    budget: Literal["own"]
    epochs: Times
    """How often each example is trained on, whatever its stage says."""

    def stages_of(self, names: Sequence[str]) -> Stages:
        return (tuple(names),)


Arm = Phased | Mixed | Paced | Controlled | OwnBudget
KINDS = {"control": "control", "budget": "budget", "mix": "mix", "pacing": "pacing"}


def _kind(value: Any) -> str:
    if value is None or isinstance(value, list | tuple):
        return "named" if value is None else "listed"
    return next((key for key in KINDS if (key in value if isinstance(value, dict) else hasattr(value, key))), "phases")


Spelled = Annotated[
    Annotated[None, Tag("named")]
    | Annotated[tuple[Name, ...], Tag("listed")]
    | Annotated[Phased, Tag("phases")]
    | Annotated[Mixed, Tag("mix")]
    | Annotated[Paced, Tag("pacing")]
    | Annotated[Controlled, Tag("control")]
    | Annotated[OwnBudget, Tag("budget")],
    Discriminator(_kind),
]
"""An arm as a config spells it: nothing behind a name that has a meaning, a list of stages, or one of the kinds."""

NAMED: Mapping[str, Callable[[Sequence[str]], Arm]] = {
    "curriculum": lambda names: Phased(),
    "flat": lambda names: Controlled(control=Control(of="curriculum", one_phase=True)),
    "reversed": lambda names: Phased(phases=tuple((name,) for name in reversed(names))),
    "shuffled": lambda names: Controlled(control=Control(of="curriculum")),
}
"""What the names stand for, given the stages."""
BASELINE = "curriculum"
"""What an arm is held against that is no control of another."""
