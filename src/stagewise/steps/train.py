"""The train step: one phase of one arm for one seed, from its parent's checkpoint to its own.

Phase 0 makes the base model a checkpoint like any other, so that every arm starts from the same bytes.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch

from stagewise import self_check
from stagewise.config import Config
from stagewise.curriculum.order import Instance, multiset_digest, order_digest
from stagewise.curriculum.targets import Target, target_of
from stagewise.errors import ConfigError, LineageError
from stagewise.hashing import digest_json, seed_of
from stagewise.model import loading, templates
from stagewise.model.device import device_kind, machine, set_up
from stagewise.progress import Bar, say
from stagewise.record.code import fingerprint_parts
from stagewise.record.facts import SelfCheck, SplitFacts, TrainFacts
from stagewise.record.manifest import Sealed
from stagewise.steps.common import Made, Session, Spec, find, unless_recorded, with_own
from stagewise.steps.determinants import chain, check_parent, inputs_of, part_of, source_files, ways_of
from stagewise.steps.examples import (
    check_data,
    encode,
    encode_stages,
    left_out,
    plan_arm,
    read_items,
    read_stages,
    schedule,
    separated,
    texts,
)
from stagewise.steps.inputs import CURVE, ORDER, STATE, check_split
from stagewise.steps.own import collected
from stagewise.steps.phase import datasets, describe, dtypes, in_words, metrics, model_params, step_metrics, totals
from stagewise.tracking.journal import Journal
from stagewise.tracking.models import fetch_checkpoint, log_checkpoint
from stagewise.tracking.package import FOLDER, TOKENIZER
from stagewise.tracking.records import Record
from stagewise.tracking.runs import OUT, ActiveRun, flatten
from stagewise.training import distributed, loop
from stagewise.training.batching import fastest
from stagewise.training.job import Job, OptimizerState, Saving


def specify(session: Session, split: Record, arm: str, phase: int, seed: int, parent: Record | None) -> Spec:
    """The phase as a step. Raises `LineageError` for a parent that is not of this chain."""
    config, wanted = session.config, target_of(session.config, arm, phase, seed)
    check_split(config, split)
    distributed.check_machine(config.training, config.compute)
    part = part_of(config, split, wanted)
    runs = {"split": split}
    if phase == 0:
        inputs = inputs_of(None, source_files(config, session.base))
    else:
        if parent is None:
            raise LineageError(f"{arm} phase {phase}: needs init_run, the id of the run of phase {phase - 1}")
        check_parent(config, split, parent, wanted)
        inputs = inputs_of(parent, None)
        runs["parent"] = parent

    where, own = machine(config, phase), collected(config, "train", session.base)
    identity = flatten(fingerprint_parts("train", "steps.train", part, with_own(inputs, own.entries), where))

    def body(run: ActiveRun, work: Path) -> Made:
        if parent is None or phase == 0:
            return _make_base(session, split, seed, wanted, inputs["source"], run, work)
        return _train(session, split, wanted, parent, identity, run, work)

    what = f"phase {phase} of {wanted.phases}" if phase else "the base model"
    return Spec(
        kind="train",
        name=wanted.run_name("train"),
        doing=f"{what}{'' if wanted.seed is None else f', seed {seed}'}",
        module="steps.train",
        part=part,
        inputs=inputs,
        runs=runs,
        machine=where,
        tags=wanted.tags,
        body=body,
        own=own,
    )


# --- what is done -------------------------------------------------------------------------------


def _make_base(
    session: Session, split: Record, seed: int, wanted: Target, source: Any, run: ActiveRun, work: Path
) -> Made:
    config = session.config
    device = set_up(config.compute).device
    stages = read_stages(config, split, session.base)
    loaded = loading.create(config.model, seed, texts(config, stages), session.base, session.caches)
    check_data(config, encode(config, stages, loaded.tokenizer), read_items(config, split, session.base), loaded)
    loaded.model.to(device)
    ways = self_check.found(loaded, session.caches, config.compute.device)
    loaded.model.to("cpu")
    for remark in ways.remarks:
        say(f"! {remark}")
    facts = {"model_source": source, "self_check": SelfCheck(**ways.facts)}
    return _finish(session, split, wanted, None, loaded, loop.Outcome(), facts, run, work)


def _train(
    session: Session,
    split: Record,
    wanted: Target,
    parent: Record,
    identity: Mapping[str, str],
    run: ActiveRun,
    work: Path,
) -> Made:
    config = session.config
    shared, loaded, facts = _prepare(session, split, wanted, parent, identity, run, work)
    with Journal(run) as journal:
        outcome, optimizer = _trained(shared, loaded.model, _meeting(split, wanted, parent), journal, work)
        keep = partial(loop.save_end, shared.job, loaded.model, outcome, optimizer)
        with unless_recorded(keep):
            journal.close()
    with unless_recorded(keep):
        if leaves_state(config, wanted):
            _save_optimizer(optimizer, work / OUT)
        made = _finish(session, split, wanted, parent, loaded, outcome, facts, run, work)
    made.keep = keep
    return made


def _trained(
    shared: distributed.Shared, model: Any, meeting: str, journal: Journal, work: Path
) -> tuple[loop.Outcome, OptimizerState]:
    """Trains the model in place, here or in processes of its own, and tells of every step."""
    job = shared.job
    bar = Bar(len(job.steps), "steps")

    def on_step(report: loop.StepReport) -> None:
        journal.add(report.step, step_metrics(report))
        bar.advance(note=f"loss {report.loss:.3f}")

    if job.settings.processes > 1:
        outcome, optimizer = distributed.train(shared, model, work, meeting, on_step)
    else:
        outcome, optimizer = loop.train(job, model, set_up(shared.compute), on_step)
    bar.close()
    for each in outcome.passed_over:
        say(f"! skipped save {each}")
    return outcome, optimizer


def _prepare(
    session: Session,
    split: Record,
    wanted: Target,
    parent: Record,
    identity: Mapping[str, str],
    run: ActiveRun | None,
    work: Path,
) -> tuple[distributed.Shared, loading.Loaded, dict[str, Any]]:
    """The phase's job, its parent checkpoint, and facts: what was left out, and what else separates the arm."""
    config = session.config
    checkpoint = fetch_checkpoint(run, parent, work / "parent")
    loaded = loading.load(checkpoint, loop.WEIGHTS)
    encoded = encode_stages(session, split, parent, loaded.tokenizer)
    check_data(config, encoded, read_items(config, split, session.base), loaded)
    phases = plan_arm(config, encoded, wanted.arm, wanted.seed or 0)
    job = Job(
        steps=phases[wanted.phase - 1].steps,
        examples={key: example for stage in encoded.values() for key, example in stage.usable.items()},
        pad=loaded.tokenizer.pad_token_id,
        settings=config.training,
        schedule=schedule(config, phases, wanted.phase),
        # The n-th phases of all arms draw their dropout from the same seed.
        seed=seed_of("phase", wanted.seed or 0, wanted.phase),
        saving=Saving.of(config.training, work / "checkpoints", identity),
        optimizer_state=_parent_optimizer(parent),
        layouts=ways_of(parent).layouts,
    )
    on_cpu = device_kind(config.compute.device).startswith("cpu")
    facts = {
        "examples_left_out": left_out(encoded),
        "separations": separated(config, encoded, wanted.arm, wanted.seed or 0),
        "self_check": parent.facts(TrainFacts).self_check,
        "layout": fastest(loaded.model, config.training, on_cpu, job.layouts),
    }
    return distributed.Shared(job, checkpoint, config.compute), loaded, facts


