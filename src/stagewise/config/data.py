"""Where traces and items come from, and how traces are split into stages."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    Tag,
    model_validator,
)

from stagewise.config.section import Name, Revision, Section, known, one_of, thing

Layout = Annotated[str, thing("layout")]


class PathSource(Section):
    path: str
    """A JSONL file."""
    layout: Layout = "traces"
    """How its lines are laid out: docs/extending.md lists the layouts. One of your own is `module:attribute`."""


class HubSource(Section):
    hub: str
    """A Hugging Face dataset, such as `openai/gsm8k`, or a local folder that `datasets` can read."""
    name: str | None = None
    """The dataset's configuration, such as `main`."""
    split: str
    revision: Revision
    layout: Layout = "traces"


class Generator(Section):
    seed: Annotated[int, Field(strict=True, ge=0)]
    count: Annotated[int, Field(strict=True, ge=1)]
    families: tuple[str, ...] | None = None
    """Task families to draw from; all of them when left out."""
    categories: tuple[str, ...] | None = None
    """Categories to draw from, likewise."""
    steps: tuple[int, ...] | None = None
    """Numbers of steps that a problem may take, likewise."""


class GenerateSource(Section):
    generate: Generator
    """The built-in generator: traces that are true by construction, from a seed."""

    @property
    def layout(self) -> Literal["traces"]:
        return "traces"


Source = Annotated[
    Annotated[PathSource, Tag("path")] | Annotated[HubSource, Tag("hub")] | Annotated[GenerateSource, Tag("generate")],
    one_of("path", "hub", "generate"),
]


class Data(Section):
    train: Source
    eval: Source
    duplicates: Literal["keep", "drop"] = "keep"
    """What happens to exact repeats of a trace (prompt, steps and answer): all kept, or the first."""
    leakage: Literal["error", "allow"] = "error"
    """What happens to training prompts that stand in the eval set: an error, or listed in the record."""


class Range(Section):
    min: int | None = None
    max: int | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Rule(Section):
    """A trace matches a rule when it matches every condition that the rule states."""

    category: tuple[str, ...] | None = None
    """The trace's category is one of these."""
    steps: Range | None = None
    """The trace's number of steps lies in this range, ends included."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.category is None and self.steps is None:
            raise ValueError("a rule needs category, steps or both")
        return self


class Stage(Section):
    name: Name
    epochs: Annotated[int, Field(strict=True, ge=1)] = 1
    """How often each of the stage's examples is trained on, in every arm alike."""
    rules: tuple[Rule, ...] = ()
    """A trace is of the stage when it matches one of the rules. Empty where `quantiles` decides."""


class Quantiles(Section):
    signal: Annotated[str, thing("signal")]
    """What difficulty is measured by: docs/extending.md lists the signals. One of your own is `module:attribute`."""
    cuts: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    """Rising quantiles between the stages: one fewer than there are stages."""


class Split(Section):
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    """Easiest first: the order is the curriculum's."""
    quantiles: Quantiles | None = None
    unmatched: str | None = None
    """The stage that takes a trace which matches none; without it such a trace is an error."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stage names must differ: {names}")
        if self.unmatched is not None:
            known((self.unmatched,), names, "stage")
        if self.quantiles is None:
            bare = [stage.name for stage in self.stages if not stage.rules and stage.name != self.unmatched]
            if bare:
                raise ValueError(f"stages without rules: {bare}; give them rules, or quantiles for all")
        else:
            cuts = self.quantiles.cuts
            if any(stage.rules for stage in self.stages) or self.unmatched is not None:
                raise ValueError("quantiles decide for every trace: leave out rules and unmatched")
            if len(cuts) != len(names) - 1 or list(cuts) != sorted(set(cuts)):
                raise ValueError(f"{len(names)} stages need {len(names) - 1} rising cuts, found {list(cuts)}")
        return self
