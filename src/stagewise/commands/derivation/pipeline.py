"""A study from its config: that each step is the one that the config asks for, made from the study's own split and
parents; the copies of the report, the final scores; and that all arms of a seed saw the same examples, as often."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stagewise.commands.derivation.code import step_digest
from stagewise.commands.derivation.expected import Expected, config_of, hold, same
from stagewise.config import Config, resolved
from stagewise.curriculum.targets import BASE, Target, target_of, targets
from stagewise.model.device import DETERMINISM
from stagewise.record.code import deciding
from stagewise.record.facts import PipelineFacts, Registered, ReportFacts, SplitFacts
from stagewise.record.frozen import Machine
from stagewise.record.manifest import Sealed
from stagewise.steps import determinants, evaluate, study
from stagewise.steps import report as report_step
from stagewise.steps.inputs import STATE, split_part
from stagewise.tracking.models import loaded_files
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding


def derive(sealed: Sealed, chain: Chain, memo: dict[Any, Any]) -> Iterator[Finding]:
    config, facts = config_of(sealed), sealed.facts(PipelineFacts)
    steps = facts.steps
    yield from same(f"artifact {report_step.STEPS}", sealed.json(report_step.STEPS), steps.json_value())
    parts = chain.sealed[steps.split], chain.made_from(sealed, "report")
    trained = [chain.sealed[run_id] for run_id in steps.train]
    evaluated = [chain.sealed[run_id] for run_id in steps.eval]
    yield from _checkpoints(config, chain, trained, evaluated)
    runs = study.runs_of(*parts, trained, evaluated)
    named = {name: each.reference for name, each in runs.items()}
    yield from same("manifest.json, inputs.runs", sealed.manifest.inputs.runs, named)
    yield from _steps(sealed, config, chain, *parts, trained, evaluated)
    compared = sealed.json(f"report/{report_step.COMPARISON}")
    copies = [f"report/{name}" for name in parts[1].facts(ReportFacts).files]
    yield from _copies(sealed, parts[1])
    yield from same("manifest.json, machine", sealed.manifest.machine, _machine(sealed, config))
    expected = Expected(
        description=study.describe(compared, facts.registered, runs),
        facts=PipelineFacts(
            steps=steps,
            steps_reused=study.reused(runs, sealed.run_id),
            report=parts[1].facts(ReportFacts),
            registered=_registered(config, facts.registered, trained),
        ),
        part=resolved(config),
        artifacts=[report_step.STEPS, *copies],
        runs={name: each.manifest.kind for name, each in runs.items()},
        parameters={"config": None},
        tags={"study": config.study, "config_sha256": sealed.manifest.config.file_sha256},
        metrics=study.finals(compared),
    )
    yield from hold(sealed, chain, expected)
    yield from _same_examples(config, [each for each in trained if Target.of(each).is_final])


def _checkpoints(
    config: Config, chain: Chain, trained: Sequence[Sealed], evaluated: Sequence[Sealed]
) -> Iterator[Finding]:
    done = [
        [Target.of(each).checkpoint for each in (checkpoint, chain.made_from(answers, "train"))]
        for checkpoint, answers in zip(trained, evaluated, strict=True)
    ]
    planned = list(dict.fromkeys(target.checkpoint for target in targets(config)))
    yield from same("the study's checkpoints, each with an eval run", done, [[name, name] for name in planned])


def _steps(
    sealed: Sealed,
    config: Config,
    chain: Chain,
    made_of: Sealed,
    report: Sealed,
    trained: Sequence[Sealed],
    evaluated: Sequence[Sealed],
) -> Iterator[Finding]:
    """Each step by this study's config, data and checkpoints: it may have been made for another."""
    yield from _asked("split", made_of, split_part(config))
    yield from _asked("report", report, report_step.part_of(config))
    yield from same("report, its split", report.manifest.inputs.runs.get("split"), made_of.reference)
    for alike in ([made_of], trained, evaluated, [report]):
        yield from _software(sealed, alike)
    by_name = {Target.of(each).checkpoint: each for each in trained}
    for each in trained:
        target = Target.of(each)
        what = f"train {target.checkpoint}"
        yield from _asked(what, each, determinants.part_of(config, made_of, target))
        yield from _data(what, chain.made_from(each, "split"), made_of)
        yield from _where(what, sealed, each, config, target.phase)
        if target.phase:
            base = target_of(config, BASE, 0, target.seed if target.seed is not None else config.seeds[0])
            before = base if target.phase == 1 else target._replace(phase=target.phase - 1)
            yield from _same_checkpoint(
                f"{what}, its parent", chain.made_from(each, "parent"), by_name[before.checkpoint]
            )
    for each, checkpoint in zip(evaluated, trained, strict=True):
        target = Target.of(checkpoint)
        what = f"eval {target.checkpoint}"
        yield from _asked(what, each, evaluate.part_of(config, target))
        yield from _data(what, chain.made_from(each, "split"), made_of)
        yield from _where(what, sealed, each, config, 0)
        yield from _same_checkpoint(f"{what}, its checkpoint", chain.made_from(each, "train"), checkpoint)
        named = report.manifest.inputs.runs.get(what)
        yield from same(f"report, its {what}", named, each.reference, "that is the pipeline's")


