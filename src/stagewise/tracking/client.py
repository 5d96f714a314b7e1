"""MLflow's client, with every request made by `calls.call`: what comes of a failure is decided there, once.

client = Client(tracking_uri="http://127.0.0.1:5000")
run = client.create_run("1")        # one run, also where the answer got lost and it had to be asked for again
"""

import inspect
from functools import partial
from typing import Any
from uuid import uuid4

from mlflow import MlflowClient
from mlflow.entities import Experiment, LoggedModel, LoggedModelOutput, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from stagewise.tracking.calls import call, create, inside

NONCE = "stagewise.owner.nonce"  # a tag of each run of ours, by which it is found where its id got lost
TRANSFERS = {"log_artifact", "log_artifacts", "log_text", "log_model_artifacts", "download_artifacts"}
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"}
"""The error codes by which MLflow says that there is no such thing, or that this is no id."""


class Client(MlflowClient):
    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in Client.__dict__ or not inspect.ismethod(found) or inside():
            return found
        return partial(_method, found)

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: dict[str, Any] | None = None,
        run_name: str | None = None,
    ) -> Run:
        nonce = uuid4().hex
        make = partial(super().create_run, experiment_id, start_time, {**(tags or {}), NONCE: nonce}, run_name)

        def find() -> Run | None:
            return next(iter(self.search_runs([experiment_id], f"tags.`{NONCE}` = '{nonce}'", max_results=1)), None)

        return create(make, "create run", find, lambda run: run.info.run_id)

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: dict[str, Any] | None = None
    ) -> str:
        make = partial(super().create_experiment, name, artifact_location, tags)

        def find() -> str | None:
            found: Experiment | None = self.get_experiment_by_name(name)
            return None if found is None else str(found.experiment_id)

        return create(make, "create experiment", find, lambda made: made)

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """A run makes one model of a name, so those tell it from others."""
        make = partial(super().create_logged_model, experiment_id, name, source_run_id, tags, params, model_type)

        def find() -> LoggedModel | None:
            wanted = f"name = '{name}' AND source_run_id = '{source_run_id}'"
            return next(iter(self.search_logged_models([experiment_id], wanted)), None)

        return create(make, "create logged model", find, lambda model: model.model_id)

    def create_registered_model(
        self,
        name: str,
        tags: dict[str, Any] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        make = partial(super().create_registered_model, name, tags, description, deployment_job_id)

        def find() -> RegisteredModel | None:
            try:
                return self.get_registered_model(name)
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return None
                raise

        return create(make, "create registered model", find, lambda model: model.name)

    def create_model_version(self, name: str, source: str, *arguments: Any, **options: Any) -> ModelVersion:
        """A source has one version of a name, so those tell it from others."""
        make = partial(super().create_model_version, name, source, *arguments, **options)

        def find() -> ModelVersion | None:
            versions = self.search_model_versions(f"name = '{name}'")
            return next((version for version in versions if version.source == source), None)

        return create(make, "create model version", find)

    def log_outputs(self, run_id: str, models: list[LoggedModelOutput]) -> None:
        """MLflow refuses to log a model twice."""
        make = partial(super().log_outputs, run_id, models)

        def find() -> bool | None:
            outputs = self.get_run(run_id).outputs
            logged = {output.model_id for output in outputs.model_outputs} if outputs else set()
            return True if logged.issuperset(model.model_id for model in models) else None

        create(make, "log outputs", find)


def _method(method: Any, /, *arguments: Any, **options: Any) -> Any:
    name = method.__name__
    send = partial(method, *arguments, **options)
    # What makes something is sent again only where somebody looks for it first.
    return call(send, name.replace("_", " "), long=name in TRANSFERS, once=name.startswith("create_"))
