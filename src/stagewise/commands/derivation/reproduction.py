"""The verdict of a reproduction, from its two records."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from stagewise.analysis.agreement import compare
from stagewise.commands import reproduce as step
from stagewise.commands.derivation.expected import Expected, hold, same
from stagewise.record.manifest import Sealed
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding


def derive(sealed: Sealed, chain: Chain, memo: dict[Any, Any]) -> Iterator[Finding]:
    original, again = (chain.made_from(sealed, role) for role in ("original", "again"))
    comparison = compare(*(step.made(run, partial(chain.made_from, run)) for run in (original, again)))
    told = sealed.json(step.RESULT)
    origin, remarks = told["code"]["origin"], told["code"]["remarks"]
    result = step.result(original, again, comparison, origin, remarks)
    yield from same(f"artifact {step.RESULT}", told, result)
    yield from same("manifest.json, machine", sealed.manifest.machine, again.manifest.machine)
    kind = original.manifest.kind
    file_sha256 = original.manifest.config.file_sha256
    yield from same("manifest.json, config.file_sha256", sealed.manifest.config.file_sha256, file_sha256)
    expected = Expected(
        description=step.describe(original, again, comparison, origin, remarks),
        facts=step.facts_of(comparison, origin),
        part={"run_id": original.run_id},
        artifacts=[step.RESULT],
        runs={"original": kind, "again": kind},
        setup=(),
        parameters={"run_id": original.run_id, "yes": None},
        tags={"reproduces": original.run_id, "verdict": comparison.verdict, "again": again.run_id},
    )
    yield from hold(sealed, chain, expected)
