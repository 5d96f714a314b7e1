"""Runs of the record: opened, filled, sealed and closed; and found and read again by their id.

with open_run(session, "split", "split", parent) as run:
    run.params({"data.train.path": "traces.jsonl"})
    run.upload(folder)                       # every file, and each is read back and held against its digest
    run.seal(...)                            # manifest.json, its digest as a tag; then FINISHED
"""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
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

from stagewise import manifest as manifests
from stagewise.credentials import public
from stagewise.errors import LineageError, UserError
from stagewise.hashing import canonical_json, folder_digests, sha256
from stagewise.provenance import scrub
from stagewise.tracking.owners import OWNER, owner_tag
from stagewise.tracking.store import pages
from stagewise.tracking.stored import check_arrived, sizes

KIND, FINGERPRINT, SEAL = "stagewise.kind", "stagewise.fingerprint", "stagewise.manifest_sha256"
# Tags of MLflow's: the run above, the description, and who made the run.
PARENT, NOTE, USER = MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE, MLFLOW_USER
OUT = "out"  # the part of a step's folder that is uploaded
PARAM_LIMIT, BATCH = 6000, 100  # characters of a param's value, and params of a request, that MLflow takes


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that this process is filling."""

    client: MlflowClient
    id: str
    experiment_id: str
    parent: str | None
    started: str
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
        self.client.log_artifacts(self.id, str(folder))
        uri = str(self.client.get_run(self.id).info.artifact_uri)
        check_arrived(f"run {self.id}: artifact", uri, entries, folder.parent)
        return entries

    def seal(self, **parts: Any) -> str:
        """Writes the manifest, the last thing a run records; returns its digest."""
        parts |= {"experiment_id": self.experiment_id, "recorded": self.recorded, "started": self.started}
        built = manifests.build(**parts, ended=now())
        data, digest = manifests.encode(built)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / manifests.FILE
            path.write_bytes(data)
            self.client.log_artifact(self.id, str(path))
            uri = str(self.client.get_run(self.id).info.artifact_uri)
            check_arrived(f"run {self.id}: artifact", uri, {manifests.FILE: {"sha256": digest}}, Path(folder))
        self.client.set_tag(self.id, SEAL, digest)
        if model := built["outputs"]["model"]:
            self.client.set_logged_model_tags(model["model_id"], {SEAL: digest})
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


@contextmanager
def open_run(
    client: MlflowClient, experiment_id: str, kind: str, name: str, parent: str | None = None
) -> Iterator[ActiveRun]:
    """A run for the body to fill: the one that MLflow's launcher made for this process, else a new one.

    It ends FINISHED, FAILED where the body raises, KILLED on Ctrl-C or SIGTERM; never RUNNING.
    """
    tags = {KIND: kind, MLFLOW_RUN_NAME: name, OWNER: owner_tag()}
    launched_with: dict[str, str] = {}  # the entry point's parameters, which the launcher has recorded
    if parent is not None:
        tags[MLFLOW_PARENT_RUN_ID] = parent
    # The launcher's run is taken once: a step that runs inside this process opens a run of its own.
    launched = os.environ.pop("MLFLOW_RUN_ID", None)
    if launched is not None:
        run_id = launched
        data = client.get_run(run_id).data
        found, launched_with = data.tags, dict(data.params)
        parent = found.get(MLFLOW_PARENT_RUN_ID)
        tags |= _cleaned(found)
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    else:
        run_id = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    with _sigterm_raises():
        try:
            active = ActiveRun(client, run_id, experiment_id, parent, now())
            active.recorded["params"] |= launched_with
            active.recorded["tags"] |= {KIND: kind} | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
            yield active
        except BaseException as error:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the run is being closed; a second one changes nothing
            killed = isinstance(error, KeyboardInterrupt)
            if killed and not error.args:  # the signal came where nobody had anything to add
                error.args = ("the same command goes on from what was saved",)
            if isinstance(error, UserError):
                client.set_tag(run_id, "stagewise.error", public(str(error))[:5000])
            client.set_terminated(run_id, status="KILLED" if killed else "FAILED")
            raise
    client.set_terminated(run_id, status="FINISHED")


def _cleaned(found: Mapping[str, str]) -> dict[str, str]:
    """Of the tags that the launcher wrote those that may name a password or a home folder, without them."""
    tags = {key: public(value) for key, value in found.items() if public(value) != value}
    if MLFLOW_GIT_REPO_URL in found:
        tags[MLFLOW_GIT_REPO_URL] = scrub(found[MLFLOW_GIT_REPO_URL])
    source = found.get(MLFLOW_SOURCE_NAME, "")
    if source:  # the address that `mlflow run` was given, or the folder
        tags[MLFLOW_SOURCE_NAME] = scrub(source) if "://" in source and not source.startswith("file:") else "stagewise"
    return tags


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM becomes KeyboardInterrupt, so that whoever ends the process politely lets the run be closed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record(manifests.Sealed):
    """A finished run on a tracking server."""

    client: MlflowClient


def download(client: MlflowClient, run_id: str, path: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(run_id, path, folder)).read_bytes()
        except (MlflowException, OSError) as error:
            raise LineageError(f"run {run_id}: artifact {path} cannot be fetched: {error}") from error


def read_any(client: MlflowClient, run_id: str, kind: str) -> Run:
    """The run of this id and kind, whatever its status. Raises `LineageError` for any other."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise LineageError(f"run {run_id!r}: no such run on this tracking server") from error
    found = run.data.tags.get(KIND)
    if found != kind:
        raise LineageError(f"run {run_id}: found a run of kind {found or 'unknown to stagewise'}, expected {kind}")
    return run


