"""The reports of a phase's steps beside its saves, in one file that each save adds its own to.

    log = Log(folder / "curve.log", StepReport)
    told = log.extend(reports)         {"count": 400, "sha256": "9f…"}: what the save says of it
    again = Log.read(path, StepReport, told)

So a save costs as much at the end of a phase as at its start. What stands behind the last save's reports, of a process
that was killed, is cut off by the next.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from stagewise.hashing import sha256

Report = TypeVar("Report")


class Log(Generic[Report]):
    """Reports are dataclasses of int and float alone, eight bytes each."""

    def __init__(self, path: Path, kind: type[Report], reports: Sequence[Report] = ()) -> None:
        """With the `reports` that the file holds already, of the phase's earlier processes."""
        self.path, self.kind = path, kind
        data = self._packed(reports)
        self.count, self._digest = len(reports), hashlib.sha256(data)

    def extend(self, reports: Sequence[Report]) -> dict[str, Any]:
        """Adds those of `reports`, all of the phase so far, that the file lacks, and has them on the disk."""
        data = self._packed(reports[self.count :])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.truncate(self.count * self._dtype().itemsize)
            file.seek(0, os.SEEK_END)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.count = len(reports)
        self._digest.update(data)
        return {"count": self.count, "sha256": self._digest.hexdigest()}

    @classmethod
    def read(cls, path: Path, kind: type[Report], told: Mapping[str, Any]) -> list[Report]:
        """Those that a save says are its own. Raises `ValueError` for others."""
        log = cls(path, kind)
        try:
            with path.open("rb") as file:
                data = file.read(told["count"] * log._dtype().itemsize)
        except OSError as error:
            raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error
        if sha256(data) != told["sha256"]:
            raise ValueError(f"{path.name} does not hold the {told['count']} reports that were written")
        return [kind(*row) for row in np.frombuffer(data, log._dtype()).tolist()]

    def _dtype(self) -> "np.dtype[Any]":
        return np.dtype([(each.name, "<i8" if each.type in (int, "int") else "<f8") for each in fields(self.kind)])  # type: ignore[arg-type]

    def _packed(self, reports: Sequence[Report]) -> bytes:
        return np.array([astuple(each) for each in reports], dtype=self._dtype()).tobytes()  # type: ignore[call-overload]
