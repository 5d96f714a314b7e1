"""Sealed runs of no study, and where their files are."""

from pathlib import Path
from typing import Any

from stagewise.hashing import sha256
from stagewise.record.facts import Dtypes, EvalFacts, SelfCheck, SplitFacts, Traces, TrainFacts
from stagewise.record.frozen import Data, Frozen
from stagewise.record.manifest import Code, ConfigPart, Environment, Inputs, Kind, Outputs
from stagewise.tracking import lineage, runs

DIGEST = "f" * 64


DATA: Data = {"name": "data", "sha256": DIGEST, "size": 1, "rows": 1}
FACTS: dict[str, Frozen] = {
    "split": SplitFacts(source=DATA, eval=DATA, stages={}),
    "train": TrainFacts(
        arm="flat",
        phase=1,
        seed=1,
        phases=1,
        chain=[],
        source_sha256=DIGEST,
        parameters=1,
        buffers=0,
        order_sha256=DIGEST,
        multiset_sha256=DIGEST,
        counted={},
        counted_so_far={},
        allow_inexact=False,
        resumed_at_step=0,
        passed_over=[],
        lost=[],
        dtypes=Dtypes(model="float32", weights="float32"),
        self_check=SelfCheck(architecture="A", decoding="select", layouts=["joined"], differences={}, rejected={}),
    ),
    "eval": EvalFacts(
        arm="flat",
        phase=1,
        seed=1,
        phases=1,
        items=1,
        checkpoint_sha256=DIGEST,
        engine="transformers",
        decoding="select",
        weights="verified",
        batch_size=1,
        resumed_at_answer=0,
        traces=Traces(logged=0, of=1, seed=0),
    ),
}


def finished(client: Any, study: str, folder: Path, kind: Kind = "split", **made_from: str) -> str:
    """The id of a run that was sealed, made from the runs of these ids."""
    folder.mkdir(exist_ok=True)
    (folder / "file.txt").write_text("content")
    references = {name: lineage.record_of(client, run_id).reference for name, run_id in made_from.items()}
    with runs.open_run(client, study, kind, "a run") as run:
        run.tag(fingerprint=sha256(kind.encode()))
        run.seal(
            kind=kind,
            fingerprint=DIGEST,
            config=ConfigPart(part={}, file_sha256=DIGEST),
            code=Code(commit=None, dirty=None, package_sha256=DIGEST, step_sha256=DIGEST),
            environment=Environment(python="3.11.7", platform="Linux x86_64", packages={}),
            machine={"device": "cpu", "threads": 1},
            inputs=Inputs(runs=references, datasets={}),
            outputs=Outputs(artifacts=run.upload(folder), model=None),
            facts=FACTS[kind],
        )
    return run.id


def artifact(client: Any, run_id: str, path: str) -> Path:
    return Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / path
