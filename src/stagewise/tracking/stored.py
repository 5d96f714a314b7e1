"""Files as an artifact store holds them: listed, read, and read back before the copy here may go.

files = Files("s3://bucket/1/3f…/artifacts")
files.put(folder, ["order.npy"])
files.check("run 3f…: artifact", {"order.npy": {"sha256": "9c…"}}, scratch)
files.sizes()    {"order.npy": 812, "config/asked.yaml": 1201}
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from stagewise.errors import TrackingError
from stagewise.hashing import sha256_file
from stagewise.tracking.calls import call


class Files:
    """The files of a run or a model, below its address in an artifact store.

    A file is one request: it is neither looked up by a run's id nor listed before it is read, which MLflow's client
    does each time. Raises what MLflow raises for a file that is not there, and `TrackingError` where nobody answers.
    """

    def __init__(self, uri: str) -> None:
        self.uri = str(uri)
        self.repository: Any = get_artifact_repository(self.uri, tracking_uri=mlflow.get_tracking_uri())

    @property
    def folder(self) -> Path | None:
        """Where they lie on this machine, if they do."""
        local = isinstance(self.repository, LocalArtifactRepository)
        return Path(self.repository.artifact_dir) if local else None

    def put(self, folder: Path, paths: Iterable[str]) -> None:
        """Stores the files below `folder`, which are all that lie there."""
        if self.folder is not None:
            call(partial(self.repository.log_artifacts, str(folder)), "store files", self.uri, long=True)
            return
        for path in paths:  # each a call of its own: after a failure no other is sent again
            send = partial(self.repository.log_artifact, str(folder / path), os.path.dirname(path) or None)
            call(send, f"store {path}", self.uri, long=True)

    def copy(self, path: str, into: Path) -> Path:
        """The file, or of a remote store also a folder, copied to `into/path`."""
        local = _inside(into, path)
        local.parent.mkdir(parents=True, exist_ok=True)
        if self.folder is not None:
            shutil.copyfile(_inside(self.folder, path), local)
            return local
        below = call(partial(self._download, path, local), f"read {path}", self.uri, long=True)
        for each in below:
            self.copy(each, into)
        return local

    def _download(self, path: str, local: Path) -> list[str]:
        """Fetches a file; of a folder it returns the files below it."""
        try:
            self.repository._download_file(path, str(local))
        except Exception as error:
            # A store behind a server says of what is missing, or a folder, only that it could not be fetched: a failure
            # that would be tried again for minutes.
            if below := list(sizes(self.repository.list_artifacts, path)):
                local.unlink(missing_ok=True)
                return below
            if path not in sizes(self.repository.list_artifacts, os.path.dirname(path) or None, deep=False):
                raise FileNotFoundError(f"{path}: no such file") from error
            raise
        return []

    def read(self, path: str) -> bytes:
        with self.fetched(path) as copy:
            return copy.read_bytes()

    @contextmanager
    def fetched(self, path: str, scratch: Path | None = None) -> Iterator[Path]:
        """The file or folder: in place where it lies on this machine, else fetched to `scratch` and removed again."""
        if self.folder is not None:
            yield _inside(self.folder, path)
            return
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            yield self.copy(path, Path(folder))

    def sizes(self) -> dict[str, int]:
        """Size in bytes of every file, by its path."""
        return call(partial(sizes, self.repository.list_artifacts), "list files", self.uri)

    def check(self, what: str, entries: Mapping[str, Mapping[str, Any]], scratch: Path) -> None:
        """Reads them back, one at a time. Raises `TrackingError` for one that has another digest than its entry."""
        for path, entry in entries.items():
            try:
                with self.fetched(path, scratch) as copy:
                    found = sha256_file(copy)
            except (MlflowException, OSError) as error:
                raise TrackingError(f"{what} {path}: was logged and cannot be read back: {error}") from error
            if found != entry["sha256"]:
                raise TrackingError(
                    f"{what} {path}: the artifact store altered it: found sha256 {found}, expected {entry['sha256']}; "
                    "rerun the same command: the step resumes from its last save, or starts over where it left none"
                )


def _inside(folder: Path, path: str) -> Path:
    """The path below the folder. What a record names is never followed out of it."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise FileNotFoundError(f"{path}: no path of a file in a record")
    return folder / path


def sizes(listing: Callable[[str | None], Sequence[Any]], path: str | None = None, deep: bool = True) -> dict[str, int]:
    """Size in bytes of every file below, by its path; `listing` lists one folder."""
    found: dict[str, int] = {}
    for entry in listing(path):
        if not entry.is_dir:
            found[entry.path] = entry.file_size or 0
        elif deep:
            found |= sizes(listing, entry.path)
    return found