def _asked(what: str, made: Sealed, part: Mapping[str, Any]) -> Iterator[Finding]:
    """That a step was made with the settings that this study's config asks for."""
    found = made.manifest.config.part
    for name in sorted(found.keys() | part.keys()):
        yield from same(f"{what}, its config's {name}", found.get(name), part.get(name), "that is the study's config")


def _data(what: str, found: Sealed, expected: Sealed) -> Iterator[Finding]:
    """That its split holds the bytes of the study's: of the source, of every stage, of the eval set."""
    for name in ("source", "stages", "eval"):
        told, follows = getattr(found.facts(SplitFacts), name), getattr(expected.facts(SplitFacts), name)
        yield from same(f"{what}, its split's {name}", told, follows, "that is the study's split")


def _same_checkpoint(what: str, found: Sealed, expected: Sealed) -> Iterator[Finding]:
    """That a step started from the very files of the study's checkpoint, and from its optimizer's state."""
    yield from same(what, Target.of(found).checkpoint, Target.of(expected).checkpoint, "that is the study's")
    yield from same(f"{what}, files", loaded_files(found), loaded_files(expected), "those are the study's")
    state, wanted = (each.manifest.outputs.artifacts.get(STATE) for each in (found, expected))
    yield from same(f"{what}, optimizer", state, wanted, "that is the study's")


def _where(what: str, sealed: Sealed, made: Sealed, config: Config, phase: int) -> Iterator[Finding]:
    """On the kind of machine that the pipeline was run on, with as many threads if nothing else decides them."""
    found, expected = made.manifest.machine, sealed.manifest.machine
    if phase and config.training.processes > 1 and config.compute.threads is None:
        found, expected = found | {"threads": 1}, expected | {"threads": 1}
    yield from same(f"{what}, its machine", found, expected, "that is the pipeline's")


def _software(sealed: Sealed, alike: Sequence[Sealed]) -> Iterator[Finding]:
    """That steps of one kind were made by the study's code, python and packages, as far as those decide what comes of
    them: a step is reused only if they are the same."""
    kind = alike[0].manifest.kind
    code = step_digest(sealed, kind) or alike[0].manifest.code.step_sha256
    there = sealed.manifest.environment
    for each in alike:
        what = f"{kind} {Target.of(each).checkpoint}" if kind in ("train", "eval") else kind
        here = each.manifest.environment
        yield from same(f"{what}, its code", each.manifest.code.step_sha256, code, "that is the study's")
        yield from same(f"{what}, its python", here.python, there.python, "that is the study's")
        found, expected = (deciding(kind, both.packages) for both in (here, there))
        yield from same(f"{what}, its packages", found, expected, "those are the study's")


def _machine(sealed: Sealed, config: Config) -> Machine:
    """The pipeline's, as far as the config and the code decide it."""
    told = sealed.manifest.machine
    threads = config.compute.threads or told["threads"]
    return {"device": told["device"], "threads": threads, "determinism": DETERMINISM}


def _copies(sealed: Sealed, report: Sealed) -> Iterator[Finding]:
    made, artifacts = report.manifest.outputs.artifacts, sealed.manifest.outputs.artifacts
    for name in report.facts(ReportFacts).files:
        yield from same(f"artifact report/{name}", artifacts.get(f"report/{name}"), made[name])


def _registered(config: Config, told: Mapping[str, Registered], trained: Sequence[Sealed]) -> dict[str, Registered]:
    """The last checkpoint of each arm and seed; the number of its version only the registry knows."""
    follows = {}
    for each in trained:
        target = Target.of(each)
        if target.is_final:
            alias = study.alias_of(target)
            version = told[alias].version if alias in told else "a version"
            follows[alias] = Registered(name=config.study, version=version, model_id=each.model.model_id)
    return follows


def _same_examples(config: Config, last: Sequence[Sealed]) -> Iterator[Finding]:
    """Order is the only difference: the arms of a seed that share their examples by how they are made saw the same, as
    often, in as many steps."""
    first: dict[tuple[str, int | None], Sealed] = {}
    for each in last:
        target = Target.of(each)
        against = first.setdefault((config.shares_examples(target.arm), target.seed), each)
        for name in ("multiset_sha256", "counted_so_far.loss_tokens", "counted_so_far.optimizer_steps"):
            found, expected = (_at(sealed.manifest.facts, name) for sealed in (each, against))
            yield from same(f"{target.checkpoint}, {name}", found, expected)


def _at(facts: Mapping[str, Any], name: str) -> Any:
    head, _, rest = name.partition(".")
    return facts[head][rest] if rest else facts[head]
