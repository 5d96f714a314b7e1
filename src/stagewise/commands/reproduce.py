"""Runs a recorded study, or one phase of it, again from its record alone, and compares.

    reproduce("5f0c…", yes=False)
    ! reproduce runs the code that run 5f0c… recorded, on this machine and with your rights, in /home/…/reproduce-…
    !   commit 3f2a… by Ada <ada@example.org>, of https://example.org/x.git, with changes that no commit holds
    Run it? [y/N]: y
    ▸ reproduce 5f0c…: commit 3f2a… of this repository
    ✓ bit-identical: weights, order, losses, predictions and metrics of every step

Code, data and base model come from the record. They run in an experiment of their own, in which no finished step
can be found instead, under a name of their own, so that no alias of the study's registered model moves.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from stagewise import progress
from stagewise.analysis.agreement import DIFFERS, Comparison, Made, compare, environment_differences
from stagewise.credentials import without_home
from stagewise.curriculum import stages as split_core
from stagewise.curriculum.targets import Target
from stagewise.errors import CodeError, LineageError, printable
from stagewise.evaluation import predictions
from stagewise.hashing import sha256
from stagewise.record.checkout import Checkout, rebuild
from stagewise.record.code import environment
from stagewise.record.facts import ReproductionFacts, SplitFacts, TrainFacts
from stagewise.record.git_objects import author_of
from stagewise.record.manifest import Code, ConfigPart, Inputs, Outputs, Sealed
from stagewise.steps.common import ARCHIVE, ASKED, COMMIT, DIFF, link, record_code
from stagewise.steps.inputs import CURVE
from stagewise.steps.own import FOLDER as OWN
from stagewise.tracking import store
from stagewise.tracking.launcher import run_elsewhere
from stagewise.tracking.lineage import part_of, record_of
from stagewise.tracking.models import fetch_checkpoint
from stagewise.tracking.records import Record
from stagewise.tracking.runs import OUT, USER, ActiveRun, Launched, open_run

RESULT = "reproduction.json"
SHOWN = 10  # differences of the environment on the screen; the record has all


def reproduce(run_id: str, yes: bool, launched: Launched | None = None) -> str:
    """Returns the verdict. Before any code of the record's is run, a person is asked, unless `yes` says so already.

    Raises `UserError` where the run can't be reproduced, or what it recorded does not run, or nobody agrees.
    """
    client = store.connect()
    original = _original(client, run_id)
    _ask(original, yes)
    name = f"reproduce {run_id[:8]}"
    with open_run(client, original.experiment_id, "reproduction", name, launched=launched) as run:
        run.tag(reproduces=run_id)
        with _folder(run) as folder:
            code = record_code(run, "commands.reproduce", folder / OUT)
            checkout = _rebuild(original, folder / "code")
            again = _run_again(original, run, checkout, folder)
            comparison = compare(*(made(each, partial(part_of, each)) for each in (original, again)))
            _record(original, again, run, checkout, comparison, code, folder / OUT)
    return comparison.verdict


def _original(client: store.Client, run_id: str) -> Record:
    record = record_of(client, run_id)
    kind = record.manifest.kind
    if kind not in ("pipeline", "train"):
        raise LineageError(f"run {run_id}: found a {kind} run, expected a pipeline or a train run")
    return record


def _ask(original: Record, yes: bool) -> None:
    """Says whose code is about to run, and where; goes on only if somebody wants it to."""
    place = store.home() / "work"
    progress.say(
        f"! reproduce runs the code that run {original.run_id} recorded, on this machine and with your rights, in "
        f"{place}"
    )
    progress.say(f"!   {_whose(original)}")
    if yes:
        return
    agreed = progress.confirmed("Run it?")
    if agreed is None:
        raise CodeError("there is no terminal to ask on whether to run it; give --yes (-P yes=true) if you would")
    if not agreed:
        raise CodeError("nothing was run")


def _whose(original: Record) -> str:
    """The code by what the record says of it, and who made the run by what the server says."""
    code = original.manifest.code
    user = original.client.get_run(original.run_id).data.tags.get(USER, "unknown")
    if code.commit is None:
        return f"the installed package, sha256 {code.package_sha256}; the run was made by {printable(user)}"
    named = COMMIT in original.manifest.outputs.artifacts
    author = author_of(original.artifact(COMMIT)) if named else ""
    by = f" by {printable(author.rpartition('>')[0])}>" if ">" in author else ""
    of = f", of {printable(code.remote)}" if code.remote else ", which no remote is known to hold"
    changed = ", with changes that no commit holds (code.diff)" if code.dirty else ""
    return f"commit {code.commit}{by}{of}{changed}; the run was made by {printable(user)}"


@contextmanager
def _folder(run: ActiveRun) -> Iterator[Path]:
    """A folder for code, inputs and work, which `gc` finds if this process is killed."""
    folder = store.home() / "work" / f"reproduce-{run.id}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        (folder / OUT).mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def _rebuild(original: Record, folder: Path) -> Checkout:
    manifest = original.manifest
    diff, archive = (
        original.artifact(name) if name in manifest.outputs.artifacts else None for name in (DIFF, ARCHIVE)
    )
    checkout = rebuild(manifest.code, diff, archive, folder)
    progress.say(f"▸ reproduce {original.run_id}: {checkout.origin}")
    differing = environment_differences(manifest.environment.json_value(), environment().json_value())
    more = [f"… {len(differing)} in all"] if len(differing) > SHOWN else []
    for line in [*checkout.remarks, *differing[:SHOWN], *more]:
        progress.say(f"! {line}")
    return checkout


# --- running it again ---------------------------------------------------------------------------


def _run_again(original: Record, run: ActiveRun, checkout: Checkout, folder: Path) -> Record:
    name = f"reproduce-{original.run_id[:8]}-{run.id[:8]}"
    config = _config(original, name, folder)
    for each in _with_own_code(original):
        for place in {place for files in (each.manifest.code.own or {}).values() for place in files}:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(each.artifact(f"{OWN}/{place}"))
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    command = ["main"] if original.manifest.kind == "pipeline" else _train(original, config)
    again = run_elsewhere(
        run.client,
        store.experiment(run.client, name),
        name,
        [*command, "--config", without_home(str(path))],
        checkout.source,
        folder,
    )
    run.client.set_tag(again, "stagewise.reproduces", original.run_id)
    return record_of(run.client, again)


def _with_own_code(original: Record) -> list[Record]:
    """The runs that recorded code of the study's own, if any did."""
    if original.manifest.kind == "train":
        return [original]
    return [part_of(original, role) for role in original.manifest.inputs.runs]


