"""The manifest: what a run was made from and what it made, as digests, in one canonical JSON file. Pure.

    {"schema": "stagewise.manifest/1", "kind": "eval", "fingerprint": "9c1e…",
     "config": {…}, "code": {…}, "environment": {…}, "machine": {…},
     "inputs": {"runs": {"train": {"run_id": "…", "manifest_sha256": "…"}}, "datasets": {…}},
     "outputs": {"artifacts": {"predictions.jsonl": {"sha256": "…", "size": 51234}}, "model": null},
     "facts": {…}, "metrics": {"eval/flexible": 0.61}, "times": {"started": "…", "ended": "…"}}

Naming the manifests of the runs that it was made from, it closes a chain of hashes: a pipeline's
manifest digest stands for every byte below it.
"""

import json
from collections.abc import Mapping
from typing import Any

from stagewise.errors import LineageError
from stagewise.hashing import canonical_json, sha256

SCHEMA = "stagewise.manifest/1"
FILE = "manifest.json"


def build(
    *,
    kind: str,
    fingerprint: str | None,
    config: Mapping[str, Any],
    code: Mapping[str, Any],
    environment: Mapping[str, Any],
    machine: Mapping[str, Any],
    runs: Mapping[str, Any],
    datasets: Mapping[str, Any],
    artifacts: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    metrics: Mapping[str, float],
    started: str,
    ended: str,
) -> dict[str, Any]:
    """`facts` are the step's own counts and digests; `metrics` those that the outputs imply."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "fingerprint": fingerprint,
        "config": dict(config),
        "code": dict(code),
        "environment": dict(environment),
        "machine": dict(machine),
        "inputs": {"runs": dict(runs), "datasets": dict(datasets)},
        "outputs": {"artifacts": dict(artifacts), "model": model},
        "facts": dict(facts),
        "metrics": dict(metrics),
        "times": {"started": started, "ended": ended},
    }


def encode(manifest: Mapping[str, Any]) -> tuple[bytes, str]:
    """The manifest's bytes and their sha256."""
    data = canonical_json(manifest)
    return data, sha256(data)


def decode(data: bytes) -> dict[str, Any]:
    """A manifest from its bytes. Raises `LineageError` for another schema."""
    manifest: dict[str, Any] = json.loads(data)
    if manifest.get("schema") != SCHEMA:
        raise LineageError(f"manifest.json: found schema {manifest.get('schema')!r}, expected {SCHEMA!r}")
    return manifest
