"""Checkpoints as MLflow LoggedModels: logged, fetched with every digest checked, registered.

A LoggedModel of ours has safetensors weights, config, generation config and tokenizer under `model/`, as
`from_pretrained` reads it, and beside it what MLflow's own loaders want (package.py). Its parent is a param,
since MLflow shows a model's params.
"""

import contextlib
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from stagewise.errors import LineageError
from stagewise.hashing import folder_digests, weights_digest
from stagewise.manifest import Sealed
from stagewise.provenance import environment, normalized
from stagewise.tracking.package import FOLDER, write_package
from stagewise.tracking.runs import ActiveRun, Record, flatten
from stagewise.tracking.stored import check_arrived, sizes


def log_checkpoint(
    run: ActiveRun,
    folder: Path,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    note: str,
    answering: Mapping[str, Any],
) -> dict[str, Any]:
    """Logs a checkpoint, the `model/` and `components/` in `folder`, as an output of the run; returns how the
    manifest names it: every file by its path in the LoggedModel.

    It is READY only once every file was read back from the server with its digest; else it is FAILED.
    """
    said: dict[str, dict[str, str]] = {"params": flatten(params), "tags": {MLFLOW_RUN_NOTE: note, **tags}}
    model = run.client.create_logged_model(run.experiment_id, name, run.id, said["tags"], said["params"], "causal-lm")
    status = LoggedModelStatus.FAILED
    try:
        here = environment()
        write_package(folder, model.model_id, run.id, answering, normalized(here["packages"]), here["python"])
        files = folder_digests(folder)
        run.client.log_model_artifacts(model.model_id, str(folder))
        check_arrived(f"model {model.model_id}: file", model.artifact_location, files, folder.parent)
        status = LoggedModelStatus.READY
    finally:
        run.client.finalize_logged_model(model.model_id, status)
    run.client.log_outputs(run.id, [LoggedModelOutput(model.model_id, step=0)])
    digest = weights_digest(folder / FOLDER)
    return {"model_id": model.model_id, "name": name, "files": files, "weights_sha256": digest, **said}


def model_sizes(client: MlflowClient, model_id: str) -> dict[str, int]:
    return sizes(partial(client.list_logged_model_artifacts, model_id))


def is_whole(record: Record) -> bool:
    """Whether the run's model, if it made one, is there with every file at its size."""
    model = record.manifest["outputs"]["model"]
    if model is None:
        return True
    try:
        found = model_sizes(record.client, model["model_id"])
    except MlflowException:
        return False
    return all(found.get(path) == entry["size"] for path, entry in model["files"].items())


def fetch_checkpoint(run: ActiveRun | None, record: Record, folder: Path) -> Path:
    """The checkpoint that a train run made, below `folder`, as an input of `run` if there is one; each file's digest
    is checked."""
    model = record.manifest["outputs"]["model"]
    if run is not None:
        run.client.log_inputs(run.id, models=[LoggedModelInput(model["model_id"])])
    try:
        folder.mkdir()
        path = Path(mlflow.artifacts.download_artifacts(f"models:/{model['model_id']}", dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise LineageError(f"run {record.run_id}: its model {model['model_id']} cannot be fetched: {error}") from error
    (path / REGISTERED_MODEL_META_FILE_NAME).unlink(missing_ok=True)  # written by MLflow's loaders
    found = folder_digests(path)
    for name in sorted(found.keys() | model["files"].keys()):
        if found.get(name) != model["files"].get(name):
            raise LineageError(
                f"run {record.run_id}: model file {name} was altered: found {found.get(name)}, "
                f"expected {model['files'].get(name)}"
            )
    return path / FOLDER


def loaded_files(record: Sealed) -> dict[str, Any]:
    """Of the checkpoint's files those that are loaded, by digest: all that a step which starts from it depends on."""
    files = record.manifest["outputs"]["model"]["files"]
    return {path: entry for path, entry in files.items() if path.startswith(f"{FOLDER}/")}


def register(
    client: MlflowClient, lock: Path, name: str, model_id: str, alias: str, tags: Mapping[str, str], note: str
) -> ModelVersion:
    """The version of registered model `name` for this LoggedModel, made where there is none, under `alias`."""
    with FileLock(lock):  # of two studies that end at once, the second finds the first one's version
        versions = client.search_model_versions(f"name = '{name}'")
        source = f"models:/{model_id}"
        version = next((version for version in versions if version.source == source), None)
        if version is None:
            with contextlib.redirect_stderr(io.StringIO()):  # it says on stderr what it did; our own lines do
                version = mlflow.register_model(source, name, tags=dict(tags))
            client.update_model_version(name, version.version, note)
        client.set_registered_model_alias(name, alias, version.version)
    return version
