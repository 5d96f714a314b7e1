"""A finished study, written in a format of others' from its record.

    export("5f0c…", "provenance", Path("out"), None)
    ✓ provenance of quickstart: /home/alice/out/provenance.json

A bundle is what `verify` reads without a server; it is made of any run. A model is a trained checkpoint, rounded to
what the study's base model is held in. The folder appears whole or not at all: it is made beside its place and renamed.
"""

import contextlib
import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stagewise import progress
from stagewise.atomic import written
from stagewise.credentials import line_of
from stagewise.errors import DISK, DiskError, ExportError, LineageError, SecretError
from stagewise.export import Study
from stagewise.hashing import weights_digest
from stagewise.record.facts import TrainFacts
from stagewise.tracking import store
from stagewise.tracking.lineage import MODELS, made_by, record_of
from stagewise.tracking.models import fetch_checkpoint
from stagewise.tracking.records import read
from stagewise.tracking.runs import Launched, launched_run
from stagewise.tracking.source import Server
from stagewise.verification import bundle


class Format(NamedTuple):
    module: str  # of stagewise.export
    extra: str  # of this package's extras the one that the module needs; '' for none


FORMATS = {
    "provenance": Format("provenance", ""),
    "ro-crate": Format("ro_crate", "export"),
    "slsa": Format("slsa", "export"),
}


BUNDLE = "bundle"  # what `verify` reads: of any run, and all that it was made from
MODEL = "model"  # a checkpoint by itself, of a train run or by its name in the registry


def export(
    run_id: str,
    format: str,
    out: Path | None,
    key: Path | None,
    weights: bool = True,
    launched: Launched | None = None,
) -> None:
    """Writes the study of a pipeline's run into the folder `out`, by default one of its own in the working directory;
    as a bundle any run, as a model the checkpoint of a train run or of `models:/…`.

    Raises `ExportError` for an unknown format, one whose extra is not installed, a folder that is there already and
    a key that cannot sign; `LineageError` for a run that is not a pipeline's, or whose record does not hold.
    """
    client = store.connect()
    with launched_run(client, launched, "export", f"export {format}"):
        if key is not None and format != "slsa":
            raise ExportError(f"--key: found one with --format {format}, but only slsa is signed; leave it out")
        if not weights and format != BUNDLE:
            raise ExportError(
                f"--weights: found false with --format {format}, but only a bundle may go without; leave it out"
            )
        if format == BUNDLE:
            _bundle(client, run_id, out, weights)
        elif format == MODEL:
            _model(client, run_id, out)
        else:
            _study(client, run_id, out, format, key)


def _study(client: store.Client, run_id: str, out: Path | None, format: str, key: Path | None) -> None:
    module, study = _module(format), read_study(client, run_id)
    place = (out or Path(f"{study.name}-{run_id[:8]}-{format}")).expanduser().absolute()
    with _whole(place) as folder:
        written = module.write(study, folder, *([key] if key else []))
        _check_free_of_credentials(written)
    for path in written:
        progress.say(f"✓ {format} of {study.name}: {place / path.relative_to(folder)}")


def _bundle(client: store.Client, run_id: str, out: Path | None, weights: bool) -> None:
    digest = record_of(client, run_id).digest
    place = (out or Path(f"{run_id[:8]}-{BUNDLE}")).expanduser().absolute()
    with _whole(place) as folder:
        count = bundle.write(Server(client), run_id, folder, weights)
    left_out = "" if weights else ", without weights"
    progress.say(f"✓ bundle of run {run_id}: {place}, {count:,} files{left_out}")
    progress.say(f"  stagewise verify --run-id {place} --expect {digest}")


def _model(client: store.Client, target: str, out: Path | None) -> None:
    """The checkpoint's weights, rounded to nearest, with all that `from_pretrained` reads beside them."""
    from stagewise.model import loading  # torch takes seconds to import, and no other format needs it

    run_id = made_by(client, target)[0] if target.startswith(MODELS) else target
    if run_id is None:
        raise LineageError(f"{target}: its model is not on this tracking server")
    record = read(client, run_id, "train")
    model, dtype = record.model, record.facts(TrainFacts).dtypes.model
    place = (out or Path(f"{model.name}-{run_id[:8]}-{MODEL}")).expanduser().absolute()
    with _whole(place) as folder, tempfile.TemporaryDirectory() as fetched:
        loading.save(loading.load(fetch_checkpoint(None, record, Path(fetched) / MODEL), dtype), folder)
        digest = weights_digest(folder)
    progress.say(f"✓ model {model.name} in {dtype}: {place}, weights sha256 {digest}")
    progress.say(f"  made of run {run_id}, manifest sha256 {record.digest}, weights sha256 {model.weights_sha256}")


def _module(format: str) -> Any:
    if format not in FORMATS:
        raise ExportError(f"--format: found {format!r}, expected one of {', '.join(sorted([*FORMATS, BUNDLE, MODEL]))}")
    module, extra = FORMATS[format]
    try:
        return importlib.import_module(f"stagewise.export.{module}")
    except ModuleNotFoundError as error:
        if not extra:
            raise
        raise ExportError(
            f"--format {format}: needs the package {error.name}, which is not installed; "
            f'pip install "stagewise[{extra}]"'
        ) from None


def read_study(client: store.Client, run_id: str) -> Study:
    """A pipeline's record and those that its manifest names, each held against the digest given there."""
    pipeline = read(client, run_id, "pipeline")
    named = pipeline.manifest.inputs.runs.items()
    steps = {name: record_of(client, each["run_id"], each["manifest_sha256"]) for name, each in named}
    return Study(pipeline, steps)


@contextlib.contextmanager
def _whole(place: Path) -> Iterator[Path]:
    """A folder to fill, which takes its place when the body has ended well."""
    if place.exists():
        raise ExportError(f"--out {place}: is there already; name another folder, or remove it")
    try:
        with written(place) as folder:
            folder.mkdir()
            yield folder
    except OSError as error:
        said = f"--out {place}: cannot be written: {error.strerror or error}"
        if error.errno in DISK:
            raise DiskError(f"{said}; make room or name another disk, and rerun the same command") from error
        raise ExportError(said) from error


def _check_free_of_credentials(written: list[Path]) -> None:
    for path in written:
        if found := line_of(path.read_text(encoding="utf-8")):
            raise SecretError(
                f"{path.name}: line {found[0]} would hold {found[1]}, so nothing was written: it stands in the record; "
                "run the study without it, or unset the variable if it holds no secret"
            )