def _meeting(split: Record, wanted: Target, parent: Record) -> str:
    """What the machines that train this phase have in common, and no others."""
    return digest_json([wanted.facts, split.digest, parent.digest])


def join(session: Session, split: Record, arm: str, phase: int, seed: int, parent: Record | None) -> None:
    """This machine's share of a phase that another one records; nothing where a finished run holds it already."""
    spec = specify(session, split, arm, phase, seed, parent)  # refuses what that machine refuses
    wanted = target_of(session.config, arm, phase, seed)
    if parent is None or phase == 0:
        raise ConfigError("phase 0: is made by the machine that records alone; give this command for the phases above")
    if found := find(session, spec):
        say(f"= {spec.name}: unchanged, in run {found.run_id}")
        return
    with tempfile.TemporaryDirectory() as folder:
        shared, _, _ = _prepare(session, split, wanted, parent, {}, None, Path(folder))
        shared.write(Path(folder) / "processes")
        distributed.launch(session.config.training, Path(folder) / "processes", _meeting(split, wanted, parent))


def leaves_state(config: Config, wanted: Target) -> bool:
    """Whether the next phase goes on with this one's optimizer."""
    return config.training.schedule_scope == "continuous" and 0 < wanted.phase < wanted.phases


def _save_optimizer(state: OptimizerState, out: Path) -> None:
    tensors, scalars = state
    (out / STATE).parent.mkdir()
    safetensors.torch.save_file(tensors, out / STATE, metadata={"scalars": json.dumps(scalars)})


