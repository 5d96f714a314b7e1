"""Sealed runs of no study, and where their files are."""

from pathlib import Path
from typing import Any

from stagewise.hashing import sha256
from stagewise.tracking import lineage, runs

DIGEST = "f" * 64


EMPTY: dict[str, Any] = {name: {} for name in ("runs", "datasets", "artifacts", "facts")} | {
    "fingerprint": DIGEST,
    "config": {"part": {}, "file_sha256": DIGEST},
    "code": {"commit": None, "dirty": None, "package_sha256": DIGEST, "step_sha256": DIGEST},
    "environment": {"python": "3.11.7", "platform": "Linux x86_64", "packages": {}},
    "machine": {"device": "cpu", "threads": 1},
    "model": None,
}


def finished(client: Any, study: str, folder: Path, kind: str = "split", **made_from: str) -> str:
    """The id of a run that was sealed, made from the runs of these ids."""
    folder.mkdir(exist_ok=True)
    (folder / "file.txt").write_text("content")
    references = {name: lineage.record_of(client, run_id).reference for name, run_id in made_from.items()}
    with runs.open_run(client, study, kind, "a run") as run:
        run.tag(fingerprint=sha256(kind.encode()))
        run.seal(kind=kind, **EMPTY | {"artifacts": run.upload(folder), "runs": references})
    return run.id


def artifact(client: Any, run_id: str, path: str) -> Path:
    return Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / path
