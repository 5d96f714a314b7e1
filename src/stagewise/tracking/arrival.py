"""What was uploaded, read back: only then may the copy here go.

check_arrived("run 3f…: artifact", "s3://bucket/1/3f…/artifacts", {"order.json": {"sha256": "9c…"}}, work)
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from stagewise.errors import TrackingError
from stagewise.hashing import sha256_file


def check_arrived(what: str, uri: str, entries: Mapping[str, Mapping[str, Any]], scratch: Path) -> None:
    """Reads the files below `uri` back from the artifact store, one at a time through `scratch` where it is not a
    folder here. Raises `TrackingError` for one that has another digest than its entry."""
    stored = get_artifact_repository(uri, tracking_uri=mlflow.get_tracking_uri())
    in_place = isinstance(stored, LocalArtifactRepository)
    for path, entry in entries.items():
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            try:
                copy = stored.download_artifacts(path, None if in_place else folder)  # type: ignore[no-untyped-call]
                found = sha256_file(Path(copy))
            except (MlflowException, OSError) as error:
                raise TrackingError(f"{what} {path}: was logged and cannot be read back: {error}") from error
        if found != entry["sha256"]:
            raise TrackingError(
                f"{what} {path}: the artifact store altered it: found sha256 {found}, expected {entry['sha256']}; "
                "what was made is kept here, and the same command goes on from it"
            )
