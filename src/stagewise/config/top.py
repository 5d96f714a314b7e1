"""The top level of a config."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

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


ARMS = ("curriculum", "flat", "reversed", "shuffled")


class OwnBudget(Section):
    """For `flat`: not the other arms' examples. It says what mixing alone gives, and nothing about order."""

    budget: Literal["own"]
    epochs: Annotated[int, Field(strict=True, ge=1)]
    """How often each example is trained on, whatever its stage says."""


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
    arms: dict[Name, tuple[str, ...] | OwnBudget | None] = Field(
        default={"curriculum": None, "flat": None}, min_length=1
    )
    """Orderings to train: `curriculum`, `reversed`, `shuffled`, `flat` with nothing behind the name, or a
    name of your own with a list of the stages, in the order of its phases; or `flat: {budget: own, epochs: 3}`."""
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
        stages = sorted(stage.name for stage in self.split.stages)
        for arm, order in self.arms.items():
            if order is None:
                known((arm,), ARMS, "arm")
            elif isinstance(order, OwnBudget):
                if arm != "flat":
                    raise ValueError(f"arms.{arm}: only flat can have a budget of its own")
            elif sorted(order) != stages:
                raise ValueError(f"arms.{arm}: found {list(order)}, expected each of the stages {stages} once")
            elif arm in ARMS:
                raise ValueError(f"arms.{arm}: this name has a meaning of its own; give the list another name")
        for field, arm in (("arm", self.primary.arm), ("against", self.primary.against)):
            known((arm,), {*ARMS, *self.arms}, f"primary.{field}")
            if isinstance(self.arms.get(arm), OwnBudget):
                raise ValueError(f"primary.{field}: {arm} has a budget of its own, so it can show nothing about order")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} repeats one")
        return self

    def stage_order(self, arm: str) -> tuple[str, ...] | None:
        """The stages of an arm's phases; None where each phase holds all of them."""
        names = tuple(stage.name for stage in self.split.stages)
        spelled = self.arms.get(arm)
        return spelled if isinstance(spelled, tuple) else {"curriculum": names, "reversed": names[::-1]}.get(arm)

    def epochs(self, arm: str) -> dict[str, int]:
        own = self.arms.get(arm)
        return {stage.name: own.epochs if isinstance(own, OwnBudget) else stage.epochs for stage in self.split.stages}
