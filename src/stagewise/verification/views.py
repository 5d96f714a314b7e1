"""What a tracking server or a bundle's folder says of a record, as plain values.

source.run("5f0c…").metrics["eval/flexible"]       [(0, 0.61)]
source.files(Owner("runs", "5f0c…"))               {"predictions.jsonl": 51234, …}
with source.fetch(Owner("runs", "5f0c…"), "predictions.jsonl") as path: …
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol


class Absent(LookupError):
    """There is no such run, model, version or file."""


class Deleted(Absent):
    """It is there and marked as deleted; the text says how it is restored."""


class Owner(NamedTuple):
    """Whose files: of a run, or of a model."""

    kind: str  # "runs" or "models"
    id: str


class DatasetView(NamedTuple):
    name: str
    digest: str
    source: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunView:
    run_id: str
    experiment_id: str
    name: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, Sequence[tuple[int, float]]]
    """Every point, (step, value), in the order of steps."""
    latest: Mapping[str, float]
    """What the UI shows of each metric."""
    datasets: Sequence[DatasetView]
    models_in: Sequence[str]
    models_out: Sequence[str]


@dataclass(frozen=True, slots=True)
class ModelView:
    model_id: str
    name: str
    status: str
    source_run_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, float]]
    """By the run that logged them."""
    location: str
    """Of its files."""


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version of a registered model."""

    name: str
    version: str
    source: str
    run_id: str
    tags: Mapping[str, str]
    location: str
    """Of the files that whoever loads it gets."""


class Source(Protocol):
    """Where a record lies. Each method raises `Absent` for what is not there, `LineageError` for what is no plain file,
    and `TrackingError` where nobody answers."""

    where: str
    """Its address: what tells it from another."""
    weights: bool
    """Whether the bytes of weights are there; a bundle may leave them out."""

    def run(self, run_id: str) -> RunView: ...

    def model(self, model_id: str) -> ModelView: ...

    def version(self, name: str, version: str) -> VersionView: ...

    def aliases(self, name: str) -> Mapping[str, str]:
        """The version of each alias of a registered model; none where there is no such model."""
        ...

    def files(self, owner: Owner) -> Mapping[str, int]:
        """Every file's size in bytes, by its path."""
        ...

    def fetch(self, owner: Owner, path: str) -> AbstractContextManager[Path]:
        """A file, or a folder ("" is the whole), to be read inside the `with`."""
        ...
