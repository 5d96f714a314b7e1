"""What a server's database says of a run, held against its manifest: params, tags, metrics, datasets, models.

What may change after a run is sealed is named here; everything else that changed is found.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from stagewise.errors import LineageError
from stagewise.record.manifest import FILE, Sealed, decode
from stagewise.verification.findings import Finding
from stagewise.verification.views import Absent, ModelView, Owner, RunView, Source

SEAL = "stagewise.manifest_sha256"
OURS = "stagewise."
GIT_COMMIT = "mlflow.source.git.commit"
# Written around the seal: the seal itself, who owns a run at work and by what it is found again, who closed it, and
# what it was run again for. Each by its whole name: another that begins so is none of them.
UNSEALED = {SEAL, "stagewise.owner", "stagewise.owner.nonce", "stagewise.closed", "stagewise.reproduces"}
STEPS = ("split/", "train/", "eval/", "final/")  # what the steps' own metrics begin with
Points = Mapping[str, Sequence[tuple[int, float]]]


def check_run(
    view: RunView, sealed: Sealed, curves: Points | None, models_in: Sequence[str] | None
) -> Iterator[Finding]:
    """`curves` are the metrics by step, as the run's files tell them, and `models_in` the models that it was made from;
    None where that cannot be told."""
    manifest = sealed.manifest
    recorded, model = manifest.recorded, manifest.outputs.model
    if view.status != "FINISHED":
        yield Finding("status", view.status, "FINISHED")
    yield from texts("param", view.params, recorded.params, view.params)
    yield from texts("tag", view.tags, recorded.tags, filter(_sealed_tag, view.tags))
    commit = view.tags.get(GIT_COMMIT)  # of MLflow's launcher, and what its UI shows as the run's version
    if commit is not None and manifest.code.commit not in (None, commit):
        yield Finding(f"tag {GIT_COMMIT}", commit, str(manifest.code.commit), "that is the commit in the manifest")
    if manifest.fingerprint and recorded.tags.get("stagewise.fingerprint") != manifest.fingerprint:
        found = str(recorded.tags.get("stagewise.fingerprint"))
        yield Finding("manifest.json, fingerprint", found, manifest.fingerprint)
    singles = {name: [(0, float(value))] for name, value in recorded.metrics.items()}
    if curves is not None:
        yield from _metrics(view, singles | dict(curves))
    yield from _datasets(view, manifest.inputs.datasets)
    if models_in is not None:
        yield from _set("model inputs", view.models_in, models_in)
    yield from _set("model outputs", view.models_out, [model.model_id] if model else [])


def _sealed_tag(name: str) -> bool:
    return name.startswith(OURS) and name not in UNSEALED


def texts(what: str, found: Mapping[str, str], expected: Mapping[str, str], extra: Any) -> Iterator[Finding]:
    for name, value in expected.items():
        if found.get(name) != value:
            yield Finding(f"{what} {name}", _shown(found.get(name)), _shown(value))
    for name in extra:
        if name not in expected:
            yield Finding(f"{what} {name}", _shown(found[name]), "none", "it was added")


def _shown(value: str | None) -> str:
    if value is None:
        return "none"
    return repr(value if len(value) <= 120 else f"{value[:117]}…")


def _metrics(view: RunView, expected: Points) -> Iterator[Finding]:
    for name in sorted({*view.metrics, *view.latest, *expected}):
        have, want = sorted(view.metrics.get(name, ())), sorted(expected.get(name, ()))
        if have != want:
            at = next((a, b) for a, b in _padded(have, want) if a != b)
            yield Finding(f"metric {name}", _point(at[0]), _point(at[1]), "" if want else "it was added")
        elif view.latest.get(name) != (last := want[-1][1] if want else None):
            yield Finding(f"metric {name}, as it is shown", str(view.latest.get(name)), str(last))


def _padded(have: Sequence[Any], want: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    for index in range(max(len(have), len(want))):
        yield (have[index] if index < len(have) else None, want[index] if index < len(want) else None)


def _point(point: tuple[int, float] | None) -> str:
    if point is None:
        return "no value"
    return f"{point[1]}" + (f" at step {point[0]}" if point[0] else "")


def _datasets(view: RunView, expected: Mapping[str, Any]) -> Iterator[Finding]:
    found = {dataset.name: dataset for dataset in view.datasets}
    for name in sorted({*found, *expected}):
        entry, dataset = expected.get(name), found.get(name)
        if entry is None or dataset is None:
            what = f"dataset input {name}"
            if dataset is None:
                yield Finding(what, "none", str(entry and entry["sha256"]), "it is missing")
            else:
                yield Finding(what, dataset.digest, "none", "it was added")
            continue
        tags = {"sha256": entry["sha256"], "rows": str(entry["rows"]), "mlflow.data.context": entry["context"]}
        if not entry["sha256"].startswith(dataset.digest) or not dataset.digest:
            yield Finding(f"dataset input {name}, digest", dataset.digest, entry["sha256"][:36])
        source = json.dumps({"tags": {"stagewise.source": entry["source"]}})
        if dataset.source != source:
            yield Finding(f"dataset input {name}, source", _shown(dataset.source), _shown(source))
        for key, value in tags.items():
            if dataset.tags.get(key) != value:
                yield Finding(f"dataset input {name}, tag {key}", _shown(dataset.tags.get(key)), _shown(value))


def _set(what: str, found: Sequence[str], expected: Sequence[str]) -> Iterator[Finding]:
    if sorted(found) != sorted(expected):
        yield Finding(what, ", ".join(sorted(found)) or "none", ", ".join(sorted(expected)) or "none")


def check_model(source: Source, sealed: Sealed) -> Iterator[Finding]:
    """The model that a run made, as the server tells of it."""
    model = sealed.model
    what = f"model {model.name}"
    try:
        view = source.model(model.model_id)
    except Absent:
        yield Finding(what, "none", f"models:/{model.model_id}", "it is missing")
        return
    expected = {"name": model.name, "status": "READY", "source_run_id": sealed.run_id}
    for key, value in expected.items():
        if getattr(view, key) != value:
            yield Finding(f"{what}, {key}", str(getattr(view, key)), value)
    yield from texts(f"{what}, param", view.params, model.params, view.params)
    tags = model.tags | {SEAL: sealed.digest}
    yield from texts(f"{what}, tag", view.tags, tags, filter(_sealed_tag, view.tags))


def check_metrics_from_outside(
    source: Source, view: ModelView, trained: Sealed, inside: Collection[str]
) -> Iterator[Finding]:
    """Of a model the metrics that runs outside of the record logged: a step's must be what an eval run of this very
    checkpoint sealed, or what a run of the record says too. What a person logs under other names is nobody's business.
    """
    said = {entry for run_id in inside for entry in view.metrics.get(run_id, {}).items()}
    for run_id, metrics in view.metrics.items():
        ours = {name: value for name, value in metrics.items() if name.startswith(STEPS) and (name, value) not in said}
        if run_id in inside or not ours:
            continue
        where = f"model {view.name}, metric {min(ours)}"
        found = f"{ours[min(ours)]} by run {run_id}"
        try:
            expected = _sealed_metrics(source, run_id, trained)
        except Absent:
            yield Finding(where, found, "what that run recorded", "it is not there to be asked", checked=False)
            continue
        for name, value in sorted(ours.items()):
            if expected.get(name) != value:
                told = f"{expected[name]}, as that run recorded it" if name in expected else "none"
                yield Finding(f"model {view.name}, metric {name}", f"{value} by run {run_id}", told)


def _sealed_metrics(source: Source, run_id: str, trained: Sealed) -> Mapping[str, float]:
    """What an eval run of this checkpoint recorded; none where the run is none. Raises `Absent`."""
    if FILE not in source.files(Owner("runs", run_id)):
        return {}  # a run of somebody's
    with source.fetch(Owner("runs", run_id), FILE) as path:
        data = path.read_bytes()
    try:
        manifest = decode(data)
    except LineageError:
        return {}
    of_it = manifest.inputs.runs.get("train") == trained.reference
    return dict(manifest.recorded.metrics) if of_it else {}


def check_model_metrics(view: ModelView, evaluated: Sealed) -> Iterator[Finding]:
    """The metrics that an eval run linked to the model it asked."""
    found, expected = view.metrics.get(evaluated.run_id, {}), evaluated.manifest.recorded.metrics
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            yield Finding(f"model {view.name}, metric {name}", str(found.get(name)), str(expected.get(name)))
