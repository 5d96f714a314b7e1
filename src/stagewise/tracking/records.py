"""Runs of the record, found and read again by their id.

record = read(client, "5f0c…", "train")     # or LineageError: it is finished, and its seal holds
record.facts(TrainFacts).order_sha256
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from stagewise.errors import LineageError, TrackingError
from stagewise.hashing import sha256
from stagewise.record import manifest as manifests
from stagewise.record.facts import TrainFacts
from stagewise.tracking.failures import in_short
from stagewise.tracking.runs import FINGERPRINT, KIND, SEAL
from stagewise.tracking.store import pages
from stagewise.tracking.stored import Files


@dataclass(frozen=True, slots=True)
class Record(manifests.Sealed):
    """A finished run on a tracking server."""

    client: MlflowClient
    tags: Mapping[str, str]
    """As the server had them when it was read."""
    files: Files


def download(client: MlflowClient, run_id: str, path: str) -> bytes:
    """A file of a run of which nothing is known but its id; it may be deleted."""
    return _content(Files(str(client.get_run(run_id).info.artifact_uri)), run_id, path)


def _content(files: Files, run_id: str, path: str) -> bytes:
    """Raises `LineageError` for an artifact that is gone, `TrackingError` where the store does not give it."""
    try:
        return files.read(path)
    except FileNotFoundError as error:
        raise LineageError(f"run {run_id}: artifact {path} is gone from the artifact store") from error
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id}: artifact {path} cannot be fetched: {in_short(error)}") from error


def get(client: MlflowClient, run_id: str) -> Run:
    """The run of this id. Raises `LineageError` where there is none, or it is deleted."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise LineageError(f"run {run_id!r}: no such run on this tracking server") from error
    if run.info.lifecycle_stage != "active":
        raise LineageError(f"run {run_id} is deleted: mlflow runs restore --run-id {run_id}")
    return run


def read_any(client: MlflowClient, run_id: str, kind: str) -> Run:
    """The run of this id and kind, whatever its status. Raises `LineageError` for any other."""
    run = get(client, run_id)
    found = run.data.tags.get(KIND)
    if found != kind:
        raise LineageError(f"run {run_id}: found a run of kind {found or 'unknown to stagewise'}, expected {kind}")
    return run


def read(client: MlflowClient, run_id: str, kind: str) -> Record:
    """The finished run of this id and kind. Raises `LineageError` for any other, and for a broken seal."""
    run = read_any(client, run_id, kind)
    if run.info.status != "FINISHED":
        raise LineageError(f"run {run_id}: found a {kind} run that is {run.info.status}, expected FINISHED")
    files = Files(str(run.info.artifact_uri))
    data = _content(files, run_id, manifests.FILE)
    expected = run.data.tags.get(SEAL)
    if sha256(data) != expected:
        raise LineageError(f"run {run_id}: manifest.json was altered: found sha256 {sha256(data)}, expected {expected}")
    fetch = partial(_content, files, run_id)
    manifest, digest = manifests.decode(data), sha256(data)
    return Record(run_id, str(run.info.experiment_id), manifest, digest, fetch, client, dict(run.data.tags), files)


def find_finished(
    client: MlflowClient, experiment_id: str, kind: str, fingerprint: str, holds: Callable[["Record"], bool]
) -> Record | None:
    """The earliest finished run of this fingerprint whose seal holds, and that `holds`."""
    for run in _finished(client, experiment_id, fingerprint):
        try:
            record = read(client, run.info.run_id, kind)
        except LineageError:
            continue  # it no longer stands, so the step is done again; `verify` says what broke
        if holds(record):
            return record
    return None


def find_deleted(client: MlflowClient, experiment_id: str, fingerprint: str) -> str | None:
    """The id of the earliest finished run of this fingerprint that was deleted, and can be restored."""
    runs = _finished(client, experiment_id, fingerprint, run_view_type=ViewType.DELETED_ONLY)
    return next((run.info.run_id for run in runs), None)


def _finished(client: MlflowClient, experiment_id: str, fingerprint: str, **options: Any) -> Iterator[Run]:
    query = f"attributes.status = 'FINISHED' and tags.`{FINGERPRINT}` = '{fingerprint}'"
    return pages(client.search_runs, [experiment_id], query, order_by=["attributes.start_time ASC"], **options)


def studies_elsewhere(client: MlflowClient, study: str, experiment_id: str) -> list[str]:
    """The names of other experiments in which a study of this name was begun."""
    experiments = {found.experiment_id: found.name for found in pages(client.search_experiments)}
    experiments.pop(experiment_id, None)
    query = f"tags.`{KIND}` = 'pipeline' and tags.`stagewise.study` = '{study}'"
    found = pages(client.search_runs, list(experiments), query) if experiments else ()
    return sorted({experiments[run.info.experiment_id] for run in found})


def evaluations(client: MlflowClient, trained: Record) -> list[Record]:
    """The finished eval runs of this checkpoint in its experiment whose seals hold, the earliest first."""
    facts = trained.facts(TrainFacts)
    query = f"attributes.status = 'FINISHED' and tags.`{KIND}` = 'eval'"
    query += "".join(f" and tags.`stagewise.{name}` = '{getattr(facts, name)}'" for name in ("arm", "phase", "seed"))
    found = []
    for run in pages(client.search_runs, [trained.experiment_id], query, order_by=["attributes.start_time ASC"]):
        with suppress(LineageError):  # of one that is broken nothing can be said; `verify` says what broke
            found.append(read(client, run.info.run_id, "eval"))
    return [record for record in found if record.manifest.inputs.runs["train"] == trained.reference]
