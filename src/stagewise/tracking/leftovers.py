"""What failed and superseded runs left on the tracking server, and how it is removed.

    for leftover in find(client): print(leftover.run.info.run_id, leftover.why, leftover.bytes)

A leftover is a run of ours that ended FAILED or KILLED, or a finished one that did over again what an earlier
one of its experiment had done (equal fingerprints, made from the same runs), if that one still stands. Never one that a
sealed manifest names, and none whose model is registered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from stagewise.errors import LineageError, TrackingError
from stagewise.hashing import canonical_json
from stagewise.record import manifest as manifests
from stagewise.tracking import eval_traces
from stagewise.tracking.calls import call
from stagewise.tracking.lineage import check_standing, record_of
from stagewise.tracking.models import model_sizes
from stagewise.tracking.records import download
from stagewise.tracking.runs import FINGERPRINT, KIND, SEAL
from stagewise.tracking.store import pages
from stagewise.tracking.stored import Files


@dataclass(frozen=True, slots=True)
class Leftover:
    run: Run
    why: str
    models: tuple[LoggedModel, ...]
    bytes: int  # of artifacts and models


def find(client: MlflowClient) -> list[Leftover]:
    """The leftovers of all experiments, oldest first. Raises `TrackingError` where a sealed manifest can't be read:
    nobody could say then what it names."""
    experiments = [found.experiment_id for found in pages(client.search_experiments, ViewType.ALL)]
    # Deleted ones too: they can be restored, and are whole then only if what they name is there.
    every = pages(client.search_runs, experiments, run_view_type=ViewType.ALL)
    ours = [run for run in every if KIND in run.data.tags]
    made_from = {run.info.run_id: _made_from(client, run) for run in ours if SEAL in run.data.tags}
    named = {each["run_id"] for references in made_from.values() for each in references.values()}
    runs = [run for run in ours if run.info.lifecycle_stage == "active"]
    models = _models(client, experiments)
    registered = {version.source for version in pages(client.search_model_versions)}
    runs.sort(key=lambda run: (run.info.start_time, run.info.run_id))
    superseded = _superseded(client, runs, made_from)
    found = []
    for run in runs:
        own = tuple(models.get(run.info.run_id, ()))
        why = str(run.info.status).lower() if run.info.status in ("FAILED", "KILLED") else ""
        if run.info.run_id in superseded:
            why = "superseded: an earlier run did the same"
        kept = run.info.run_id in named or any(f"models:/{model.model_id}" in registered for model in own)
        if why and not kept:
            found.append(Leftover(run, why, own, _bytes(client, run, own)))
    return found


def remove(client: MlflowClient, leftover: Leftover) -> None:
    """Its files, its models' files and its MLflow traces are gone then; its run and models are deleted as MLflow
    deletes: hidden."""
    eval_traces.remove(client, leftover.run.info.experiment_id, leftover.run.info.run_id)
    for model in leftover.models:
        _empty(model.artifact_location)
        client.delete_logged_model(model.model_id)
    _empty(leftover.run.info.artifact_uri)
    client.delete_run(leftover.run.info.run_id)


def _empty(uri: str | None) -> None:
    repository: Any = get_artifact_repository(str(uri))
    call(repository.delete_artifacts, "remove files", str(uri))


def _superseded(client: MlflowClient, runs: list[Run], made_from: Mapping[str, Any]) -> set[str]:
    """The ids of those, of runs from the earliest on, that did what an earlier one had done."""
    same: dict[tuple[str, str, bytes], list[str]] = {}
    for run in runs:
        fingerprint, references = run.data.tags.get(FINGERPRINT), made_from.get(run.info.run_id)
        if run.info.status == "FINISHED" and fingerprint and references is not None:
            # Steps are looked up within their experiment.
            step = run.info.experiment_id, fingerprint, canonical_json(references)
            same.setdefault(step, []).append(run.info.run_id)
    later = set[str]()
    for ids in same.values():
        waiting = list(ids)
        while len(waiting) > 1 and not _stands(client, waiting[0]):
            waiting.pop(0)
        later |= set(waiting[1:])
    return later


def _stands(client: MlflowClient, run_id: str) -> bool:
    try:
        check_standing(record_of(client, run_id))
    except LineageError:
        return False
    return True


def _made_from(client: MlflowClient, run: Run) -> dict[str, Any]:
    try:
        manifest = manifests.decode(download(client, run.info.run_id, manifests.FILE))
        return dict(manifest.inputs.runs)
    except (LineageError, ValueError, KeyError) as error:
        if run.info.lifecycle_stage != "active":
            return {}  # its files were removed with it
        raise TrackingError(
            f"run {run.info.run_id}: it is sealed, but its manifest cannot be read, so what it needs is unknown and "
            f"nothing is removed: {error}"
        ) from error


def _models(client: MlflowClient, experiments: list[str]) -> dict[str, list[LoggedModel]]:
    """The models of each run."""
    found: dict[str, list[LoggedModel]] = {}
    for model in pages(client.search_logged_models, experiments):
        found.setdefault(str(model.source_run_id), []).append(model)
    return found


def _bytes(client: MlflowClient, run: Run, models: tuple[LoggedModel, ...]) -> int:
    try:
        sizes: list[Any] = list(Files(str(run.info.artifact_uri)).sizes().values())
        for model in models:
            sizes += model_sizes(client, model.model_id).values()
    except MlflowException:
        return 0  # its files are gone already; what is left is a row
    return sum(sizes)
