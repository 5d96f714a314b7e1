"""Every number and sentence of a report, from the predictions and the curves."""

from collections.abc import Iterator
from typing import Any

from stagewise.commands.derivation.expected import Expected, config_of, hold, same
from stagewise.curriculum.targets import targets
from stagewise.hashing import sha256
from stagewise.record.facts import ReportFacts
from stagewise.record.manifest import Sealed
from stagewise.report import figures
from stagewise.steps import report as step
from stagewise.steps.common import ONE_THREAD
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding


def derive(sealed: Sealed, chain: Chain, memo: dict[Any, Any]) -> Iterator[Finding]:
    config, server = config_of(sealed), sealed.facts(ReportFacts).server
    # Their order is the study's; a manifest names them by name.
    planned = list(dict.fromkeys(target.checkpoint for target in targets(config)))
    asked = sealed.manifest.inputs.runs
    yield from same(
        "manifest.json, inputs.runs", sorted(asked), sorted(["split", *(f"eval {name}" for name in planned)])
    )
    evaluated = [chain.made_from(sealed, f"eval {name}") for name in planned]
    trained = [chain.made_from(each, "train") for each in evaluated]
    made_of = chain.made_from(sealed, "split")
    checkpoints = step.read_checkpoints(trained, evaluated)
    yield from same("the checkpoints of the eval runs", [each.name for each in checkpoints], planned)
    compared = step.compare(config, checkpoints)
    yield from same(f"artifact {step.COMPARISON}", sealed.json(step.COMPARISON), compared)
    # The pictures are taken as they are: another machine's may differ in a pixel that says nothing.
    drawn = {name: (caption, sealed.artifact(name)) for name, caption in figures.captions(compared).items()}
    texts = step.written(config, compared, checkpoints, made_of, trained, evaluated, server, drawn)
    for name, text in texts.items():
        yield from same(f"artifact {name}", sha256(sealed.artifact(name)), sha256(text))
    yield from same("manifest.json, machine", sealed.manifest.machine, ONE_THREAD)
    expected = Expected(
        description=step.describe(compared, "report.html"),
        facts=step.facts_of(len(checkpoints), [*texts, *drawn], server),
        part=step.part_of(config),
        artifacts=[*texts, *drawn],
        inputs=step.inputs_of([made_of, *trained, *evaluated]),
        runs=dict.fromkeys(asked, "eval") | {"split": "split"},
        parameters={"run_id": None},
    )
    yield from hold(sealed, chain, expected)
