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
from stagewise.config import Config, FolderModel, GGUFModel, ScratchModel, resolved
from stagewise.curriculum.confounds import separations
from stagewise.curriculum.order import Instance, Phase, build, multiset_digest, order_digest
from stagewise.curriculum.targets import BASE, Target, target_of
from stagewise.data.traces import Item, Trace, parse_items, parse_traces
from stagewise.errors import ConfigError, LineageError, ModelError, TrainingError
from stagewise.hashing import digest_json, folder_digests, seed_of, sha256_file
from stagewise.model import loading, templates
from stagewise.model.device import device_kind, machine, set_up
from stagewise.progress import Bar, say
from stagewise.record.code import code_digest, deciding_versions, fingerprint_parts
from stagewise.record.facts import Dtypes, SelfCheck, SplitFacts, TrainFacts
from stagewise.record.frozen import Stage
from stagewise.record.manifest import Sealed
from stagewise.steps.common import Made, Session, Spec, find, unless_recorded
from stagewise.steps.inputs import CURVE, ORDER, STATE, check_split, dataset
from stagewise.tracking.datasets import DatasetRef
from stagewise.tracking.journal import Journal
from stagewise.tracking.models import fetch_checkpoint, loaded_files, log_checkpoint
from stagewise.tracking.package import FOLDER, TOKENIZER
from stagewise.tracking.records import Record
from stagewise.tracking.runs import OUT, ActiveRun, flatten
from stagewise.training import distributed, loop, token_cache
from stagewise.training.batching import fastest
from stagewise.training.job import Job, OptimizerState, Saving, Schedule

ENCODING = ("template", "special_tokens_in_text", "loss_on", "max_length", "too_long")
UNSEEN = ("save_steps", "keep", "keep_local", "allow_inexact", "rendezvous")


def specify(session: Session, split: Record, arm: str, phase: int, seed: int, parent: Record | None) -> Spec:
    """The phase as a step. Raises `LineageError` for a parent that is not of this chain."""
    config, wanted = session.config, target_of(session.config, arm, phase, seed)
    check_split(config, split)
    distributed.check_machine(config.training, config.compute)
    part = part_of(config, split, wanted)
    runs = {"split": split}
    if phase == 0:
        inputs = inputs_of(None, _source_files(config, session.base))
    else:
        if parent is None:
            raise LineageError(f"{arm} phase {phase}: needs init_run, the id of the run of phase {phase - 1}")
        check_parent(config, split, parent, wanted)
        inputs = inputs_of(parent, None)
        runs["parent"] = parent

    where = machine(config, phase)
    identity = flatten(fingerprint_parts("train", "steps.train", part, inputs, where))

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
    )


def inputs_of(parent: Sealed | None, source: Any) -> dict[str, Any]:
    """What goes in: for the base the files of a local model, else the parent's files, what its self-check allows, and
    its optimizer's state."""
    if parent is None:
        return {"source": source}
    artifacts = parent.manifest.outputs.artifacts
    state = {"optimizer": artifacts[STATE]} if STATE in artifacts else {}
    return {"parent": loaded_files(parent), "layouts": ways_of(parent).taken["layouts"], **state}


def part_of(config: Config, split: Sealed, wanted: Target) -> dict[str, Any]:
    """What of config and split determines a phase, given its parent: no more, or a change would repeat too much."""
    part = resolved(config)
    if wanted.phase == 0:
        # The tokenizer of a model from scratch is made from the stages, as the template writes them.
        made = {"stages": split.facts(SplitFacts).stages} if isinstance(config.model, ScratchModel) else {}
        asked = {"template": config.training.template, "max_length": config.training.max_length}
        return {"arm": wanted.facts, "model": part["model"], **asked, **made}
    # How often a phase saves itself changes nothing that it makes.
    settings = {key: value for key, value in part["training"].items() if key not in UNSEEN}
    names = [stage.name for stage in config.split.stages]
    order = config.stage_order(wanted.arm)
    if order is not None and config.training.schedule_scope == "per_phase":
        names = [order[wanted.phase - 1]]  # the others are dealt over all phases, or count in their schedule
    epochs = {name: count for name, count in config.epochs(wanted.arm).items() if name in names}
    return {
        "arm": wanted.facts | {"order": order and list(order)},
        "training": settings,
        "stages": {name: split.facts(SplitFacts).stages[name] for name in names},
        "epochs": epochs,
    }


def chain(config: Config, split: Sealed, wanted: Target) -> list[str]:
    """A digest for each phase up to this one: what its checkpoint must have been made from."""
    base = wanted._replace(arm=BASE, phase=0, phases=0)
    base = base if isinstance(config.model, ScratchModel) else base._replace(seed=None)
    phases = [base, *(wanted._replace(phase=phase) for phase in range(1, wanted.phase + 1))]
    return [digest_json(part_of(config, split, each)) for each in phases]


