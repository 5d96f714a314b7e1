"""What manifests and facts are made of: models that do not change, and the entries of JSON that digests are over.

An entry (`File`, `Reference`, …) is a dict whose keys and values mypy knows: it enters digests and comparisons as it
is.
"""

from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic takes `typing`'s from Python 3.12 on
)

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

_EXACT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, regex_engine="python-re")

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Id = Annotated[str, StringConstraints(pattern="^[0-9A-Za-z_-]{1,100}$")]
"""Of a run, a model or an experiment: it names folders and parts of addresses."""
Place = Annotated[
    str,
    StringConstraints(pattern=r"^(?![/~])(?!(.*/)?\.{0,2}(/|$))[^\x00-\x1f\x7f\\]{1,1000}$"),
]
"""A POSIX path below a run, a model or a repository."""
Count = Annotated[int, Field(ge=0)]
Number = int | Annotated[float, Field(ge=-1.7976931348623157e308, le=1.7976931348623157e308)]


class Frozen(BaseModel):
    """A part of a record. Fields that were not given stand in no JSON."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, use_attribute_docstrings=True, **_EXACT)

    def json_value(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude_unset=True)


@with_config(_EXACT)
class File(TypedDict):
    """A file by its digest and its size in bytes."""

    sha256: Sha256
    size: Count


Files = dict[Place, File]


@with_config(_EXACT)
class Reference(TypedDict):
    """A sealed run, as a run that is made from it names it."""

    run_id: Id
    manifest_sha256: Sha256


@with_config(_EXACT)
class Stage(TypedDict):
    """A stage of a split; `size` is in bytes."""

    sha256: Sha256
    size: Count
    rows: Count


@with_config(_EXACT)
class Data(Stage):
    """The source or the eval set of a split."""

    name: str


@with_config(_EXACT)
class DatasetInput(Stage):
    """A dataset as MLflow lists it among a run's inputs."""

    context: str
    source: str


@with_config(_EXACT)
class Machine(TypedDict):
    """What bits depend on beside versions."""

    device: str
    threads: Annotated[int, Field(ge=1)]
    determinism: NotRequired[dict[str, Any]]