def _config(original: Record, name: str, folder: Path) -> dict[str, Any]:
    """The recorded config, under another name, with data and model from the record and as many threads."""
    config: dict[str, Any] = yaml.safe_load(original.artifact(ASKED))
    training, whole = config["training"], original.manifest.kind == "pipeline"
    if training.get("machines", 1) > 1:
        raise LineageError(
            f"run {original.run_id}: it trained on {training['machines']} machines, which one command cannot start; "
            "reproduce a run of one machine"
        )
    config |= {"study": name, "require_clean": False}  # what it required held; the code here may come from an archive
    if not whole or training.get("processes", 1) == 1:  # else threads of a phase and of an evaluation differ
        config["compute"] = config.get("compute", {}) | {"threads": original.manifest.machine["threads"]}
    return config | (_inputs(original, config, folder / "inputs") if whole else {})


def _inputs(original: Record, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The sections of the config that name data and model, with what the record holds of them in their place.

    Paths are relative to the config, which lies beside the folder.
    """
    split = part_of(original, "split")
    stages = {name: split.artifact(f"stages/{name}.jsonl") for name in split.facts(SplitFacts).stages}
    source = split_core.rebuilt(json.loads(split.artifact("rows.json")), stages)
    data = dict(config["data"])
    folder.mkdir()
    for section, name, content in (("train", "source", source), ("eval", "eval", split.artifact("eval.jsonl"))):
        expected = getattr(split.facts(SplitFacts), name)["sha256"]
        if sha256(content) != expected:
            raise LineageError(
                f"run {split.run_id}: the rebuilt {name} data have sha256 {sha256(content)}, the record says {expected}"
            )
        (folder / f"{name}.jsonl").write_bytes(content)
        layout = config["data"][section].get("layout", "traces")
        data[section] = {"path": f"{folder.name}/{name}.jsonl", "layout": layout}
    if "scratch" in config["model"]:
        return {"data": data}
    base = fetch_checkpoint(None, part_of(original, "train base-0"), folder / "base")
    return {"data": data, "model": {"path": str(base.relative_to(folder.parent))}}


def _train(original: Record, config: Mapping[str, Any]) -> list[str]:
    """A phase's command: its inputs are the recorded runs themselves."""
    target, runs = Target.of(original), original.manifest.inputs.runs
    seed = config.get("seeds", [42])[0] if target.seed is None else target.seed
    command = ["train", "--split-run", runs["split"]["run_id"], "--arm", target.arm]
    command += ["--phase", str(target.phase), "--seed", str(seed)]
    return command + (["--init-run", runs["parent"]["run_id"]] if "parent" in runs else [])


# --- comparing ----------------------------------------------------------------------------------


def made(record: Sealed, part: Callable[[str], Sealed]) -> list[Made]:
    """What the steps of a pipeline made, in their order; or what a train run made. `part` finds a step by the role
    that the pipeline gives it."""
    if record.manifest.kind == "train":
        return [_step(f"train {Target.of(record).checkpoint}", record)]
    # The report says again what the predictions say, with the ids of its own runs.
    return [_step(role, part(role)) for role in record.manifest.inputs.runs if role != "report"]


def _step(name: str, record: Sealed) -> Made:
    manifest = record.manifest
    if manifest.kind == "split":
        split = record.facts(SplitFacts)
        stages = {f"stage {stage}": entry["sha256"] for stage, entry in split.stages.items()}
        return Made(name, {"source": split.source["sha256"], "eval": split.eval["sha256"], **stages})
    if manifest.kind == "eval":
        rows = predictions.decode(record.artifact("predictions.jsonl"))
        return Made(name, {}, metrics=manifest.recorded.metrics, rows=rows)
    facts = record.facts(TrainFacts)
    return Made(
        name,
        {"order": facts.order_sha256, "multiset": facts.multiset_sha256, "source": facts.source_sha256},
        record.model.weights_sha256,
        [point["loss"] for point in json.loads(record.artifact(CURVE))],
        manifest.recorded.metrics,
    )


def _record(
    original: Record,
    again: Record,
    run: ActiveRun,
    checkout: Checkout,
    comparison: Comparison,
    code: Code,
    out: Path,
) -> None:
    """Seals the reproduction's run, and says the verdict."""
    told = result(original, again, comparison, checkout.origin, checkout.remarks)
    (out / RESULT).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    run.tag(verdict=comparison.verdict, again=again.run_id)
    run.describe(describe(original, again, comparison, checkout.origin, checkout.remarks))
    digest = run.seal(
        kind="reproduction",
        fingerprint=None,
        config=ConfigPart(part={"run_id": original.run_id}, file_sha256=original.manifest.config.file_sha256),
        code=code,
        environment=environment(),
        machine=again.manifest.machine,
        inputs=Inputs(runs={"original": original.reference, "again": again.reference}, datasets={}),
        outputs=Outputs(artifacts=run.upload(out), model=None),
        facts=facts_of(comparison, checkout.origin),
    )
    for line in environment_differences(original.manifest.machine, again.manifest.machine):
        progress.say(f"! {line}")  # the rest was said before it ran
    said = in_words(comparison, original.manifest.kind)
    progress.say(f"{'✓' if comparison.verdict != DIFFERS else '✗'} {said}")
    progress.say(f"  run {run.id}  manifest sha256 {digest}")


def result(
    original: Sealed, again: Sealed, comparison: Comparison, origin: str, remarks: Sequence[str]
) -> dict[str, Any]:
    """reproduction.json: where the code came from, what of the machine differs, and every difference."""
    return {
        "original": original.reference,
        "again": again.reference,
        "code": {"origin": origin, "remarks": list(remarks)},
        "environment": environment_differences(_where(original), _where(again)),
        "verdict": comparison.verdict,
        "differences": [each._asdict() for each in comparison.differences],
    }


def facts_of(comparison: Comparison, origin: str) -> ReproductionFacts:
    return ReproductionFacts(verdict=comparison.verdict, differences=len(comparison.differences), code=origin)


def describe(original: Sealed, again: Sealed, comparison: Comparison, origin: str, remarks: Sequence[str]) -> str:
    """In Markdown what came out."""
    differing = environment_differences(_where(original), _where(again))
    lines = [f"- run again: {link(again)}", f"- the recorded run: {link(original)}", f"- code: {origin}"]
    lines += [f"- {line}" for line in [*remarks, *(f"environment: {line}" for line in differing)]]
    return "\n".join([f"**{in_words(comparison, original.manifest.kind)}**", "", *lines])


def _where(record: Sealed) -> dict[str, Any]:
    return {"environment": record.manifest.environment.json_value(), "machine": record.manifest.machine}


def in_words(comparison: Comparison, kind: str) -> str:
    if comparison.first is None:
        equal = "weights, order, losses" + (", predictions and metrics of every step" if kind == "pipeline" else "")
        return f"{comparison.verdict}: {equal}"
    return f"{comparison.verdict}: {len(comparison.differences)} differences, the first: {comparison.first}"