def _parent_optimizer(parent: Record) -> OptimizerState | None:
    """The optimizer's state at the parent's end, where the parent left one."""
    if STATE not in parent.manifest.outputs.artifacts:
        return None
    data = parent.artifact(STATE)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return safetensors.torch.load(data), json.loads(header["__metadata__"]["scalars"])


# --- what is recorded ---------------------------------------------------------------------------


def _finish(
    session: Session,
    split: Record,
    wanted: Target,
    parent: Record | None,
    loaded: loading.Loaded,
    outcome: loop.Outcome,
    known: dict[str, Any],
    run: ActiveRun,
    work: Path,
) -> Made:
    checkpoint = work / "checkpoint"
    loading.save(loaded, checkpoint / FOLDER)
    loaded.tokenizer.save_pretrained(checkpoint / TOKENIZER)
    so_far = _order_so_far(parent, outcome)
    (work / OUT / ORDER).write_text(json.dumps(so_far), encoding="utf-8")
    (work / OUT / CURVE).write_text(json.dumps([asdict(report) for report in outcome.curve]), encoding="utf-8")
    facts = TrainFacts(
        **facts_of(session.config, split, wanted, parent, so_far, outcome.curve),
        **known,
        parameters=loading.parameters(loaded.model),
        buffers=loading.buffers(loaded.model),
        dtypes=dtypes(parent, str(loaded.model.dtype).removeprefix("torch.")),
        resumed_at_step=outcome.resumed_at,
        passed_over=outcome.passed_over,
        lost=outcome.lost,
    )
    summary = in_words(parent, facts, outcome.curve)
    description = describe(wanted, parent, facts, outcome.curve, len(loaded.tokenizer))
    model = log_checkpoint(
        run,
        checkpoint,
        wanted.checkpoint,
        model_params(wanted, parent, facts),
        wanted.tags,
        description,
        templates.answering(loaded.tokenizer, session.config.training),
    )
    used = {instance.stage for instance in outcome.consumed}
    run.metrics(metrics(outcome.curve))
    return Made(
        facts=facts,
        model=model,
        datasets=datasets(split.facts(SplitFacts).stages, sorted(used)),
        summary=summary,
        description=description,
        resumed=outcome.resumed_at > 0,
    )


def facts_of(
    config: Config,
    split: Sealed,
    wanted: Target,
    parent: Sealed | None,
    order: Sequence[Sequence[Instance]],
    curve: Sequence[loop.StepReport],
) -> dict[str, Any]:
    """What follows from the inputs, from `order`, the instances of each phase up to this one, and from the curve."""
    counted = totals(curve)
    before = parent.facts(TrainFacts).counted_so_far if parent else dict.fromkeys(counted, 0)
    return wanted.facts | {
        "chain": chain(config, split, wanted),
        "source_sha256": split.facts(SplitFacts).source["sha256"],
        "order_sha256": order_digest(order[-1] if order else []),
        "multiset_sha256": multiset_digest([instance for phase in order for instance in phase]),
        "counted": counted,
        "counted_so_far": {key: value + before[key] for key, value in counted.items()},
        "allow_inexact": config.training.allow_inexact,
    }


def _order_so_far(parent: Record | None, outcome: loop.Outcome) -> list[list[Instance]]:
    """The instances that went through the model, a list for each phase up to this one."""
    if parent is None:
        return []
    before = [[Instance(*entry) for entry in phase] for phase in json.loads(parent.artifact(ORDER))]
    return [*before, outcome.consumed]