def read(client: MlflowClient, run_id: str, kind: str) -> Record:
    """The finished run of this id and kind. Raises `LineageError` for any other, and for a broken seal."""
    run = read_any(client, run_id, kind)
    if run.info.status != "FINISHED":
        raise LineageError(f"run {run_id}: found a {kind} run that is {run.info.status}, expected FINISHED")
    data = download(client, run_id, manifests.FILE)
    expected = run.data.tags.get(SEAL)
    if sha256(data) != expected:
        raise LineageError(f"run {run_id}: manifest.json was altered: found sha256 {sha256(data)}, expected {expected}")
    fetch = partial(download, client, run_id)
    return Record(run_id, str(run.info.experiment_id), manifests.decode(data), sha256(data), fetch, client)


def artifact_sizes(client: MlflowClient, run_id: str) -> dict[str, int]:
    return sizes(partial(client.list_artifacts, run_id))


def find_finished(
    client: MlflowClient, experiment_id: str, kind: str, fingerprint: str, holds: Callable[["Record"], bool]
) -> Record | None:
    """The earliest finished run of this fingerprint whose seal holds, whose files are all there, and that `holds`."""
    query = f"attributes.status = 'FINISHED' and tags.`{FINGERPRINT}` = '{fingerprint}'"
    for run in pages(client.search_runs, [experiment_id], query, order_by=["attributes.start_time ASC"]):
        try:
            record = read(client, run.info.run_id, kind)
        except LineageError:
            continue  # it no longer stands, so the step is done again; `verify` says what broke
        found = artifact_sizes(client, record.run_id)
        artifacts = record.manifest["outputs"]["artifacts"]
        if all(found.get(path) == entry["size"] for path, entry in artifacts.items()) and holds(record):
            return record
    return None


def evaluations(client: MlflowClient, trained: Record) -> list[Record]:
    """The finished eval runs of this checkpoint in its experiment whose seals hold, the earliest first."""
    query = f"attributes.status = 'FINISHED' and tags.`{KIND}` = 'eval'"
    query += "".join(f" and tags.`stagewise.{name}` = '{trained.facts[name]}'" for name in ("arm", "phase", "seed"))
    found = []
    for run in pages(client.search_runs, [trained.experiment_id], query, order_by=["attributes.start_time ASC"]):
        with suppress(LineageError):  # of one that is broken nothing can be said; `verify` says what broke
            found.append(read(client, run.info.run_id, "eval"))
    return [record for record in found if record.manifest["inputs"]["runs"]["train"] == trained.reference]


@contextmanager
def work_folder(folder: Path, run: ActiveRun, keep: bool = False) -> Iterator[tuple[Path, str]]:
    """The step's own folder, with an empty `out` in it, and the run that worked there before ('' if none).

    It is removed once all that was made was read back from the server, unless it is to be kept. After a failure
    or a kill it stays, so that the same step can go on from what it saved; the run that left it so is closed.
    """
    marker = folder / "run"
    earlier = marker.read_text() if marker.is_file() else ""
    try:
        if earlier and run.client.get_run(earlier).info.status == "RUNNING":
            run.client.set_terminated(earlier, status="KILLED")
    except MlflowException:
        earlier = ""  # a run of another store, or of one that is no more; what it saved holds all the same
    for name in (OUT, "parent", "processes", "checkpoint"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / OUT).mkdir(parents=True)
    marker.write_text(run.id)
    yield folder, earlier
    if not keep:
        shutil.rmtree(folder)
