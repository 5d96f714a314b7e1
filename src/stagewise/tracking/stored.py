"""Files as an artifact store holds them: listed, read, and read back before the copy here may go.

sizes(partial(client.list_artifacts, "3f…"))    {"order.json": 812, "config/asked.yaml": 1201}
check_arrived("run 3f…: artifact", "s3://bucket/1/3f…/artifacts", {"order.json": {"sha256": "9c…"}}, work)
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    for path, entry in entries.items():
        try:
            with fetched(stored, path, scratch) as copy:
                found = sha256_file(copy)
        except (MlflowException, OSError) as error:
            raise TrackingError(f"{what} {path}: was logged and cannot be read back: {error}") from error
        if found != entry["sha256"]:
            raise TrackingError(
                f"{what} {path}: the artifact store altered it: found sha256 {found}, expected {entry['sha256']}; "
                "the same command goes on from the step's last save, or does it again where it left none"
            )


def sizes(listing: Callable[[str | None], Sequence[Any]], path: str | None = None) -> dict[str, int]:
    """Size in bytes of every file below, by its path; `listing` lists one folder."""
    found: dict[str, int] = {}
    for entry in listing(path):
        found |= sizes(listing, entry.path) if entry.is_dir else {entry.path: entry.file_size or 0}
    return found


@contextmanager
def fetched(stored: Any, path: str, scratch: Path | None = None) -> Iterator[Path]:
    """A file or folder of an artifact repository: in place where it lies on this machine, else fetched to `scratch`
    and removed again."""
    if isinstance(stored, LocalArtifactRepository):
        yield Path(stored.artifact_dir) / path
        return
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        yield Path(stored.download_artifacts(path, folder))
