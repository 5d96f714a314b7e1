"""The facts of a run: what its step counted, and the digests of what it made; one model for each kind of run.

trained.facts_as(TrainFacts).order_sha256
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from stagewise.record.frozen import Count, Data, Files, Frozen, Id, Number, Sha256, Stage

Way = Literal["select", "no_select", "generate", "one_by_one"]
"""In which a model answers several prompts: `evaluation.generation.Decoding`."""
Layout = Literal["joined", "padded", "single"]
"""Of a training batch: `training.batching`."""


class SplitFacts(Frozen):
    source: Data
    eval: Data
    stages: dict[str, Stage]


class CheckpointFacts(Frozen):
    """Which phase of which arm for which seed; phase 0 is the base model, whose seed is none where all share it."""

    arm: str
    phase: Count
    seed: int | None
    phases: Count


class SelfCheck(Frozen):
    """What is right for the base model, as its self-check found it."""

    architecture: str
    decoding: Way
    layouts: Annotated[list[Layout], Field(min_length=1)]
    differences: dict[str, float]
    rejected: dict[str, str]


class Dtypes(Frozen):
    model: str
    """What the base model is held in."""
    weights: str
    """What these weights are."""


class Shares(Frozen):
    """Of a stage in each tenth of an arm's training."""

    asked: list[Number]
    """By the arm's milestones."""
    given: list[Number]
    """By the order that its examples have."""


class TrainFacts(CheckpointFacts):
    chain: list[Sha256]
    """A digest for each phase up to this one: what its checkpoint was made from."""
    source_sha256: Sha256
    parameters: Count
    buffers: Count
    """Values in the model's files that are no parameters."""
    order_sha256: Sha256
    multiset_sha256: Sha256
    counted: dict[str, Count]
    """What went through the model in this phase."""
    counted_so_far: dict[str, Count]
    allow_inexact: bool
    resumed_at_step: Count
    passed_over: list[str]
    """Saves that could not be read."""
    lost: list[str]
    """What a resumed phase could not restore."""
    dtypes: Dtypes
    self_check: SelfCheck
    model_source: Files | None = None
    """Of the base: the files of a local model."""
    separations: list[str] = Field(default_factory=list)
    """What separates the arm from the one that it is held against, in words."""
    against: str | None = None
    """That arm: the one whose control this is, or else `curriculum`; none for the base."""
    shares: dict[str, Shares] = Field(default_factory=dict)
    """Of a mixture, by stage."""
    examples_left_out: dict[str, dict[str, Count]] = Field(default_factory=dict)
    """By stage: how many were dropped, and how many truncated, since they are too long."""
    layout: Layout | None = None
    """Of the batches; none for the base."""


class Traces(Frozen):
    """How many of the items are MLflow traces, and the seed that drew them."""

    logged: Count
    of: Count
    seed: int


class EvalFacts(CheckpointFacts):
    items: Count
    checkpoint_sha256: Sha256
    engine: str
    decoding: Way | None
    """None where a server answered."""
    weights: str
    batch_size: Count
    resumed_at_answer: Count
    traces: Traces


class ReportFacts(Frozen):
    checkpoints: Count
    files: list[str]
    server: str
    """Where the report's links lead."""


class Steps(Frozen):
    """The ids of a pipeline's runs; those of `train` and `eval` in the same order."""

    split: Id
    train: list[Id]
    eval: list[Id]


class Registered(Frozen):
    """A model's version in the registry."""

    name: str
    version: str
    model_id: Id


class PipelineFacts(Frozen):
    steps: Steps
    steps_reused: Count
    report: ReportFacts
    registered: dict[str, Registered]
    """By alias."""


class ReproductionFacts(Frozen):
    verdict: str
    differences: Count
    code: str


Facts = SplitFacts | TrainFacts | EvalFacts | ReportFacts | PipelineFacts | ReproductionFacts
AnyFacts = TypeVar("AnyFacts", bound=Frozen)
FACTS: Mapping[str, type[Frozen]] = {
    "split": SplitFacts,
    "train": TrainFacts,
    "eval": EvalFacts,
    "report": ReportFacts,
    "pipeline": PipelineFacts,
    "reproduction": ReproductionFacts,
}
