"""The top level of a config."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from stagewise.config.arm import BASELINE, NAMED, Arm, Controlled, OwnBudget, Paced, Phased, Spelled, Stages
from stagewise.config.data import Data, Split
from stagewise.config.evaluation import Evaluation, Primary, Promotion
from stagewise.config.model import Model
from stagewise.config.section import Name, Section, known
from stagewise.config.training import Training


class Compute(Section):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where there is one."""
    threads: Annotated[int, Field(strict=True, ge=1)] | None = None
    """CPU threads; one a core when left out. Results are exact for one number of threads."""


class Config(Section):
    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Names the experiment and the registered model."""
    hypothesis: str = ""
    """What the study asks, in words; it goes into the record."""
    seeds: Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], Field(min_length=1)] = (42,)
    """Each seed is a chain of its own in every arm: initial weights, order within stages, dropout."""
    data: Data
    split: Split
    model: Model
    training: Training
    arms: dict[Name, Spelled] = Field(default={"curriculum": None, "flat": None}, min_length=1)
    """What is trained: `curriculum`, `reversed`, `shuffled`, `flat` with nothing behind the name, or a name of your
    own with a list of the stages, in the order of its phases, or with one of the kinds of docs/arms.md."""
    evaluation: Evaluation = Evaluation()
    primary: Primary = Primary()
    promotion: Promotion = Promotion()
    compute: Compute = Compute()
    require_clean: bool = False
    """Refuse to run code that no commit holds. Otherwise it runs, and the record holds what differs."""
    launcher: Literal["project", "inline"] = "project"
    """`project`: each step a process of its own, through MLflow; `inline`: all in one process."""

    @field_validator("arms", mode="before")
    @classmethod
    def _listed(cls, arms: Any) -> Any:
        names = isinstance(arms, list) and all(isinstance(name, str) for name in arms)
        return dict.fromkeys(arms) if names else arms

    @model_validator(mode="after")
    def _arms_exist(self) -> Self:
        for name, spelled in self.arms.items():
            if spelled is None:
                known((name,), NAMED, "arm")
            elif isinstance(spelled, OwnBudget):
                if name not in NAMED or not getattr(self._named(name), "one_phase", False):
                    raise ValueError(f"arms.{name}: only flat can have a budget of its own")
            elif name in NAMED:
                raise ValueError(f"arms.{name}: this name has a meaning of its own; give the arm another name")
            self._check(name, self.arm(name))
        also = [(f"also.{place}", name) for place, pair in enumerate(self.primary.also) for name in pair]
        for place, name in (("arm", self.primary.arm), ("against", self.primary.against), *also):
            known((name,), {*NAMED, *self.arms}, f"primary.{place}")
            if isinstance(self.arms.get(name), OwnBudget):
                raise ValueError(f"primary.{place}: {name} has a budget of its own, so it can show nothing about order")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} repeats one")
        return self

    def _check(self, name: str, arm: Arm) -> None:
        stages = [stage.name for stage in self.split.stages]
        spelled = self.arms[name]
        if isinstance(spelled, tuple) and sorted(spelled) != sorted(stages):
            raise ValueError(f"arms.{name}: found {list(spelled)}, expected each of the stages {sorted(stages)} once")
        if isinstance(arm, Controlled):
            known((arm.control.of,), {*NAMED, *self.arms} - {name}, f"arms.{name}.control.of: arm")
            if isinstance(self.arm(arm.control.of), Controlled | OwnBudget):
                raise ValueError(f"arms.{name}.control.of: {arm.control.of} is dealt at random itself")
            return
        asked = [stage for phase in arm.stages_of(stages) for stage in phase]
        asked += [stage for _, weights in getattr(arm, "mix", ()) for stage in weights]
        known(tuple(asked), stages, f"arms.{name}: stage")

    def _named(self, name: str) -> Arm:
        return NAMED[name]([stage.name for stage in self.split.stages])

    def arm(self, name: str) -> Arm:
        """What the arm is, whichever way the config spells it."""
        spelled = self.arms.get(name)
        if isinstance(spelled, tuple):
            return Phased(phases=tuple((stage,) for stage in spelled))
        return self._named(name) if spelled is None else spelled

    def phases(self, name: str) -> Stages:
        """The stages whose examples each phase of the arm may hold."""
        arm, names = self.arm(name), tuple(stage.name for stage in self.split.stages)
        if isinstance(arm, Controlled):
            phases = self.phases(arm.control.of)
            held = tuple(each for each in names if any(each in stages for stages in phases))
            return (held,) * (1 if arm.control.one_phase else len(phases))
        return arm.stages_of(names)

    def deciding(self, name: str, phase: int) -> tuple[str, ...]:
        """The stages that decide what a phase of the arm trains on, and at which rates."""
        arm, names = self.arm(name), tuple(stage.name for stage in self.split.stages)
        alone = isinstance(arm, Phased) and arm.replay is None and self.training.schedule_scope == "per_phase"
        return self.phases(name)[phase - 1] if alone else names  # else others are dealt to it, or count in its schedule

    def against(self, name: str) -> str:
        """The arm that it is held against: the one whose control it is, or else the curriculum."""
        arm = self.arm(name)
        return arm.control.of if isinstance(arm, Controlled) else BASELINE

    def shares_examples(self, name: str) -> str:
        """The arm that trains on the same examples, each as often, by how it is made: itself, if no other does."""
        arm = self.arm(name)
        if isinstance(arm, Controlled):
            return self.shares_examples(arm.control.of)
        if isinstance(arm, OwnBudget | Paced):
            return name
        if isinstance(arm, Phased):
            once = sorted(stage for stages in self.phases(name) for stage in stages) == sorted(self.epochs(name))
            if not once or arm.replay is not None or any(isinstance(each, dict) for each in arm.phases or ()):
                return name
        return BASELINE

    def definition(self, name: str) -> dict[str, Any]:
        """What determines the arm, beside its stages, as JSON values; names that have a meaning are spelled out."""
        arm = self.arm(name)
        value: dict[str, Any] = arm.model_dump(mode="json", exclude_none=True)
        if isinstance(arm, Controlled):
            return {"control": value["control"] | {"of": self.definition(arm.control.of)}}
        return value | {"stages": [list(stages) for stages in self.phases(name)]}

    def most_instances(self, name: str, examples: Mapping[str, int]) -> int:
        """How many instances the arm has at most, given how many examples each stage has."""
        arm, epochs = self.arm(name), self.epochs(name)
        if isinstance(arm, Controlled):
            return self.most_instances(arm.control.of, examples)
        if not isinstance(arm, Phased):
            return sum(count * epochs[stage] for stage, count in examples.items())
        phases = self.epochs_of_phases(name, arm)
        count = sum(examples[stage] * times for phase in phases for stage, times in phase.items())
        return round(count / (1 - arm.replay.share)) + len(phases) if arm.replay else count

    def epochs_of_phases(self, name: str, arm: Phased) -> list[dict[str, int]]:
        """How often each phase of the arm trains on each example of its stages."""
        usual, told = self.epochs(name), arm.phases or (None,) * len(self.phases(name))
        return [
            own if isinstance(own, dict) else {stage: usual[stage] for stage in stages}
            for stages, own in zip(self.phases(name), told, strict=True)
        ]

    def epochs(self, name: str) -> dict[str, int]:
        """How often the arm trains on each example of a stage, where its phases do not say otherwise."""
        arm = self.arm(name)
        own = arm.epochs if isinstance(arm, OwnBudget) else None
        return {stage.name: own or stage.epochs for stage in self.split.stages}
