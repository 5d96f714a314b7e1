"""What a finished study's record becomes outside the tracking server: a module for each format, each with

    write(study, out)     # into the empty folder `out`; returns the files that it composed

A study is its pipeline's record and those of its steps, by the names that the pipeline's manifest gives them:

    Study(pipeline, {"split": …, "train base-0-s42": …, "eval base-0-s42": …, "report": …})
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stagewise.record import manifest as manifests
from stagewise.record.frozen import Files
from stagewise.record.manifest import Sealed


@dataclass(frozen=True, slots=True)
class Study:
    pipeline: Sealed
    steps: Mapping[str, Sealed]

    @property
    def config(self) -> dict[str, Any]:
        """Resolved: every default is filled in."""
        return dict(self.pipeline.manifest.config.part)

    @property
    def name(self) -> str:
        return str(self.config["study"])

    @property
    def records(self) -> dict[str, Sealed]:
        return {"pipeline": self.pipeline, **self.steps}

    def of_kind(self, kind: str) -> dict[str, Sealed]:
        """The steps of a kind in the order in which they were started; train and eval by their checkpoint's name."""
        found = [(name, each) for name, each in self.steps.items() if each.manifest.kind == kind]
        found.sort(key=lambda item: str(item[1].manifest.times.started))
        return {name.removeprefix(f"{kind} "): each for name, each in found}


def artifacts(record: Sealed) -> Files:
    """`{path: {"sha256", "size"}}` of a run's artifacts, its manifest among them."""
    data, digest = manifests.encode(record.manifest)
    return record.manifest.outputs.artifacts | {manifests.FILE: {"sha256": digest, "size": len(data)}}


def content(record: Sealed, path: str) -> bytes:
    """An artifact's bytes, the manifest's too."""
    return manifests.encode(record.manifest)[0] if path == manifests.FILE else record.artifact(path)
