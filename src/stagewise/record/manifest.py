"""The manifest: what a run was made from and what it made, as digests, in one canonical JSON file. Pure.

    {"schema": "stagewise.manifest/3", "kind": "eval", "fingerprint": "9c1e…", "experiment_id": "3",
     "config": {…}, "code": {…}, "environment": {…}, "machine": {…},
     "inputs": {"runs": {"train": {"run_id": "…", "manifest_sha256": "…"}}, "datasets": {…}},
     "outputs": {"artifacts": {"predictions.jsonl": {"sha256": "…", "size": 51234}}, "model": null},
     "recorded": {"params": {…}, "tags": {…}, "metrics": {"eval/flexible": 0.61}},
     "facts": {…}, "times": {"started": "…", "ended": "…"}}

Naming the manifests of the runs that it was made from, it closes a chain of hashes: a pipeline's manifest digest
stands for every byte below it. `schemas/manifest.json` and `schemas/facts.json` are the JSON Schemas of the models
here and in `facts`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from stagewise.data.jsonl import described, document
from stagewise.errors import DataError, LineageError
from stagewise.hashing import canonical_json, sha256
from stagewise.record import schemas
from stagewise.record.facts import FACTS, AnyFacts
from stagewise.record.frozen import Count, DatasetInput, Files, Frozen, Id, Machine, Number, Place, Reference, Sha256

SCHEMA: Literal["stagewise.manifest/3"] = "stagewise.manifest/3"
FILE = "manifest.json"
Kind = Literal["split", "train", "eval", "report", "pipeline", "reproduction"]


READERS = {
    "stagewise.manifest/1": "stagewise 0.1.0 (commit c04cc92ca5a8)",
    "stagewise.manifest/2": "stagewise 0.1.0 (commit c0bd7a397994)",
}
"""Which release reads the manifests of an earlier schema: `verify` names it."""


class OtherRelease(LineageError):
    """A manifest of another release of stagewise, which reads it."""


class ConfigPart(Frozen):
    """The step's own part of the resolved config, and the sha256 of the config file."""

    part: dict[str, Any]
    file_sha256: Sha256


class Code(Frozen):
    """Commit, where in it the project lies, dirtiness, and digests of the sources of the package and of what this step
    imports of it."""

    commit: Annotated[str, StringConstraints(pattern="^([0-9a-f]{40}|[0-9a-f]{64})$")] | None
    dirty: bool | None
    package_sha256: Sha256
    step_sha256: Sha256
    remote: str | None = None
    path: Literal[""] | Place | None = None
    """The project's folder; '' for the top of the repository."""
    redacted: Count = 0
    """How many credentials stand as *** in code.diff."""
    archived: bool | None = None
    """Whether code.tar holds the commit's files."""
    own: dict[str, Files] | None = None
    """The sources of a user's own that ran, by the reference that the config has (`my_lab.answers:last_bold`)."""
    withheld: str | None = None
    """Why not all of the commit is in the record, in words."""


class Environment(Frozen):
    """Python, packages by their versions, and platform."""

    python: str
    platform: str
    packages: dict[str, str]
    zlib: str | None = None
    """Its version: a measure of the outputs, and the report's table, are made by it."""
    cores: Count | None = None


class Inputs(Frozen):
    runs: dict[str, Reference]
    """The sealed runs that this one was made from, by their roles."""
    datasets: dict[str, DatasetInput]


class Model(Frozen):
    """A logged model; `weights_sha256` is over name, dtype, shape and bytes of every tensor, sharded or not."""

    model_id: Id
    name: str
    files: Files
    weights_sha256: Sha256
    params: dict[str, str]
    tags: dict[str, str]


class Outputs(Frozen):
    artifacts: Files
    model: Model | None


class Recorded(Frozen):
    """What stands on the run itself; metrics are those without a step, the others are in curve.json."""

    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, Number]


class Times(Frozen):
    started: str
    ended: str


