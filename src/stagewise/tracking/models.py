"""Checkpoints as MLflow LoggedModels: logged, fetched with every digest checked, registered.

A LoggedModel of ours has safetensors weights, config, generation config and tokenizer under `model/`, as
`from_pretrained` reads it, and beside it what MLflow's own loaders want (package.py). Its parent is a param,
since MLflow shows a model's params.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput, LoggedModelStatus, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS, MLFLOW_RUN_NOTE

from stagewise import progress
from stagewise.errors import AccessError, LineageError
from stagewise.hashing import folder_digests, weights_digest
from stagewise.record import frozen
from stagewise.record.code import environment, normalized
from stagewise.record.manifest import Model, Sealed
from stagewise.tracking.calls import closing
from stagewise.tracking.champion import holder
from stagewise.tracking.client import ABSENT
from stagewise.tracking.failures import in_short
from stagewise.tracking.package import FOLDER, write_package
from stagewise.tracking.records import Record
from stagewise.tracking.runs import SEAL, ActiveRun, flatten
from stagewise.tracking.stored import Files

PRESENT = {"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"}


def log_checkpoint(
    run: ActiveRun,
    folder: Path,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    note: str,
    answering: Mapping[str, Any],
) -> Model:
    """Logs a checkpoint, the `model/` and `components/` in `folder`, as an output of the run; returns how the
    manifest names it: every file by its path in the LoggedModel.

    It is READY only once every file was read back from the server with its digest; else it is FAILED.
    """
    flat, told = flatten(params), {MLFLOW_RUN_NOTE: note, **tags}
    model = run.client.create_logged_model(run.experiment_id, name, run.id, told, flat, "causal-lm")
    try:
        here = environment()
        write_package(folder, model.model_id, run.id, answering, normalized(here.packages), here.python)
        files = folder_digests(folder)
        stored = Files(str(model.artifact_location))
        stored.put(folder, files)
        stored.check(f"model {model.model_id}: file", files, folder.parent)
        run.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    except BaseException:
        with closing(), contextlib.suppress(Exception):  # the first error is the one that counts
            run.client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
        raise
    run.client.log_outputs(run.id, [LoggedModelOutput(model.model_id, step=0)])
    digest = weights_digest(folder / FOLDER)
    return Model(model_id=model.model_id, name=name, files=files, weights_sha256=digest, params=flat, tags=told)


def model_sizes(client: MlflowClient, model_id: str) -> dict[str, int]:
    return Files(str(client.get_logged_model(model_id).artifact_location)).sizes()


def lost(record: Record) -> str:
    """What is gone of a finished run, in words; '' where every file of it and of its model is there at its size."""
    outputs, client = record.manifest.outputs, record.client
    gone = _missing(outputs.artifacts, record.files.sizes())
    if gone:
        return f"its artifact {gone} is gone from the artifact store"
    if (model := outputs.model) is None:
        return ""
    try:
        sizes = model_sizes(client, model.model_id)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return f"its model {model.model_id} is deleted"
    gone = _missing(model.files, sizes)
    return f"the file {gone} of its model {model.model_id} is gone from the artifact store" if gone else ""


def _missing(entries: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    return next((path for path, entry in entries.items() if sizes.get(path) != entry["size"]), "")


def put_back(record: Record) -> None:
    """Writes tags again that somebody took from the run or its model: the sealed manifest has them, and `verify` asks
    for them."""
    client, model = record.client, record.manifest.outputs.model
    taken = _taken(record.tags, record.manifest.recorded.tags)
    if taken:
        client.log_batch(record.run_id, tags=[RunTag(key, value) for key, value in taken.items()])
    if model:
        found = client.get_logged_model(model.model_id).tags
        if of_model := _taken(found, {**model.tags, SEAL: record.digest}):
            client.set_logged_model_tags(model.model_id, of_model)
            taken |= of_model
    if taken:
        progress.say(f"! run {record.run_id}: tags had been removed, and are written again: {', '.join(taken)}")


def _taken(found: Mapping[str, str], recorded: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in recorded.items() if key not in found}


def fetch_checkpoint(run: ActiveRun | None, record: Record, folder: Path) -> Path:
    """The checkpoint that a train run made, below `folder`, as an input of `run` if there is one; each file's digest
    is checked."""
    model = record.model
    if run is not None:
        run.client.log_inputs(run.id, models=[LoggedModelInput(model.model_id)])
    folder.mkdir()
    try:
        stored = Files(str(record.client.get_logged_model(model.model_id).artifact_location))
        for path in model.files:
            stored.copy(path, folder)
    except (MlflowException, OSError) as error:
        raise LineageError(f"run {record.run_id}: its model {model.model_id} cannot be fetched: {error}") from error
    found = folder_digests(folder)
    for name in sorted(found.keys() | model.files.keys()):
        if found.get(name) != model.files.get(name):
            raise LineageError(
                f"run {record.run_id}: model file {name} was altered: found {found.get(name)}, "
                f"expected {model.files.get(name)}"
            )
    return folder / FOLDER


def loaded_files(record: Sealed) -> frozen.Files:
    """Of the checkpoint's files those that are loaded, by digest: all that a step which starts from it depends on."""
    files = record.model.files
    return {path: entry for path, entry in files.items() if path.startswith(f"{FOLDER}/")}


def claim(client: MlflowClient, name: str) -> None:
    """Has the registered model of this name, made where there is none, before anything is trained for it.

    Raises `AccessError` where it is somebody else's, or the registry takes no such name.
    """
    try:
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code not in PRESENT:
                raise
        client.set_registered_model_tag(name, "stagewise.study", name)  # a write, which shows that we may
    except AccessError as error:
        raise AccessError(
            f"registered model {name!r}: is somebody else's, and the study's checkpoints would be its versions; rename "
            f"the study (study: in the config), or ask for the permission to edit it. {error}"
        ) from error
    except MlflowException as error:
        raise AccessError(f"registered model {name!r}: the registry refuses it: {in_short(error)}") from error


def register(
    client: MlflowClient, lock: Path, name: str, model_id: str, alias: str, tags: Mapping[str, str], note: str
) -> ModelVersion:
    """The version of registered model `name` for this LoggedModel, made where there is none, under `alias`.

    An alias that moves from another version says so.
    """
    with FileLock(lock):  # of two studies that end at once, the second finds the first one's version
        versions = client.search_model_versions(f"name = '{name}'")
        source = f"models:/{model_id}"
        version = next((version for version in versions if version.source == source), None)
        if not versions:
            claim(client, name)
        if version is None:
            version = client.create_model_version(name, source, tags=dict(tags), description=note, model_id=model_id)
            # As `mlflow.register_model` does, for the model's own page.
            of_it = [{"name": name, "version": version.version}]
            client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(of_it)})
        for key, value in _taken(version.tags, tags).items():
            client.set_model_version_tag(name, version.version, key, value)
        before = holder(client, name, alias)
        client.set_registered_model_alias(name, alias, version.version)
    if before is not None and before.version != version.version:
        progress.say(
            f"! alias models:/{name}@{alias} moved from version {before.version} ({_experiment_of(client, before)}) to "
            f"{version.version}"
        )
    return version


def _experiment_of(client: MlflowClient, version: ModelVersion) -> str:
    """Whose version it is, in words."""
    try:
        run = client.get_run(str(version.run_id))
        name = client.get_experiment(run.info.experiment_id).name
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return "of a run that is gone"
    deleted = "" if run.info.lifecycle_stage == "active" else ", of a run that is deleted"
    return f"experiment {name}{deleted}"
