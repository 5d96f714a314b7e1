"""Runs of the record: opened, filled, sealed and closed. `records` finds and reads them again.

with open_run(session, "split", "split", parent) as run:
    run.params({"data.train.path": "traces.jsonl"})
    run.upload(folder)                       # every file, and each is read back and held against its digest
    run.seal(...)                            # manifest.json, its digest as a tag; then FINISHED
"""

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_REPO_URL,
    MLFLOW_LOGGED_ARTIFACTS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from stagewise import progress
from stagewise.credentials import public
from stagewise.errors import foreseen
from stagewise.hashing import canonical_json, folder_digests, sha256
from stagewise.interrupts import handled, held, on_main_thread
from stagewise.record import manifest as manifests
from stagewise.record.code import scrub
from stagewise.record.frozen import Frozen, Machine
from stagewise.record.manifest import Code, ConfigPart, Environment, Inputs, Kind, Manifest, Outputs, Recorded, Times
from stagewise.tracking.calls import closing
from stagewise.tracking.owners import OWNER, close_if_gone, owner_tag
from stagewise.tracking.stored import Files

KIND, FINGERPRINT, SEAL = "stagewise.kind", "stagewise.fingerprint", "stagewise.manifest_sha256"
# Tags of MLflow's: the run above, the description, and who made the run.
PARENT, NOTE, USER = MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE, MLFLOW_USER
OUT = "out"  # the part of a step's folder that is uploaded
Launched = Run
"""A run that MLflow's launcher made for a process to fill."""
PARAM_LIMIT, BATCH = 6000, 100  # characters of a param's value, and params of a request, that MLflow takes


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that this process is filling."""

    client: MlflowClient
    id: str
    experiment_id: str
    parent: str | None
    started: str
    files: Files
    recorded: dict[str, dict[str, Any]] = field(default_factory=lambda: {"params": {}, "tags": {}, "metrics": {}})
    """What was logged, for the manifest."""

    def tag(self, **tags: str) -> None:
        """Sets `stagewise.<name>` tags."""
        self._tags({f"stagewise.{key}": value for key, value in tags.items()})

    def describe(self, markdown: str) -> None:
        self._tags({MLFLOW_RUN_NOTE: markdown})

    def _tags(self, tags: Mapping[str, str]) -> None:
        self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])
        self.recorded["tags"] |= tags

    def params(self, values: Mapping[str, Any]) -> None:
        """Logs nested values under dotted names; lists as canonical JSON, over-long values by their sha256."""
        flat = flatten(values)
        entries = [Param(key, value) for key, value in flat.items()]
        for start in range(0, len(entries), BATCH):
            self.client.log_batch(self.id, params=entries[start : start + BATCH])
        self.recorded["params"] |= flat

    def metrics(self, values: Mapping[str, float], model_id: str | None = None, **dataset: str) -> None:
        """Logs metrics, linked to a model and to a dataset (`dataset_name`, `dataset_digest`) where given."""
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.id, metrics=[Metric(key, value, now, 0, model_id, **dataset) for key, value in values.items()]
        )
        self.recorded["metrics"] |= values

    def mark_table(self, path: str) -> None:
        """Has MLflow's UI show a JSON artifact (`columns`, `data`) as a table, also across runs."""
        self._tags(table_tag(path))

    def upload(self, folder: Path) -> dict[str, Any]:
        """Logs every file below `folder`; returns `{path: {sha256, size}}`, each read back from the server."""
        entries = folder_digests(folder)
        self.files.put(folder, entries)
        self.files.check(f"run {self.id}: artifact", entries, folder.parent)
        return entries

    def seal(
        self,
        *,
        kind: Kind,
        fingerprint: str | None,
        config: ConfigPart,
        code: Code,
        environment: Environment,
        machine: Machine,
        inputs: Inputs,
        outputs: Outputs,
        facts: Frozen,
    ) -> str:
        """Writes the manifest, the last thing a run records; returns its digest."""
        manifest = Manifest(
            schema_=manifests.SCHEMA,
            kind=kind,
            fingerprint=fingerprint,
            experiment_id=self.experiment_id,
            config=config,
            code=code,
            environment=environment,
            machine=machine,
            inputs=inputs,
            outputs=outputs,
            recorded=Recorded(**self.recorded),
            facts=facts.json_value(),
            times=Times(started=self.started, ended=now()),
        )
        data, digest = manifests.encode(manifest)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / manifests.FILE).write_bytes(data)
            self.files.put(Path(folder), [manifests.FILE])
            self.files.check(f"run {self.id}: artifact", {manifests.FILE: {"sha256": digest}}, Path(folder))
        self.client.set_tag(self.id, SEAL, digest)
        if outputs.model:
            self.client.set_logged_model_tags(outputs.model.model_id, {SEAL: digest})
        return digest


