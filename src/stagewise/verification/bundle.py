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
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stagewise.data.jsonl import document
from stagewise.errors import DataError, LineageError
from stagewise.record import schemas
from stagewise.verification import registry
from stagewise.verification.chain import Chain
from stagewise.verification.files import WEIGHTS
from stagewise.verification.views import Absent, DatasetView, ModelView, Owner, RunView, Source, VersionView

SCHEMA = "stagewise.bundle/1"
ROOT, REGISTRY = "bundle.json", "registry.json"
INSIDE = {"runs": "artifacts", "models": "files"}


def write(source: Source, run_id: str, folder: Path, weights: bool = True) -> int:
    """Copies the record of a run, and of all that it was made from, into the empty `folder`; returns how many files.

    With a pipeline go the checkpoints that its aliases lead to. Raises `LineageError` where the chain of manifests does
    not close.
    """
    chain = Chain(source)
    chain.walk(run_id)
    pipelines = chain.of_kind("pipeline")
    for sealed in pipelines:
        for lead in registry.of_pipeline(source, sealed):
            for found, digest in lead.runs:
                chain.walk(found, digest)
    for node in chain.nodes.values():
        for finding in node.findings:
            raise LineageError(f"run {node.run_id}: {finding}; a bundle is made of a chain that closes")
    count = 0
    for sealed in chain.sealed.values():
        count += _copy(source, Owner("runs", sealed.run_id), folder, asdict(chain.views[sealed.run_id]), weights)
        if model := sealed.manifest.outputs.model:
            with suppress(Absent):  # what is gone cannot be copied; verify says of the bundle that it is
                view = asdict(source.model(model.model_id))
                # What other runs logged on it can't be held against them where they are not.
                view["metrics"] = {run: values for run, values in view["metrics"].items() if run in chain.sealed}
                count += _copy(source, Owner("models", model.model_id), folder, view, weights)
    snapshot = registry.snapshot(source, pipelines)
    _write(folder / REGISTRY, snapshot | {"versions": list(map(asdict, snapshot["versions"]))})
    _write(folder / ROOT, {"schema": SCHEMA, "root": run_id, "weights": weights})
    return count


def _copy(source: Source, owner: Owner, folder: Path, view: Mapping[str, Any], weights: bool) -> int:
    place = _files(folder, owner)
    place.mkdir(parents=True)
    _write(place.parent / f"{owner.kind.removesuffix('s')}.json", view)
    paths = [path for path in source.files(owner) if weights or owner.kind == "runs" or not path.endswith(WEIGHTS)]
    for path in paths:
        target = place / path
        if not target.resolve().is_relative_to(place.resolve()):
            raise LineageError(f"{owner.kind} {owner.id}: found the file {path!r}, which is outside of it")
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.fetch(owner, path) as local:
            shutil.copyfile(local, target)
    return len(paths)


def _place(owner: Owner) -> str:
    """Where in a bundle the files of a run or model are. An id is part of a path, and a record may name any."""
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,100}", owner.id):
        raise Absent(f"{owner.kind} {owner.id!r}")
    return f"{owner.kind}/{owner.id}/{INSIDE[owner.kind]}"


def _files(folder: Path, owner: Owner) -> Path:
    return folder / _place(owner)


def _write(path: Path, value: Any) -> None:
    try:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:  # somebody logged a metric that is no number
        raise LineageError(f"{path.name}: {error}; a bundle cannot hold it") from None
    path.write_text(f"{text}\n", encoding="utf-8")


class Bundle:
    """A folder of which nothing is believed: only plain files, nothing outside of it, JSON by its schema.

    Raises `LineageError` for a folder that is no bundle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder.absolute())
        if not (folder / ROOT).exists():  # before all that lies below it is listed: it may be anybody's folder
            raise _no_bundle(folder / ROOT)
        try:
            self.sizes = _plain_files(folder)
        except OSError as error:  # folders in one another until no path reaches them, or one that is not ours to read
            raise LineageError(f"{folder}: found what cannot be listed ({error.strerror}), expected a bundle") from None
        found = self._read(ROOT, "bundle")
        if found["schema"] != SCHEMA:
            raise LineageError(f"{folder / ROOT}: found schema {found['schema']!r}, expected {SCHEMA!r}")
        self.root: str = found["root"]
        self.weights: bool = found["weights"]
        registry = self._read(REGISTRY, "bundle_registry")
        self.versions = [VersionView(**entry) for entry in registry["versions"]]
        self.pointed: dict[str, dict[str, str]] = registry["aliases"]

    def run(self, run_id: str) -> RunView:
        found = self._view(Owner("runs", run_id))
        metrics = {name: [(step, float(value)) for step, value in points] for name, points in found["metrics"].items()}
        datasets = [DatasetView(*entry) for entry in found["datasets"]]
        return RunView(**found | {"metrics": metrics, "datasets": datasets})

    def model(self, model_id: str) -> ModelView:
        return ModelView(**self._view(Owner("models", model_id)))

    def version(self, name: str, version: str) -> VersionView:
        for view in self.versions:
            if (view.name, view.version) == (name, version):
                return view
        raise Absent(f"models:/{name}/{version}")

    def aliases(self, name: str) -> Mapping[str, str]:
        return self.pointed.get(name, {})

    def files(self, owner: Owner) -> dict[str, int]:
        inside = f"{_place(owner)}/"
        found = {path.removeprefix(inside): size for path, size in self.sizes.items() if path.startswith(inside)}
        if not found:
            raise Absent(f"{owner.kind} {owner.id}")
        return found

    @contextmanager
    def fetch(self, owner: Owner, path: str) -> Iterator[Path]:
        place = f"{_place(owner)}/{path}".rstrip("/")
        # A file, or the folder of some: what is not listed is not there.
        if place not in self.sizes and not any(each.startswith(f"{place}/") for each in self.sizes):
            raise Absent(f"{owner.kind} {owner.id}: {path}")
        yield self.folder / place

    def _view(self, owner: Owner) -> dict[str, Any]:
        one = owner.kind.removesuffix("s")
        path = f"{owner.kind}/{owner.id}/{one}.json"
        if path not in self.sizes:
            raise Absent(f"{owner.kind} {owner.id}")
        found = self._read(path, f"bundle_{one}")
        if found[f"{one}_id"] != owner.id:
            raise LineageError(f"{self.folder / path}: found {one} {found[f'{one}_id']!r}, expected {owner.id!r}")
        return found

    def _read(self, path: str, schema: str) -> dict[str, Any]:
        if path not in self.sizes:
            raise _no_bundle(self.folder / path)
        where = str(self.folder / path)
        try:
            found = document((self.folder / path).read_bytes(), where)
            schemas.check(found, schema, where)
        except DataError as error:
            raise LineageError(f"found no bundle: {error}") from None
        return dict(found)


def _no_bundle(path: Path) -> LineageError:
    return LineageError(f"{path}: found no such file; expected what `stagewise export --format bundle` writes")


def _plain_files(folder: Path) -> dict[str, int]:
    """The size of every file below the folder, by its path. Raises `LineageError` for a link, which could lead out of
    it, and for what is no file, which could be waited for without end."""
    found: dict[str, int] = {}
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    place = Path(entry.path).relative_to(folder).as_posix()
                    found[place] = entry.stat(follow_symlinks=False).st_size
                else:
                    what = "a symbolic link" if entry.is_symlink() else "what is no file"
                    raise LineageError(f"{entry.path}: found {what}; a bundle holds only plain files")
    return found