def check_parent(config: Config, split: Sealed, parent: Sealed, wanted: Target) -> None:
    """Raises `LineageError` for a run from whose checkpoint this phase does not start."""
    found = parent.facts(TrainFacts)
    expected = {
        "arm": wanted.arm if wanted.phase > 1 else BASE,
        "phase": wanted.phase - 1,
        "seed": None if found.seed is None and found.phase == 0 else wanted.seed,
        "chain": chain(config, split, wanted)[:-1],
    }
    for key, value in expected.items():
        if getattr(found, key) != value:
            name = "model, training or stages" if key == "chain" else key
            raise LineageError(
                f"run {parent.run_id}: cannot be the parent of {wanted.checkpoint}: found {name} "
                f"{getattr(found, key)}, expected {value}"
            )


def ways_of(made: Sealed) -> self_check.Ways:
    """What is right for its base model, and so for every checkpoint that was trained from it."""
    return self_check.Ways.of(made.facts(TrainFacts).self_check.json_value())


def _source_files(config: Config, base: Path) -> dict[str, Any] | None:
    """The files of a local model source, by digest; a hub's revision is a digest already, and in the config."""
    if isinstance(config.model, FolderModel):
        folder = base / Path(config.model.path).expanduser()
        if not folder.is_dir():
            raise ModelError(f"model.path: {folder}: no such folder")
        return folder_digests(folder)
    if isinstance(config.model, GGUFModel):
        file = loading.gguf_file(config.model.gguf, base)
        return {file.name: {"sha256": sha256_file(file), "size": file.stat().st_size}}
    return None


# --- what is done -------------------------------------------------------------------------------


def _make_base(
    session: Session, split: Record, seed: int, wanted: Target, source: Any, run: ActiveRun, work: Path
) -> Made:
    config = session.config
    device = set_up(config.compute).device
    stages = read_stages(config, split)
    loaded = loading.create(config.model, seed, texts(config, stages), session.base, session.home)
    check_data(config, encode(config, stages, loaded.tokenizer), _read_items(config, split), loaded)
    loaded.model.to(device)
    ways = self_check.found(loaded, session.home, config.compute.device)
    loaded.model.to("cpu")
    for remark in ways.remarks:
        say(f"! {remark}")
    facts = {"model_source": source, "self_check": SelfCheck(**ways.facts)}
    return _finish(session, split, wanted, None, loaded, loop.Outcome(), facts, run, work)


def texts(config: Config, stages: Mapping[str, Sequence[Trace]]) -> list[str]:
    """What the tokenizer of a model from scratch is learned from."""
    complete = templates.TEMPLATES[config.training.template].completion
    return [text for traces in stages.values() for trace in traces for text in (f"{trace.prompt}\n", complete(trace))]


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
        say(f"! save {each}; it was passed over")
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
    check_data(config, encoded, _read_items(config, split), loaded)
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


def read_stages(config: Config, split: Sealed) -> dict[str, tuple[Trace, ...]]:
    layout = config.data.train.layout
    names = [stage.name for stage in config.split.stages]
    return {name: parse_traces(split.artifact(f"stages/{name}.jsonl"), name, layout).rows for name in names}


def _read_items(config: Config, split: Record) -> tuple[Item, ...]:
    return parse_items(split.artifact("eval.jsonl"), "eval", config.data.eval.layout).rows


def check_data(
    config: Config, encoded: Mapping[str, templates.Encoded], items: Sequence[Item], loaded: loading.Loaded
) -> None:
    """Raises `UserError` for what the model could not be trained on or asked, whichever is done later."""
    positions = loading.positions(loaded.model)
    templates.check_lengths(encoded, positions)
    templates.check_prompts(loaded.tokenizer, config, items, positions)


def encode_stages(session: Session, split: Record, parent: Record, tokenizer: Any) -> dict[str, templates.Encoded]:
    """The stages as tokens, made once on this machine."""
    config, files = session.config, parent.model.files
    decides = {
        "stages": {name: entry["sha256"] for name, entry in split.facts(SplitFacts).stages.items()},
        "layout": config.data.train.layout,
        "tokenizer": {name: entry for name, entry in files.items() if name.startswith(f"{TOKENIZER}/")},
        "settings": {name: getattr(config.training, name) for name in ENCODING},
        "code": code_digest("model.templates"),
        "packages": deciding_versions("train"),
    }
    made = token_cache.kept(
        session.home / "tokens", decides, lambda: encode(config, read_stages(config, split), tokenizer)
    )
    return {stage.name: made[stage.name] for stage in config.split.stages}  # in the curriculum's order