def table_tag(path: str) -> dict[str, str]:
    return {MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": path, "type": "table"}])}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else canonical_json(value).decode()
            flat[f"{prefix}{key}"] = text if len(text) <= PARAM_LIMIT else f"sha256:{sha256(text.encode())}"
    return flat


def launched_run(
    client: MlflowClient, launched: Launched | None, kind: str, name: str
) -> AbstractContextManager[ActiveRun | None]:
    """The launcher's run, for a command that has none where it was not launched."""
    if launched is None:
        return nullcontext()
    return open_run(client, launched.info.experiment_id, kind, name, launched=launched)


@contextmanager
def open_run(
    client: MlflowClient,
    experiment_id: str,
    kind: str,
    name: str,
    parent: str | None = None,
    launched: Launched | None = None,
) -> Iterator[ActiveRun]:
    """A run for the body to fill: the one that MLflow's launcher made for it, else a new one below `parent`.

    It ends FINISHED, FAILED where the body raises, KILLED on Ctrl-C or SIGTERM; never RUNNING.
    """
    tags = {KIND: kind, MLFLOW_RUN_NAME: name, OWNER: owner_tag()}
    active: ActiveRun | None = None  # while it is to be closed
    with handled(_interrupt, signal.SIGTERM):  # so that whoever ends the process politely lets the run be closed
        try:
            with held():  # no signal comes between the making of a run and the note of its id
                active = _taken(client, launched, tags) if launched else _new(client, experiment_id, name, parent, tags)
            active.recorded["tags"] |= {KIND: kind} | ({MLFLOW_PARENT_RUN_ID: active.parent} if active.parent else {})
            yield active
            with held():
                client.set_terminated(active.id, status="FINISHED")
                active = None
        except BaseException as error:
            if active is not None:
                _close(client, active.id, error)
            raise


def _close(client: MlflowClient, run_id: str, error: BaseException) -> None:
    """Ends a run whose body raised, if the server lets it: the error of the body is what counts."""
    if on_main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the run is being closed; a second one changes nothing
    killed = isinstance(error, KeyboardInterrupt)
    if killed and not error.args:  # the signal came where nobody had anything to add
        error.args = ("rerun the same command to resume",)
    with closing(), suppress(Exception):
        if said := foreseen(error):
            client.set_tag(run_id, "stagewise.error", public(str(said))[:5000])
        client.set_terminated(run_id, status="KILLED" if killed else "FAILED")


def _new(client: MlflowClient, experiment_id: str, name: str, parent: str | None, tags: Mapping[str, str]) -> ActiveRun:
    below = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
    info = client.create_run(experiment_id, tags={**tags, **below}, run_name=name).info
    return ActiveRun(client, info.run_id, experiment_id, parent, now(), Files(str(info.artifact_uri)))


def _taken(client: MlflowClient, launched: Launched, tags: Mapping[str, str]) -> ActiveRun:
    found, info = launched.data.tags, launched.info
    tags = {**tags, **_cleaned(found)}
    client.log_batch(info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    files, parent = Files(str(info.artifact_uri)), found.get(MLFLOW_PARENT_RUN_ID)
    active = ActiveRun(client, info.run_id, str(info.experiment_id), parent, now(), files)
    active.recorded["params"] |= launched.data.params  # the entry point's, which the launcher has recorded
    return active


def _cleaned(found: Mapping[str, str]) -> dict[str, str]:
    """Of the tags that the launcher wrote those that may name a password or a home folder, without them."""
    tags = {key: public(value) for key, value in found.items() if public(value) != value}
    if MLFLOW_GIT_REPO_URL in found:
        tags[MLFLOW_GIT_REPO_URL] = scrub(found[MLFLOW_GIT_REPO_URL])
    source = found.get(MLFLOW_SOURCE_NAME, "")
    if source:  # the address that `mlflow run` was given, or the folder
        tags[MLFLOW_SOURCE_NAME] = scrub(source) if "://" in source and not source.startswith("file:") else "stagewise"
    return tags


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


# --- reading ------------------------------------------------------------------------------------


@contextmanager
def work_folder(folder: Path, run: ActiveRun, keep: bool = False) -> Iterator[tuple[Path, str]]:
    """The step's own folder, with an empty `out` in it, and the run that worked there before ('' if none).

    It is removed once all that was made was read back from the server, unless it is to be kept. After a failure
    or a kill it stays, so that the same step can go on from what it saved; the run that left it so is closed.
    """
    marker = folder / "run"
    earlier = _left(run.client, marker.read_text()) if marker.is_file() else ""
    for name in (OUT, "parent", "processes", "checkpoint"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / OUT).mkdir(parents=True)
    marker.write_text(run.id)
    yield folder, earlier
    if not keep:
        shutil.rmtree(folder)


def _left(client: MlflowClient, run_id: str) -> str:
    """The run itself, closed if its process is gone; '' for one of another store, or that is no more: what it saved
    holds all the same."""
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return ""
    owner = run.data.tags.get(OWNER, "")
    if run.info.status == "RUNNING" and not close_if_gone(client, run_id, owner, left=True):
        progress.say(
            f"! run {run_id} left this step, and is RUNNING in the record: its process was one of another machine or "
            f"container, so nobody here can say whether it is gone; if it is: mlflow runs delete --run-id {run_id}"
        )
    return run_id
