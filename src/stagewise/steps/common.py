"""What every step shares: the session it works in, and how it is done once and recorded.

session = open_session(Path("configs/quickstart.yaml"))
record = perform(session, split.specify(session))          # a finished run, made now or found
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from stagewise import progress
from stagewise.config import Config, parse, resolved
from stagewise.config import read as read_config
from stagewise.errors import TrackingError
from stagewise.hashing import sha256
from stagewise.record.code import check_clean, code_digest, code_state, environment, fingerprint
from stagewise.record.frozen import Frozen, Machine, Reference
from stagewise.record.manifest import Code, ConfigPart, Inputs, Kind, Model, Outputs, Sealed
from stagewise.steps.own import FOLDER as OWN
from stagewise.steps.own import NOTHING, OwnCode
from stagewise.tracking import store
from stagewise.tracking.datasets import DatasetRef, log_datasets
from stagewise.tracking.launcher import discard
from stagewise.tracking.lineage import check_standing
from stagewise.tracking.models import lost, put_back
from stagewise.tracking.records import Record, download, find_deleted, find_finished, read, read_any
from stagewise.tracking.runs import OUT, ActiveRun, Launched, open_run, work_folder

ASKED = "config/asked.yaml"
COMMIT, TREE = "code.commit", "code.tree"  # by which the commit's id can be told again (gitobjects)
DIFF, ARCHIVE = "code.diff", "code.tar"  # what no commit holds, and the commit's files where no remote holds it


@dataclass(frozen=True, slots=True)
class Session:
    """Config, tracking server and places of one command."""

    config: Config
    config_text: str  # as it was read once: an edit while a study runs changes nothing
    config_path: Path
    client: store.Client
    experiment_id: str
    home: Path
    parent: str | None = None  # the run below which new runs are nested
    launched: Launched | None = None  # the run that MLflow's launcher made for this command

    @property
    def base(self) -> Path:
        """What relative paths in the config are relative to."""
        return self.config_path.parent

    @property
    def caches(self) -> Path:
        return store.caches()

    @property
    def config_sha256(self) -> str:
        return sha256(self.config_text.encode())


def open_session(config_path: Path, launched: Launched | None = None, experiment_name: str = "") -> Session:
    """Reads the config and reaches the server.

    The experiment is that of the launcher's run, or of the run that is active in this thread (`mlflow.start_run()`),
    below which new runs are nested then; else the one that is named, by the flag or in the environment; else the
    study's own.
    """
    config_path = config_path.expanduser()
    text = read_config(config_path)
    config = parse(text, str(config_path))
    client = store.connect()
    above = launched or store.active_run(client)
    chosen = above.info.experiment_id if above else store.chosen_experiment(client, config.study, experiment_name)
    parent = above.info.run_id if above and not launched else None
    return Session(config, text, config_path.absolute(), client, chosen, store.home(), parent, launched)


def recorded_session(pipeline_run: str, launched: Launched | None = None) -> Session:
    """A session with the config that a pipeline's run recorded, for steps that are made from its record."""
    client = store.connect()
    run = read_any(client, pipeline_run, "pipeline")
    text = download(client, pipeline_run, ASKED).decode()
    experiment_id = (launched or run).info.experiment_id
    return Session(parse(text, ASKED), text, Path(ASKED), client, experiment_id, store.home(), pipeline_run, launched)


@dataclass(slots=True)
class Made:
    """What a step's body has to say about what it made, beside the files in its folder."""

    facts: Frozen
    model: Model | None = None
    datasets: list[DatasetRef] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    """For the line that ends the step."""
    description: str = ""
    """Markdown for the run's page; its first line says what came out."""
    resumed: bool = False
    """Whether it went on from what an earlier run had saved."""
    keep: Callable[[], None] = lambda: None
    """Saves what was made, so that the same command need not make it again where it could not be recorded."""


ONE_THREAD: Machine = {"device": "cpu", "threads": 1}  # of a step in which no tensor is computed


class Spec(NamedTuple):
    """A step that is wanted: what determines its result, and how it is done."""

    kind: Kind
    name: str  # of the run
    doing: str  # for the line that starts the step
    module: str  # whose code, with all that it imports of this package, determines the result
    part: Mapping[str, Any]  # of the resolved config
    inputs: Mapping[str, Any]  # digests of what goes in
    runs: Mapping[str, Record]  # that it is made from
    machine: Machine
    tags: Mapping[str, str]
    body: Callable[[ActiveRun, Path], Made]  # works in the folder and fills its subfolder `out`
    own: OwnCode = NOTHING  # what it runs of a user's own

    @property
    def fingerprint(self) -> str:
        inputs = with_own(self.inputs, self.own.entries)
        return fingerprint(self.kind, self.module, self.part, inputs, self.machine)


