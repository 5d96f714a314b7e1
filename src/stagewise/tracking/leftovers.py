"""What failed and superseded runs left on the tracking server, and how it is removed.

    for leftover in find(client): print(leftover.run.info.run_id, leftover.why, leftover.bytes)

A leftover is a run of ours that ended FAILED or KILLED, or a finished one that did over again what an earlier
one of its experiment had done (equal fingerprints). Never one that a sealed manifest names, and none whose model
is registered.
"""

from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from stagewise import manifest as manifests
from stagewise.errors import LineageError, TrackingError
from stagewise.tracking import traces
from stagewise.tracking.calls import call
from stagewise.tracking.models import model_sizes
from stagewise.tracking.runs import FINGERPRINT, KIND, SEAL, download
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
    runs = [run for run in pages(client.search_runs, experiments) if KIND in run.data.tags]
    named = {run_id for run in runs if SEAL in run.data.tags for run_id in _named(client, run)}
    models = _models(client, experiments)
    registered = {version.source for version in pages(client.search_model_versions)}
    found = []
    seen: set[tuple[str, str]] = set()
    for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id)):
        own = tuple(models.get(run.info.run_id, ()))
        why = _why(run, seen)
        kept = run.info.run_id in named or any(f"models:/{model.model_id}" in registered for model in own)
        if why and not kept:
            found.append(Leftover(run, why, own, _bytes(client, run, own)))
    return found


def remove(client: MlflowClient, leftover: Leftover) -> None:
    """Its files, its models' files and its MLflow traces are gone then; its run and models are deleted as MLflow
    deletes: hidden."""
    traces.remove(client, leftover.run.info.experiment_id, leftover.run.info.run_id)
    for model in leftover.models:
        _empty(model.artifact_location)
        client.delete_logged_model(model.model_id)
    _empty(leftover.run.info.artifact_uri)
    client.delete_run(leftover.run.info.run_id)


def _empty(uri: str | None) -> None:
    repository: Any = get_artifact_repository(str(uri))
    call(repository.delete_artifacts, "remove files", str(uri))


def _why(run: Run, seen: set[tuple[str, str]]) -> str:
    """Why nobody needs it, or ''. `seen` are the fingerprints that earlier finished runs have, each with the
    experiment: steps are looked up within theirs."""
    if run.info.status in ("FAILED", "KILLED"):
        return str(run.info.status).lower()
    fingerprint = run.data.tags.get(FINGERPRINT)
    if run.info.status != "FINISHED" or SEAL not in run.data.tags or fingerprint is None:
        return ""
    step = run.info.experiment_id, fingerprint
    if step in seen:
        return "superseded: an earlier run did the same"
    seen.add(step)
    return ""


def _named(client: MlflowClient, run: Run) -> list[str]:
    try:
        manifest = manifests.decode(download(client, run.info.run_id, manifests.FILE))
        return [entry["run_id"] for entry in manifest["inputs"]["runs"].values()]
    except (LineageError, ValueError, KeyError) as error:
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
