"""A record as a folder: all that a server says of it, and its files; checked without any server.

    bundle.json                          {"schema": "stagewise.bundle/1", "root": "5f0c…", "weights": true}
    registry.json                        {"aliases": {"quickstart": {…}}, "versions": [{…}]}
    runs/5f0c…/run.json                  status, params, tags, metrics, datasets, models (views.RunView)
    runs/5f0c…/artifacts/manifest.json   and the other files of the run
    models/m-61ab…/model.json            params, tags, metrics (views.ModelView)
    models/m-61ab…/files/model/…         weights among them, if they were not left out

`Bundle(folder)` is a `views.Source`. That each file is there and unaltered is for `verify` to say.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from stagewise.errors import LineageError
from stagewise.hashing import sha256
from stagewise.manifest import FILE, decode
from stagewise.verification.files import WEIGHTS
from stagewise.verification.views import Absent, DatasetView, ModelView, Owner, RunView, Source, VersionView

SCHEMA = "stagewise.bundle/1"
ROOT, REGISTRY = "bundle.json", "registry.json"
T = TypeVar("T")
INSIDE = {"runs": "artifacts", "models": "files"}


def write(source: Source, run_id: str, folder: Path, weights: bool = True) -> int:
    """Copies the record of a run, and of all that it was made from, into the empty `folder`; returns how many files.

    Raises `LineageError` where the chain of manifests does not close.
    """
    waiting: list[tuple[str, str | None]] = [(run_id, None)]
    seen: set[str] = set()
    registry: dict[str, Any] = {"aliases": {}, "versions": []}
    count = 0
    while waiting:
        found, expected = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        count += _copy(source, Owner("runs", found), folder, asdict(_there(source, found)), weights)
        data = (_files(folder, Owner("runs", found)) / FILE).read_bytes()
        if expected not in (None, sha256(data)):
            raise LineageError(f"run {found}: found manifest sha256 {sha256(data)}, expected {expected}")
        manifest = decode(data)
        waiting += [(each["run_id"], each["manifest_sha256"]) for each in manifest["inputs"]["runs"].values()]
        if model := manifest["outputs"]["model"]:
            with suppress(Absent):  # what is gone cannot be copied; verify says of the bundle that it is
                view = source.model(model["model_id"])
                count += _copy(source, Owner("models", view.model_id), folder, asdict(view), weights)
        for alias, entry in manifest["facts"].get("registered", {}).items():
            _note(source, registry, alias, entry)
    _write(folder / REGISTRY, registry)
    _write(folder / ROOT, {"schema": SCHEMA, "root": run_id, "weights": weights})
    return count


def _there(source: Source, run_id: str) -> RunView:
    try:
        return source.run(run_id)
    except Absent:
        raise LineageError(f"run {run_id!r}: no such run on this tracking server") from None


def _copy(source: Source, owner: Owner, folder: Path, view: Mapping[str, Any], weights: bool) -> int:
    place = _files(folder, owner)
    place.mkdir(parents=True)
    _write(place.parent / f"{owner.kind.removesuffix('s')}.json", view)
    paths = [path for path in source.files(owner) if weights or owner.kind == "runs" or not path.endswith(WEIGHTS)]
    for path in paths:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        with source.fetch(owner, path) as local:
            shutil.copyfile(local, place / path)
    return len(paths)


def _note(source: Source, registry: dict[str, Any], alias: str, entry: Mapping[str, str]) -> None:
    """The version that a pipeline registered, and where its alias points now."""
    name = entry["name"]
    pointed = source.aliases(name).get(alias)
    if pointed is not None:
        registry["aliases"].setdefault(name, {})[alias] = pointed
    for version in sorted({entry["version"], pointed or entry["version"]}):
        with suppress(Absent):
            registry["versions"].append(asdict(source.version(name, version)))


def _files(folder: Path, owner: Owner) -> Path:
    return folder / owner.kind / owner.id / INSIDE[owner.kind]


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


class Bundle:
    """Raises `LineageError` for a folder that is none."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder.absolute())
        try:
            found = json.loads((folder / ROOT).read_bytes())
            if found["schema"] != SCHEMA:
                raise LineageError(f"{folder / ROOT}: found schema {found['schema']!r}, expected {SCHEMA!r}")
            self.root: str = found["root"]
            self.weights: bool = found["weights"]
            registry = json.loads((folder / REGISTRY).read_bytes())
            self.versions = [VersionView(**entry) for entry in registry["versions"]]
            self.pointed: dict[str, dict[str, str]] = registry["aliases"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LineageError(
                f"{folder}: found no bundle ({error}); expected what `stagewise export` writes"
            ) from None

    def run(self, run_id: str) -> RunView:
        def view(found: dict[str, Any]) -> RunView:
            metrics = {name: [(step, value) for step, value in points] for name, points in found.pop("metrics").items()}
            datasets = [DatasetView(*entry) for entry in found.pop("datasets")]
            return RunView(**found, metrics=metrics, datasets=datasets)

        return self._view(Owner("runs", run_id), view)

    def model(self, model_id: str) -> ModelView:
        return self._view(Owner("models", model_id), lambda found: ModelView(**found))

    def version(self, name: str, version: str) -> VersionView:
        for view in self.versions:
            if (view.name, view.version) == (name, version):
                return view
        raise Absent(f"models:/{name}/{version}")

    def aliases(self, name: str) -> Mapping[str, str]:
        return self.pointed.get(name, {})

    def files(self, owner: Owner) -> dict[str, int]:
        place = _files(self.folder, owner)
        if not place.is_dir():
            raise Absent(f"{owner.kind} {owner.id}")
        return {path.relative_to(place).as_posix(): path.stat().st_size for path in place.rglob("*") if path.is_file()}

    @contextmanager
    def fetch(self, owner: Owner, path: str) -> Iterator[Path]:
        local = _files(self.folder, owner) / path
        if not local.exists():
            raise Absent(f"{owner.kind} {owner.id}: {path}")
        yield local

    def _view(self, owner: Owner, view: Callable[[dict[str, Any]], T]) -> T:
        path = _files(self.folder, owner).parent / f"{owner.kind.removesuffix('s')}.json"
        if not path.is_file():
            raise Absent(f"{owner.kind} {owner.id}")
        try:
            return view(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LineageError(f"{path}: found no {owner.kind.removesuffix('s')} of a bundle ({error})") from None
