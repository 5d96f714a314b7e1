"""The manifest: what a run was made from and what it made, as digests, in one canonical JSON file. Pure.

    {"schema": "stagewise.manifest/3", "kind": "eval", "fingerprint": "9c1e…", "experiment_id": "3",
     "config": {…}, "code": {…}, "environment": {…}, "machine": {…},
     "inputs": {"runs": {"train": {"run_id": "…", "manifest_sha256": "…"}}, "datasets": {…}},
     "outputs": {"artifacts": {"predictions.jsonl": {"sha256": "…", "size": 51234}}, "model": null},
     "recorded": {"params": {…}, "tags": {…}, "metrics": {"eval/flexible": 0.61}},
     "facts": {…}, "times": {"started": "…", "ended": "…"}}

Naming the manifests of the runs that it was made from, it closes a chain of hashes: a pipeline's
manifest digest stands for every byte below it. `schemas/manifest.json` is its JSON Schema.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stagewise.data.jsonl import described, document
from stagewise.errors import DataError, LineageError
from stagewise.hashing import canonical_json, sha256
from stagewise.record import schemas

SCHEMA = "stagewise.manifest/3"
FILE = "manifest.json"


class OtherRelease(LineageError):
    """A manifest of another release of stagewise, which reads it."""


def build(
    *,
    kind: str,
    fingerprint: str | None,
    experiment_id: str,
    config: Mapping[str, Any],
    code: Mapping[str, Any],
    environment: Mapping[str, Any],
    machine: Mapping[str, Any],
    runs: Mapping[str, Any],
    datasets: Mapping[str, Any],
    artifacts: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    recorded: Mapping[str, Any],
    facts: Mapping[str, Any],
    started: str,
    ended: str,
) -> dict[str, Any]:
    """`recorded` is what stands on the run beside files: params, tags, and metrics that have no step.

    `facts` are the step's own counts and digests. `experiment_id` is where the run was made: links lead there.
    """
    return {
        "schema": SCHEMA,
        "kind": kind,
        "fingerprint": fingerprint,
        "experiment_id": experiment_id,
        "config": dict(config),
        "code": dict(code),
        "environment": dict(environment),
        "machine": dict(machine),
        "inputs": {"runs": dict(runs), "datasets": dict(datasets)},
        "outputs": {"artifacts": dict(artifacts), "model": model},
        "recorded": dict(recorded),
        "facts": dict(facts),
        "times": {"started": started, "ended": ended},
    }


def encode(manifest: Mapping[str, Any]) -> tuple[bytes, str]:
    """The manifest's bytes and their sha256. Raises `ValueError` where it is not what its schema says: that is no
    mistake of a user's."""
    data = canonical_json(manifest)
    try:
        schemas.check(json.loads(data), "manifest", FILE)
    except DataError as error:
        raise ValueError(str(error)) from error
    return data, sha256(data)


def decode(data: bytes) -> dict[str, Any]:
    """A manifest from its bytes, whoever wrote them. Raises `LineageError` for what is none of this schema."""
    try:
        manifest = document(data, FILE)
        found = manifest.get("schema") if isinstance(manifest, dict) else None
        if found != SCHEMA:
            other = isinstance(found, str) and found.startswith(SCHEMA.rpartition("/")[0])
            error = OtherRelease if other else LineageError
            raise error(f"{FILE}: found schema {described(found)}, expected {SCHEMA!r}")
        schemas.check(manifest, "manifest", FILE)
    except DataError as error:
        raise LineageError(f"{FILE}: found what is no manifest ({error}), expected schema {SCHEMA}") from error
    return dict(manifest)


def check_facts(manifest: Mapping[str, Any]) -> None:
    """Raises `LineageError` for facts that no run of this kind seals."""
    try:
        schemas.check({"kind": manifest["kind"], "facts": manifest["facts"]}, "facts", FILE)
    except DataError as error:
        raise LineageError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished run, as its sealed manifest tells it."""

    run_id: str
    experiment_id: str  # where it is now; where it was made says its manifest
    manifest: dict[str, Any]
    digest: str  # of the manifest
    fetch: Callable[[str], bytes]  # an artifact's bytes by its path, as they are found

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.manifest["facts"])

    @property
    def reference(self) -> dict[str, str]:
        """How a run that is made from this one names it."""
        return {"run_id": self.run_id, "manifest_sha256": self.digest}

    def json(self, path: str) -> Any:
        """The JSON value in an artifact. Raises `LineageError`, and `DataError` where it holds none."""
        return document(self.artifact(path), f"run {self.run_id}: artifact {path}")

    def artifact(self, path: str) -> bytes:
        """An artifact's bytes, held against the digest in the manifest. Raises `LineageError`."""
        entry = self.manifest["outputs"]["artifacts"].get(path)
        if entry is None:
            raise LineageError(f"run {self.run_id}: its manifest names no artifact {path}")
        data = self.fetch(path)
        if sha256(data) != entry["sha256"]:
            raise LineageError(
                f"run {self.run_id}: artifact {path} was altered: "
                f"found sha256 {sha256(data)}, expected {entry['sha256']}"
            )
        return data