def with_own(inputs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What goes in, by digest, with the sources of a user's own, if any."""
    return {**inputs, "own_code": own} if own else dict(inputs)


def find(session: Session, spec: Spec) -> Record | None:
    """A finished run of an equal fingerprint, made from the very runs that this step is to be made from, with
    everything that it made; exact, unless the config waives that."""
    made_from = _references(spec)

    def holds(record: Record) -> bool:
        exact = session.config.training.allow_inexact or not record.manifest.facts.get("lost")
        return exact and record.manifest.inputs.runs == made_from and not lost(record)

    found = find_finished(session.client, session.experiment_id, spec.kind, spec.fingerprint, holds)
    if found is not None:
        put_back(found)
    return found


def _references(spec: Spec) -> dict[str, Reference]:
    return {name: record.reference for name, record in spec.runs.items()}


def given(client: store.Client, run_id: str, kind: str) -> Record:
    """The finished run that a command names. Raises `LineageError` where it, or a run or model that it was made from,
    is gone."""
    record = read(client, run_id, kind)
    check_standing(record)
    return record


def perform(session: Session, spec: Spec) -> Record:
    """Does the step, unless a process that did the same at the same time was first."""
    with _alone(session.home / "work", spec):
        found = find(session, spec)
        if found is not None:
            progress.say(f"= {spec.name}: unchanged, reused from run {found.run_id}")
            if session.launched:
                discard(session.client, session.launched, found.run_id)
            return found
        return _perform(session, spec)


@contextmanager
def _alone(folder: Path, spec: Spec) -> Iterator[None]:
    """Holds the step's lock, which the system takes back from a process that dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{spec.fingerprint}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"▸ {spec.name}: another process is working on it; waiting for its result")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _perform(session: Session, spec: Spec) -> Record:
    if deleted := find_deleted(session.client, session.experiment_id, spec.fingerprint):
        remedy = f"mlflow runs restore --run-id {deleted} brings it back"
        progress.say(f"! {spec.name}: run {deleted}, which did this, is deleted; it is done again, or {remedy}")
    folder = session.home / "work" / spec.fingerprint
    keep = spec.kind == "train" and session.config.training.keep_local
    with open_run(session.client, session.experiment_id, spec.kind, spec.name, session.parent, session.launched) as run:
        with progress.step(spec.name, spec.doing) as results, work_folder(folder, run, keep) as (work, earlier):
            run.tag(fingerprint=spec.fingerprint, **spec.tags)
            code = record_setup(session, run, spec.module, spec.part, spec.machine, work / OUT, spec.own)
            made = spec.body(run, work)
            results += made.summary
            with unless_recorded(made.keep):
                _seal(session, spec, run, made, code, work / OUT, earlier)
    return read(session.client, run.id, spec.kind)


def _seal(session: Session, spec: Spec, run: ActiveRun, made: Made, code: Code, out: Path, earlier: str) -> None:
    if made.resumed:
        run.tag(resumed_from=earlier)
    log_datasets(session.client, run.id, made.datasets)
    artifacts = run.upload(out)
    run.describe(described(made.description, run.experiment_id, run.parent, spec.runs))
    run.seal(
        kind=spec.kind,
        fingerprint=spec.fingerprint,
        config=ConfigPart(part=dict(spec.part), file_sha256=session.config_sha256),
        code=code,
        environment=environment(),
        machine=spec.machine,
        inputs=Inputs(runs=_references(spec), datasets={dataset.name: dataset.entry for dataset in made.datasets}),
        outputs=Outputs(artifacts=artifacts, model=made.model),
        facts=made.facts,
    )


@contextmanager
def unless_recorded(keep: Callable[[], None]) -> Iterator[None]:
    """Has what was made kept on this machine where the body cannot record it, or is interrupted in it."""
    try:
        yield
    except (TrackingError, KeyboardInterrupt):
        keep()
        raise


def record_setup(
    session: Session,
    run: ActiveRun,
    module: str,
    part: Mapping[str, Any],
    machine: Machine,
    out: Path,
    own: OwnCode = NOTHING,
) -> Code:
    """Params, and the files that say how the run was made; returns the state of the code."""
    if session.config.require_clean:
        check_clean()  # also in a step that runs in a process of its own
    run.params({**part, "machine": machine})
    files = {
        ASKED: session.config_text,
        "config/resolved.json": json.dumps(resolved(session.config), indent=1, ensure_ascii=False),
        "environment.json": json.dumps(environment().json_value() | {"machine": machine}, indent=1),
    }
    for name, text in files.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(text, encoding="utf-8", newline="")
    return record_code(run, module, out, own)


def record_code(run: ActiveRun, module: str, out: Path, own: OwnCode = NOTHING) -> Code:
    """The state of the code, and the files from which `reproduce` can rebuild it: each run holds its own."""
    state = dict(_code())
    diff, objects, archive = (state.pop(name) for name in ("diff", "objects", "archive"))
    code = Code(**state, step_sha256=code_digest(module), **({"own": own.entries} if own.entries else {}))
    own.write(out / OWN)
    run.tag(**code_tags(code))
    commit, tree = objects or (None, None)
    patch = diff.encode(errors="surrogateescape") if diff else None
    for name, data in ((COMMIT, commit), (TREE, tree), (DIFF, patch), (ARCHIVE, archive)):
        if data is not None:
            (out / name).write_bytes(data)
    if run.parent is None or module == "pipeline":  # once a study
        if code.redacted:
            progress.say(f"! {DIFF}: {code.redacted} credentials are recorded as ***; the diff is not the whole change")
        if code.withheld:
            progress.say(
                f"! {ARCHIVE}: not recorded, {code.withheld}; no remote holds commit {str(code.commit)[:12]}, so push "
                "it, or nobody else can reproduce this run"
            )
    return code


def code_tags(code: Code) -> dict[str, str]:
    return {"commit": code.commit or "unknown", "dirty": str(code.dirty).lower()}


@cache
def _code() -> Mapping[str, Any]:
    """As it was when this process first recorded: what is edited while a study runs is not what runs."""
    return code_state()


def described(what: str, experiment_id: str, parent: str | None, runs: Mapping[str, Sealed]) -> str:
    """A step's description in Markdown: what came out, the runs that it was made from, the pipeline it is part of."""
    lines = [f"- made from **{name}**: {link(record)}" for name, record in sorted(runs.items())]
    if parent:
        lines.append(f"- part of [the pipeline](#/experiments/{experiment_id}/runs/{parent})")
    return f"{what}\n\n" + "\n".join(lines)


def link(record: Sealed) -> str:
    """To where the run was made; a record that is moved says where that was."""
    return f"[{record.run_id[:8]}](#/experiments/{record.manifest.experiment_id}/runs/{record.run_id})"