def encode(config: Config, stages: Mapping[str, Sequence[Trace]], tokenizer: Any) -> dict[str, templates.Encoded]:
    encoded = {name: templates.encode(traces, tokenizer, config.training, name) for name, traces in stages.items()}
    for name, stage in encoded.items():
        if not stage.usable:
            raise TrainingError(
                f"stage {name}: all {stage.dropped} traces are longer than training.max_length "
                f"{config.training.max_length} and dropped; raise it"
            )
    return encoded


def left_out(encoded: Mapping[str, templates.Encoded]) -> dict[str, dict[str, int]]:
    return {name: {"dropped": stage.dropped, "truncated": stage.truncated} for name, stage in encoded.items()}


def plan_arm(config: Config, encoded: Mapping[str, templates.Encoded], arm: str, seed: int) -> tuple[Phase, ...]:
    positions = {name: [position for _, position in stage.usable] for name, stage in encoded.items()}
    return build(positions, config.epochs(arm), arm, config.stage_order(arm), seed, config.training.batch_size)


def separated(config: Config, encoded: Mapping[str, templates.Encoded], arm: str, seed: int) -> list[str]:
    """What separates the arm from `curriculum`, in words."""
    phases, against = (plan_arm(config, encoded, each, seed) for each in (arm, "curriculum"))
    return separations(phases, against, config.training.schedule_scope)


def schedule(config: Config, phases: tuple[Phase, ...], phase: int) -> Schedule:
    counts = [len(each.steps) for each in phases]
    if config.training.schedule_scope == "continuous":
        return Schedule(sum(counts[: phase - 1]), sum(counts))
    return Schedule(0, counts[phase - 1])


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


def step_metrics(report: loop.StepReport) -> dict[str, float]:
    """The metrics of one step, as they are logged while it trains."""
    return {
        "train/loss": report.loss,
        "train/learning_rate": report.learning_rate,
        "train/grad_norm": report.grad_norm,
        "train/tokens_per_second": round(report.tokens / report.seconds, 1),
    }


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


def dtypes(parent: Sealed | None, weights: str) -> Dtypes:
    return Dtypes(model=parent.facts(TrainFacts).dtypes.model if parent else weights, weights=weights)


def totals(curve: Sequence[loop.StepReport]) -> dict[str, int]:
    """What went through the model in this phase."""
    counted = {
        name: sum(getattr(step, name) for step in curve) for name in ("examples", "loss_tokens", "tokens", "padding")
    }
    return counted | {"optimizer_steps": len(curve)}


def metrics(curve: Sequence[loop.StepReport]) -> dict[str, float]:
    """The metrics of the phase as a whole."""
    last = {"train/loss_last": curve[-1].loss} if curve else {}
    return {f"train/{name}": value for name, value in totals(curve).items()} | last


def datasets(stages: Mapping[str, Stage], used: Sequence[str]) -> list[DatasetRef]:
    """The stages that went through the model, as inputs of the run."""
    return [dataset(name, stages[name], "training", f"stages/{name}.jsonl") for name in used]


def _order_so_far(parent: Record | None, outcome: loop.Outcome) -> list[list[Instance]]:
    """The instances that went through the model, a list for each phase up to this one."""
    if parent is None:
        return []
    before = [[Instance(*entry) for entry in phase] for phase in json.loads(parent.artifact(ORDER))]
    return [*before, outcome.consumed]


def model_params(wanted: Target, parent: Sealed | None, facts: TrainFacts) -> dict[str, Any]:
    return wanted.facts | {
        "parent_model": parent.model.name if parent else "none",
        "parent_model_id": parent.model.model_id if parent else "none",
        "order_sha256": facts.order_sha256,
        "multiset_sha256": facts.multiset_sha256,
    }


def in_words(parent: Sealed | None, facts: TrainFacts, curve: Sequence[loop.StepReport]) -> list[str]:
    if parent is None:
        return [
            f"{facts.parameters:,} parameters in {facts.dtypes.weights}",
            self_check.Ways.of(facts.self_check.json_value()).in_words,
        ]
    counted, resumed_at = facts.counted, facts.resumed_at_step
    return [
        f"{counted['examples']:,} examples in {counted['optimizer_steps']:,} steps",
        f"loss {curve[0].loss:.3f} → {curve[-1].loss:.3f}",
        f"{counted['tokens'] / sum(step.seconds for step in curve):,.0f} tokens/s",
        *([f"resumed at step {resumed_at}"] if resumed_at else []),
    ]


def describe(
    wanted: Target,
    parent: Sealed | None,
    facts: TrainFacts,
    curve: Sequence[loop.StepReport],
    vocabulary: int,
) -> str:
    """In Markdown what came out, for the run and the model."""
    said = in_words(parent, facts, curve)
    if parent is None:
        return f"**Base model** {wanted.checkpoint}: {said[0]}, {vocabulary:,} tokens; {said[1]}."
    return f"**{wanted.checkpoint}**, trained on from {parent.model.name}: {', '.join(said)}."
