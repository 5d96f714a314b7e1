"""The way back from a checkpoint to its source, with a digest at every step.

models:/quickstart@flat-s42: version 2
└─ f1 s42 train · flat: run 5f0c…, manifest sha256 9b1e…
   ├─ model flat-1-s42: models:/m-61ab…, weights sha256 77c0…
   ├─ dataset a: sha256 0d4f…, 8,012 rows, stages/a.jsonl
   ├─ code: commit 3f2a…, package sha256 51d0…
   ├─ parent: b0 s42 train · base: run …
   └─ split: split: run …
      ├─ dataset source generated-7: sha256 …, 36,000 rows, generated-7
      └─ code: commit …
"""

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

from stagewise.errors import LineageError, printable
from stagewise.tracking.client import ABSENT
from stagewise.tracking.models import lost
from stagewise.tracking.records import Record, get, read
from stagewise.tracking.runs import KIND
from stagewise.tree import Node, drawn

MODELS = "models:/"


def tree(client: MlflowClient, target: str) -> str:
    """Of a run id, `models:/<name>@<alias>`, `models:/<name>/<version>` or `models:/m-…`.

    Raises `LineageError` where there is none, and where a manifest is not the one that the run above it names.
    """
    seen: set[str] = set()
    if not target.startswith(MODELS):
        return "\n".join(map(printable, drawn(_node(record_of(client, target), seen))))
    run_id, version = made_by(client, target)
    if run_id is None:
        raise LineageError(f"{target}: its model {version and version.source} is not on this tracking server")
    text = f"{target}: version {version.version}" if version else target
    return "\n".join(map(printable, drawn(Node(text, [_node(record_of(client, run_id), seen)]))))


def made_by(client: MlflowClient, uri: str) -> tuple[str | None, ModelVersion | None]:
    """The run that made the model of this URI, and which version of a registered model it is, where that was named.

    No run where the version's model is gone. Raises `LineageError` where there is no such model or version.
    """
    try:
        parsed = _parse_model_uri(uri)
        if parsed.model_id:
            return str(client.get_logged_model(parsed.model_id).source_run_id), None
        version = (
            client.get_model_version_by_alias(str(parsed.name), parsed.alias)
            if parsed.alias
            else client.get_model_version(str(parsed.name), str(parsed.version))
        )
        return _source_run(client, version), version
    except (MlflowException, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise LineageError(f"{uri}: no such model on this tracking server ({first})") from error


def _source_run(client: MlflowClient, version: ModelVersion) -> str | None:
    try:
        return str(client.get_logged_model(str(version.source).removeprefix(MODELS)).source_run_id)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def record_of(client: MlflowClient, run_id: str, expected: str | None = None) -> Record:
    """The finished run of this id, of whatever kind; with `expected` the one whose manifest has this sha256."""
    kind = get(client, run_id).data.tags.get(KIND)
    if kind is None:
        raise LineageError(f"run {run_id}: found a run that stagewise did not make")
    record = read(client, run_id, kind)
    if expected not in (None, record.digest):
        raise LineageError(f"run {run_id}: found manifest sha256 {record.digest}, expected {expected}")
    return record


def check_standing(*records: Record) -> None:
    """Raises `LineageError` where something is gone of these runs, or of what they were made from, back to the source:
    what was made from them now could not be verified."""
    waiting, seen = list(records), set[str]()
    while waiting:
        record = waiting.pop()
        if record.run_id in seen:
            continue
        seen.add(record.run_id)
        if why := lost(record):
            raise LineageError(f"run {record.run_id}: {why}; give main again, which does this step again")
        waiting += [part_of(record, role) for role in record.manifest.inputs.runs]


def part_of(record: Record, role: str) -> Record:
    """The run that the record names in this role, with the manifest that it names."""
    reference = record.manifest.inputs.runs[role]
    return record_of(record.client, reference["run_id"], reference["manifest_sha256"])


def _node(record: Record, seen: set[str], role: str = "") -> Node:
    manifest = record.manifest
    name = record.client.get_run(record.run_id).data.tags.get(MLFLOW_RUN_NAME, "")
    label = name if manifest.kind in name else f"{manifest.kind} {name}"
    text = f"{role}{label}: run {record.run_id}, manifest sha256 {record.digest}"
    if record.run_id in seen:
        return Node(f"{text} (above)", [])
    seen.add(record.run_id)
    below = [Node(line, []) for line in _own(record)]
    for role in manifest.inputs.runs:
        below.append(_node(part_of(record, role), seen, f"{role}: "))
    return Node(text, below)


def _own(record: Record) -> Iterator[str]:
    manifest = record.manifest
    if model := manifest.outputs.model:
        yield f"model {model.name}: models:/{model.model_id}, weights sha256 {model.weights_sha256}"
    for name, entry in manifest.inputs.datasets.items():
        yield f"dataset {name}: sha256 {entry['sha256']}, {entry['rows']:,} rows, {entry['source']}"
    code = manifest.code
    dirty = ", and changes that its code.diff holds" if code.dirty else ""
    yield f"code: commit {code.commit or 'unknown'}{dirty}, package sha256 {code.package_sha256}"
