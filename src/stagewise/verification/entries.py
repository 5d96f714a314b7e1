"""What a server's database says of a run, held against its manifest: params, tags, metrics, datasets, models.

What may change after a run is sealed is named here; everything else that changed is found.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from stagewise.manifest import Sealed
from stagewise.verification.findings import Finding
from stagewise.verification.views import Absent, ModelView, RunView, Source, VersionView

SEAL = "stagewise.manifest_sha256"
OURS = "stagewise."
# Written around the seal: the seal itself, who owns a run at work and by what it is found again, who closed it, what it
# was run again for, and what happens to a model later.
UNSEALED = (
    SEAL,
    "stagewise.owner",
    "stagewise.nonce",
    "stagewise.closed",
    "stagewise.reproduces",
    "stagewise.promotion.",
)
Points = Mapping[str, Sequence[tuple[int, float]]]


def check_run(view: RunView, sealed: Sealed, curves: Points | None, models_in: Sequence[str]) -> Iterator[Finding]:
    """`curves` are the metrics by step, as the run's files tell them, or None where they don't; `models_in` are the
    models it was made from."""
    manifest = sealed.manifest
    recorded, model = manifest["recorded"], manifest["outputs"]["model"]
    if view.status != "FINISHED":
        yield Finding("status", view.status, "FINISHED")
    yield from _texts("param", view.params, recorded["params"], view.params)
    yield from _texts("tag", view.tags, recorded["tags"], filter(_sealed_tag, view.tags))
    if manifest["fingerprint"] and recorded["tags"].get("stagewise.fingerprint") != manifest["fingerprint"]:
        found = str(recorded["tags"].get("stagewise.fingerprint"))
        yield Finding("manifest.json, fingerprint", found, manifest["fingerprint"])
    singles = {name: [(0, float(value))] for name, value in recorded["metrics"].items()}
    if curves is not None:
        yield from _metrics(view, singles | dict(curves))
    yield from _datasets(view, manifest["inputs"]["datasets"])
    yield from _set("model inputs", view.models_in, models_in)
    yield from _set("model outputs", view.models_out, [model["model_id"]] if model else [])


def _sealed_tag(name: str) -> bool:
    return name.startswith(OURS) and not name.startswith(UNSEALED)


def _texts(what: str, found: Mapping[str, str], expected: Mapping[str, str], extra: Any) -> Iterator[Finding]:
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
    model = sealed.manifest["outputs"]["model"]
    what = f"model {model['name']}"
    try:
        view = source.model(model["model_id"])
    except Absent:
        yield Finding(what, "none", f"models:/{model['model_id']}", "it is missing")
        return
    expected = {"name": model["name"], "status": "READY", "source_run_id": sealed.run_id}
    for key, value in expected.items():
        if getattr(view, key) != value:
            yield Finding(f"{what}, {key}", str(getattr(view, key)), value)
    yield from _texts(f"{what}, param", view.params, model["params"], view.params)
    tags = model["tags"] | {SEAL: sealed.digest}
    yield from _texts(f"{what}, tag", view.tags, tags, filter(_sealed_tag, view.tags))


def check_model_metrics(view: ModelView, evaluated: Sealed) -> Iterator[Finding]:
    """The metrics that an eval run linked to the model it asked."""
    found, expected = view.metrics.get(evaluated.run_id, {}), evaluated.manifest["recorded"]["metrics"]
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            yield Finding(f"model {view.name}, metric {name}", str(found.get(name)), str(expected.get(name)))


def check_registry(source: Source, registered: Mapping[str, Any], made: Mapping[str, Sealed]) -> Iterator[Finding]:
    """The versions that a pipeline registered; `made` are its train runs by the id of their model."""
    for alias, entry in registered.items():
        what = f"models:/{entry['name']}/{entry['version']}"
        try:
            version = source.version(entry["name"], entry["version"])
        except Absent:
            yield Finding(what, "no such version", f"models:/{entry['model_id']}", "it is missing")
            continue
        if version.source != f"models:/{entry['model_id']}":
            yield Finding(f"{what}, source", version.source, f"models:/{entry['model_id']}", "it was re-pointed")
        if entry["model_id"] in made:
            yield from check_version(source, version, made[entry["model_id"]])
        yield from check_alias(source, entry["name"], alias)


def check_version(source: Source, version: VersionView, trained: Sealed) -> Iterator[Finding]:
    """The tags that say which checkpoint a version is, and where its files come from."""
    what, facts, model = (
        f"models:/{version.name}/{version.version}",
        trained.facts,
        trained.manifest["outputs"]["model"],
    )
    expected = {key: str(facts[key]) for key in ("arm", "phase", "seed")} | {
        "weights_sha256": model["weights_sha256"],
        "manifest_sha256": trained.digest,
        "dataset_sha256": facts["source_sha256"],
    }
    yield from _texts(f"{what}, tag", version.tags, expected, ())
    if version.run_id != trained.run_id:
        yield Finding(f"{what}, run", version.run_id, trained.run_id)
    with suppress(Absent):  # found where the model was made
        location = source.model(model["model_id"]).location
        if version.location != location:
            yield Finding(f"{what}, storage location", version.location, location, "it was re-pointed")


def check_alias(source: Source, name: str, alias: str) -> Iterator[Finding]:
    """An alias `<arm>-s<seed>`: a later study may move it on, but only to a checkpoint of the same arm and seed."""
    what, number = f"models:/{name}@{alias}", source.aliases(name).get(alias)
    if number is None:
        yield Finding(what, "no such alias", "a version", "it is missing")
        return
    try:
        tags = source.version(name, number).tags
    except Absent:
        yield Finding(what, f"version {number}, which is not there", f"a version of {alias}")
        return
    found = f"{tags.get('arm')}-s{tags.get('seed')}"
    if found != alias:
        yield Finding(what, f"version {number}, which is {found}", f"a version of {alias}", "it was re-pointed")
