"""The order and multiset of the examples, from the config and the stages; what each step took, from its examples."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stagewise.commands.derivation import checkpoint
from stagewise.commands.derivation.expected import Expected, config_of, hold, kept, refused, same
from stagewise.commands.derivation.own import folder_of
from stagewise.config import Config, FolderModel, GGUFModel, ScratchModel
from stagewise.curriculum.order import Instance, Phase
from stagewise.curriculum.targets import Target, target_of
from stagewise.data.traces import Trace
from stagewise.hashing import digest_json
from stagewise.model import templates
from stagewise.record import schemas
from stagewise.record.facts import SplitFacts, TrainFacts
from stagewise.record.manifest import Sealed
from stagewise.steps import determinants, examples, phase
from stagewise.steps import train as step
from stagewise.steps.inputs import CURVE, ORDER, STATE
from stagewise.tracking.package import TOKENIZER
from stagewise.tracking.runs import NOTE, flatten
from stagewise.training import loop
from stagewise.training.batching import Batching
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding
from stagewise.verification.walk import Underivable

MOST = 20_000_000  # examples of an arm: some gigabytes of memory
# Facts that nothing else tells, or not in every case: of the base also what its self-check found.
AS_TOLD = ("resumed_at_step", "passed_over", "lost", "model_source", "self_check", "layout", "buffers")


def curve_of(sealed: Sealed) -> list[loop.StepReport]:
    points = sealed.json(CURVE)
    schemas.check(points, "curve", CURVE)
    return [loop.StepReport(**point) for point in points]


def derive(sealed: Sealed, chain: Chain, memo: dict[Any, Any]) -> Iterator[Finding]:
    config, facts, target = config_of(sealed), sealed.facts(TrainFacts), Target.of(sealed)
    seed = config.seeds[0] if target.seed is None else target.seed
    wanted = target_of(config, target.arm, target.phase, seed)
    made_of, curve = chain.made_from(sealed, "split"), curve_of(sealed)
    parent = chain.made_from(sealed, "parent") if target.phase else None
    follows: dict[str, Any] = {name: getattr(facts, name) for name in AS_TOLD if name in facts.model_fields_set}
    order: list[list[Instance]] = []
    stages = _stages(config, made_of, folder_of(sealed, memo), memo)
    follows |= {"model_source": None} if facts.model_source and not _has_files(config, parent) else {}
    if parent is None:
        follows |= {"resumed_at_step": 0, "passed_over": [], "lost": []}
        follows |= {"layout": None} if facts.layout else {}
        follows |= {"buffers": 0} if isinstance(config.model, ScratchModel) else {}
    if parent is not None:
        yield from refused("the parent", lambda: determinants.check_parent(config, made_of, parent, wanted))
        encoded = _encoded(config, chain, made_of, parent, stages, memo)
        phases = kept(memo, ("plan", made_of.digest, _key(config), wanted), lambda: _planned(config, encoded, wanted))
        order = [phase.instances for phase in phases[: wanted.phase]]
        before = parent.facts(TrainFacts)
        follows |= {"self_check": before.self_check, "buffers": before.buffers}
        layouts = determinants.ways_of(parent).layouts
        if facts.layout not in layouts:
            yield Finding("manifest.json, facts.layout", str(facts.layout), f"one of {', '.join(layouts)}")
        follows["examples_left_out"] = examples.left_out(encoded)
        follows["separations"] = examples.separated(config, encoded, wanted.arm, seed)
        yield from _steps(config, encoded, phases, wanted, curve)
    recorded = sealed.json(ORDER)
    yield from same(f"artifact {ORDER}", recorded, order)
    yield from _resumed(sealed, config, len(curve))
    expected = TrainFacts(
        **follows | step.facts_of(config, made_of, wanted, parent, order, curve),
        parameters=checkpoint.parameters(sealed, chain),
        dtypes=phase.dtypes(parent, checkpoint.dtype_of(sealed, chain)),
    )
    if parent is not None:
        yield from same("manifest.json, facts.dtypes", facts.dtypes.weights, loop.WEIGHTS)
    vocabulary = len(checkpoint.tokenizer_of(chain, sealed))
    description = phase.describe(wanted, parent, expected, curve, vocabulary)
    used = sorted({instance.stage for instance in order[-1]}) if order else []
    yield from hold(
        sealed,
        chain,
        Expected(
            description=description,
            facts=expected,
            part=determinants.part_of(config, made_of, wanted),
            artifacts=[ORDER, CURVE, *([STATE] if step.leaves_state(config, wanted) else [])],
            inputs=determinants.inputs_of(parent, facts.model_source),
            runs={"split": "split"} | ({"parent": "train"} if parent else {}),
            parameters=_parameters(made_of, parent, wanted, seed),
            tags=wanted.tags,
            resumed=facts.resumed_at_step > 0,
            metrics=phase.metrics(curve),
            datasets=phase.datasets(made_of.facts(SplitFacts).stages, used),
            model={
                "name": wanted.checkpoint,
                "params": flatten(phase.model_params(wanted, parent, expected)),
                "tags": {NOTE: description, **wanted.tags},
            },
        ),
    )
    yield from checkpoint.derive(sealed, chain, config, parent)
    if parent is None and isinstance(config.model, ScratchModel):
        yield from checkpoint.made_again(sealed, chain, config, seed, examples.texts(config, stages))


def _has_files(config: Config, parent: Sealed | None) -> bool:
    """Whether it was made from files of its own: a hub's revision and a seed are in the config."""
    return parent is None and isinstance(config.model, FolderModel | GGUFModel)