class Manifest(Frozen):
    """What a run was made from and what it made. Canonical JSON: UTF-8, sorted keys, no spaces."""

    schema_: Annotated[Literal["stagewise.manifest/3"], Field(alias="schema")]
    kind: Kind
    fingerprint: Sha256 | None
    """sha256 over all that determines the step's result; null for a pipeline."""
    experiment_id: Id
    """Where the run was made; links in descriptions and the report lead there."""
    config: ConfigPart
    code: Code
    environment: Environment
    machine: Machine
    inputs: Inputs
    outputs: Outputs
    recorded: Recorded
    facts: dict[str, Any]
    """The step's own counts and digests: facts.json."""
    times: Times


def encode(manifest: Manifest) -> tuple[bytes, str]:
    """The manifest's bytes and their sha256. Raises `ValueError` where its facts are not those of its kind: that is no
    mistake of a user's."""
    data = canonical_json(manifest.json_value())
    try:
        check_facts(decode(data))
    except LineageError as error:
        raise ValueError(str(error)) from error
    return data, sha256(data)


def decode(data: bytes) -> Manifest:
    """A manifest from its bytes, whoever wrote them. Raises `LineageError` for what is none of this schema."""
    try:
        found = document(data, FILE)
        schema = found.get("schema") if isinstance(found, dict) else None
        if schema != SCHEMA:
            said = f"{FILE}: found schema {described(schema)}, expected {SCHEMA!r}"
            if isinstance(schema, str) and schema.startswith(SCHEMA.rpartition("/")[0]):
                raise OtherRelease(f"{said}; {READERS.get(schema, 'a later release of stagewise')} reads it")
            raise LineageError(said)
        schemas.check(found, "manifest", FILE)
    except DataError as error:
        raise LineageError(f"{FILE}: found what is no manifest ({error}), expected schema {SCHEMA}") from error
    return Manifest.model_validate(found)


def check_facts(manifest: Manifest) -> None:
    """Raises `LineageError` for facts that no run of this kind seals."""
    try:
        schemas.check({"kind": manifest.kind, "facts": manifest.facts}, "facts", FILE)
    except DataError as error:
        raise LineageError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished run, as its sealed manifest tells it."""

    run_id: str
    experiment_id: str  # where it is now; where it was made says its manifest
    manifest: Manifest
    digest: str  # of the manifest
    fetch: Callable[[str], bytes]  # an artifact's bytes by its path, as they are found

    def facts(self, kind: type[AnyFacts]) -> AnyFacts:
        """Its facts, which are those of a run of this kind. Raises `LineageError` where they are not."""
        of = FACTS[self.manifest.kind]
        if not issubclass(of, kind):
            raise LineageError(f"run {self.run_id}: found a {self.manifest.kind} run, which has no {kind.__name__}")
        try:
            return of.model_validate(self.manifest.facts)
        except ValidationError as error:
            raise LineageError(f"run {self.run_id}: {FILE}, facts: {error.errors()[0]['msg']}") from error

    @property
    def model(self) -> Model:
        """The model that it made. Raises `LineageError` where it made none."""
        if self.manifest.outputs.model is None:
            raise LineageError(f"run {self.run_id}: found a {self.manifest.kind} run without a model, expected one")
        return self.manifest.outputs.model

    @property
    def reference(self) -> Reference:
        """How a run that is made from this one names it."""
        return {"run_id": self.run_id, "manifest_sha256": self.digest}

    def json(self, path: str) -> Any:
        """The JSON value in an artifact. Raises `LineageError`, and `DataError` where it holds none."""
        return document(self.artifact(path), f"run {self.run_id}: artifact {path}")

    def artifact(self, path: str) -> bytes:
        """An artifact's bytes, held against the digest in the manifest. Raises `LineageError`."""
        entry = self.manifest.outputs.artifacts.get(path)
        if entry is None:
            raise LineageError(f"run {self.run_id}: its manifest names no artifact {path}")
        data = self.fetch(path)
        if sha256(data) != entry["sha256"]:
            raise LineageError(
                f"run {self.run_id}: artifact {path} was altered: "
                f"found sha256 {sha256(data)}, expected {entry['sha256']}"
            )
        return data
