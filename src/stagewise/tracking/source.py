"""A record as a tracking server holds it, for those who check it or copy it (stagewise.verification.views)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from stagewise.errors import LineageError, TrackingError
from stagewise.record.code import scrub
from stagewise.tracking.client import ABSENT
from stagewise.tracking.stored import Files
from stagewise.verification.views import Absent, DatasetView, Deleted, ModelView, Owner, RunView, VersionView

T = TypeVar("T")


class Server:
    """A `verification.views.Source`."""

    weights = True

    def __init__(self, client: MlflowClient) -> None:
        self.client, self.where = client, scrub(str(client.tracking_uri))
        self.places: dict[Owner, Files] = {}

    def run(self, run_id: str) -> RunView:
        found: Run = _asked(lambda: self.client.get_run(run_id), f"run {run_id}")
        if found.info.lifecycle_stage != "active":
            raise Deleted(self._remedy(run_id, str(found.info.experiment_id)))
        inputs, outputs = found.inputs, found.outputs
        return RunView(
            run_id,
            str(found.info.experiment_id),
            found.info.run_name,
            found.info.status,
            dict(found.data.params),
            dict(found.data.tags),
            {name: self._points(run_id, name) for name in found.data.metrics},
            dict(found.data.metrics),
            [
                DatasetView(
                    entry.dataset.name,
                    entry.dataset.digest,
                    entry.dataset.source,
                    {tag.key: tag.value for tag in entry.tags},
                )
                for entry in (inputs.dataset_inputs if inputs else ())
            ],
            [entry.model_id for entry in (inputs.model_inputs if inputs else ()) or ()],
            [entry.model_id for entry in (outputs.model_outputs if outputs else ())],
        )

    def _remedy(self, run_id: str, experiment_id: str) -> str:
        """A run is deleted by itself, or with its experiment, and is restored as it was deleted."""
        experiment = _asked(lambda: self.client.get_experiment(experiment_id), f"experiment {experiment_id}")
        if experiment.lifecycle_stage == "active":
            return f"run {run_id} is deleted; restore it: mlflow runs restore --run-id {run_id}"
        return (
            f"run {run_id} is deleted, with its experiment {experiment.name!r}; restore that: mlflow experiments "
            f"restore --experiment-id {experiment_id}"
        )

    def _points(self, run_id: str, name: str) -> list[tuple[int, float]]:
        history = _asked(lambda: self.client.get_metric_history(run_id, name), f"run {run_id}")
        return sorted((point.step, point.value) for point in history)

    def model(self, model_id: str) -> ModelView:
        found = _asked(lambda: self.client.get_logged_model(model_id), f"model {model_id}")
        metrics: dict[str, dict[str, float]] = {}
        for metric in found.metrics or ():
            metrics.setdefault(str(metric.run_id), {})[metric.key] = metric.value
        status, run_id = str(found.status), str(found.source_run_id)
        location = str(found.artifact_location)
        return ModelView(model_id, found.name, status, run_id, dict(found.params), dict(found.tags), metrics, location)

    def version(self, name: str, version: str) -> VersionView:
        found = _asked(lambda: self.client.get_model_version(name, version), f"models:/{name}/{version}")
        location = _asked(
            lambda: self.client.get_model_version_download_uri(name, version), f"models:/{name}/{version}"
        )
        return VersionView(name, str(version), str(found.source), str(found.run_id), dict(found.tags), str(location))

    def aliases(self, name: str) -> Mapping[str, str]:
        try:
            found = _asked(lambda: self.client.get_registered_model(name), f"models:/{name}")
        except Absent:
            return {}
        return {alias: str(version) for alias, version in found.aliases.items()}

    def files(self, owner: Owner) -> dict[str, int]:
        found = _asked(self._files(owner).sizes, f"{owner.kind} {owner.id}")
        # MLflow's own loaders leave this file in a model that they load by the name of a version.
        found.pop(REGISTERED_MODEL_META_FILE_NAME if owner.kind == "models" else "", None)
        return found

    @contextmanager
    def fetch(self, owner: Owner, path: str) -> Iterator[Path]:
        """Read in place where the files lie on this machine, else fetched and removed again."""
        place, where = self._files(owner), f"{owner.kind} {owner.id}: {path}"
        with ExitStack() as stack:
            local = _asked(lambda: stack.enter_context(place.fetched(path)), where)
            if not local.exists():
                raise Absent(where)
            if not (local.is_file() or local.is_dir()):
                raise LineageError(f"{where}: found what is no file, which could be waited for without end")
            yield local

    def _files(self, owner: Owner) -> Files:
        if owner not in self.places:
            if owner.kind == "models":
                uri = _asked(lambda: self.client.get_logged_model(owner.id), f"model {owner.id}").artifact_location
            else:
                uri = _asked(lambda: self.client.get_run(owner.id), f"run {owner.id}").info.artifact_uri
            self.places[owner] = Files(str(uri))
        return self.places[owner]


def _asked(question: Callable[[], T], what: str) -> T:
    """Raises `Absent` where the server says that there is no such thing, `TrackingError` for all else."""
    try:
        return question()
    except (MlflowException, OSError) as error:
        if getattr(error, "error_code", None) in ABSENT or isinstance(error, FileNotFoundError):
            raise Absent(what) from error
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrackingError(f"{what}: cannot be read from the tracking server: {first}") from error