def _key(config: Config) -> str:
    return digest_json([config.model_dump(mode="json")[name] for name in ("training", "arms", "split", "data")])


def _stages(
    config: Config, made_of: Sealed, folder: Path | None, memo: dict[Any, Any]
) -> Mapping[str, Sequence[Trace]]:
    return kept(
        memo, ("stages", made_of.digest, _key(config), folder), lambda: examples.read_stages(config, made_of, folder)
    )


def _encoded(
    config: Config,
    chain: Chain,
    made_of: Sealed,
    parent: Sealed,
    stages: Mapping[str, Sequence[Trace]],
    memo: dict[Any, Any],
) -> Mapping[str, templates.Encoded]:
    """The stages as tokens, made once for all phases that have the tokenizer in common."""
    files = parent.model.files
    tokenizer = digest_json({name: entry for name, entry in files.items() if name.startswith(f"{TOKENIZER}/")})

    def encode() -> Mapping[str, templates.Encoded]:
        return examples.encode(config, stages, checkpoint.tokenizer_of(chain, parent))

    return kept(memo, ("tokens", made_of.digest, _key(config), tokenizer), encode)


def _planned(config: Config, encoded: Mapping[str, templates.Encoded], wanted: Target) -> tuple[Phase, ...]:
    epochs = config.epochs(wanted.arm)
    count = sum(len(stage.usable) * epochs[name] for name, stage in encoded.items())
    if count > MOST:  # whoever wrote the record chose how many
        raise Underivable(f"the order of {count:,} examples; of more than {MOST:,} it is not recomputed")
    return examples.plan_arm(config, encoded, wanted.arm, wanted.seed or 0)


def _steps(
    config: Config,
    encoded: Mapping[str, templates.Encoded],
    phases: tuple[Phase, ...],
    wanted: Target,
    curve: Sequence[loop.StepReport],
) -> Iterator[Finding]:
    """What of each optimizer step follows from its examples and its place in the schedule; the first that differs."""
    settings, steps = config.training, phases[wanted.phase - 1].steps
    yield from same(f"artifact {CURVE}, steps", [report.step for report in curve], list(range(1, len(steps) + 1)))
    usable = {key: example for stage in encoded.values() for key, example in stage.usable.items()}
    batching = Batching(layout="joined", limit=1, loss_on=settings.loss_on, pad=0)
    schedule = examples.schedule(config, phases, wanted.phase)
    for index, (report, instances) in enumerate(zip(curve, steps, strict=False)):
        taken = [usable[instance.example] for instance in instances]
        follows: dict[str, float] = {
            "examples": len(taken),
            "loss_tokens": sum(len(batching.learned(example)) for example in taken),
            "tokens": sum(len(example.ids) for example in taken),
        }
        found = {name: getattr(report, name) for name in follows}
        rate = loop.learning_rate(settings, schedule.first + index, schedule.total)
        # Another C library's cosine may differ in the last bit.
        if not math.isclose(report.learning_rate, rate, rel_tol=1e-9):
            found["learning_rate"], follows["learning_rate"] = report.learning_rate, rate
        if found != follows:
            yield from same(f"artifact {CURVE}, step {index + 1}", found, follows)
            return


def _resumed(sealed: Sealed, config: Config, steps: int) -> Iterator[Finding]:
    """Whether and where a phase was gone on from is as told, within what can be."""
    facts = sealed.facts(TrainFacts)
    if facts.resumed_at_step > steps:
        found = f"{facts.resumed_at_step} of {steps} steps"
        yield Finding("manifest.json, facts.resumed_at_step", found, "no more steps than there are")
    if facts.lost and not (config.training.allow_inexact and facts.resumed_at_step):
        yield Finding("manifest.json, facts.lost", ", ".join(facts.lost), "none, since the config allows none")


def _parameters(made_of: Sealed, parent: Sealed | None, wanted: Target, seed: int) -> dict[str, str | None]:
    arm = None if wanted.phase == 0 else wanted.arm  # the base's is anybody's
    given: dict[str, str | None] = {"config": None, "split_run": made_of.run_id, "arm": arm}
    given |= {"phase": str(wanted.phase), "seed": None if wanted.seed is None else str(seed)}
    return given | {"init_run": parent.run_id if parent else None}
