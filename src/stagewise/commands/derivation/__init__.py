"""What follows from what in a record, recomputed by the steps' own functions, without a server.

split      the stages and the eval set, from the source that they give back, by the config's rules
train      the order and multiset of the examples, from the config and the stages; what each step took; the checkpoint's
           files but for what training made; the initial weights of a model from scratch
eval       every score and measure, from the outputs; every metric, from the scores
report     every number and sentence, from the predictions and the curves
pipeline   each step, from the study's config, split and parents; that all arms of a seed saw the same examples as often
reproduction   the verdict, from the two records

and of each its facts, params, tags, description, fingerprint and code (common, code). What does not follow is in
docs/verify.md.
"""

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stagewise.analysis.gate import decide
from stagewise.commands.derivation import code, own
from stagewise.commands.derivation.code import MODULES
from stagewise.commands.derivation.expected import config_of
from stagewise.config import Promotion
from stagewise.errors import UserError
from stagewise.evaluation import predictions
from stagewise.record.code import code_digest, deciding, deciding_versions, environment
from stagewise.record.facts import ReportFacts
from stagewise.record.manifest import Sealed
from stagewise.tracking.pages import address
from stagewise.verification.chain import Chain
from stagewise.verification.entries import Points
from stagewise.verification.findings import Finding
from stagewise.verification.registry import Event
from stagewise.verification.views import Source
from stagewise.verification.walk import Derived

# The module beside this one that is named like the kind has `derive`; it is imported for a run of the kind alone, since
# that of train loads torch and that of report matplotlib.
SAID = {
    "split": "stages follow from the source",
    "train": "order follows from the plan",
    "eval": "scores follow from the outputs",
    "report": "numbers follow from the predictions",
    "pipeline": "all arms saw the same examples",
    "reproduction": "the verdict follows from the two records",
}


class Rules:
    """`verification.walk.Rules` of the steps in this package."""

    def __init__(self, own_code: Path | None = None) -> None:
        """`own_code`: a folder for the study's own code, if it may be run."""
        self.memo: dict[Any, Any] = {own.PLACE: own_code}
        """What several runs of a record have in common, made once."""

    def same(self, sealed: Sealed) -> bool:
        manifest, here = sealed.manifest, environment()
        kind, there = manifest.kind, manifest.environment
        return (
            manifest.code.step_sha256 == code_digest(MODULES[kind])
            and (there.python, there.zlib) == (here.python, here.zlib)
            and deciding(kind, there.packages) == deciding_versions(kind)
        )

    def curves(self, sealed: Sealed) -> Points:
        if sealed.manifest.kind != "train":
            return {}
        from stagewise.commands.derivation.train import curve_of
        from stagewise.steps.phase import step_metrics

        points: dict[str, list[tuple[int, float]]] = {}
        for step in curve_of(sealed):
            for name, value in step_metrics(step).items():
                points.setdefault(name, []).append((step.step, value))
        return points

    def code(self, sealed: Sealed) -> Iterator[Finding]:
        yield from code.check(sealed)
        yield from own.check(sealed)

    def derive(self, sealed: Sealed, chain: Chain) -> Derived:
        kind = sealed.manifest.kind
        module = importlib.import_module(f"stagewise.commands.derivation.{kind}")
        return Derived(SAID[kind], list(module.derive(sealed, chain, self.memo)))

    def remarks(self, sealed: Sealed, source: Source) -> Iterator[str]:
        if sealed.manifest.kind == "report":
            server = sealed.facts(ReportFacts).server
            if server not in ("", address(source.where)):
                yield f"The report's links lead to {server}; this record was read from {source.where}."
        if redacted := sealed.manifest.code.redacted:
            yield f"Run {sealed.run_id}: {redacted} credentials stand as *** in code.diff, so its package is as told."
        if withheld := sealed.manifest.code.withheld:
            yield f"Run {sealed.run_id} holds not all of its code: {withheld}."

    def gate(self, promotion: Event, promoted: Sealed, against: Sealed | None) -> Iterator[Finding]:
        """The decision over again, from the predictions of both."""
        asked = {name: promotion[name] for name in ("metric", "margin", "min")}
        declared = config_of(promoted).promotion.model_dump(include=set(asked))
        if declared != asked:
            found, expected = (
                f"{each['metric']} with a margin of {each['margin']:g} and a floor of {each['min']:g}"
                for each in (asked, declared)
            )
            why = "`promote --config` may name another gate than the record's; nothing tells whether it did"
            yield Finding("the gate", found, expected, why, checked=False)
        try:
            settings = Promotion(**asked)
            others = None if against is None else _rows(against)
            decision = decide(_rows(promoted), others, settings)
        except (UserError, ValueError) as error:
            yield Finding("the gate", str(error).splitlines()[0], "a decision that can be made again")
            return
        if against is not None and _asked(promoted) != _asked(against):
            yield Finding("the eval runs", "other items or settings", "the same items, asked in the same way")
        if not decision.holds:
            yield Finding("the gate", f"promoted, though it does not hold: {decision.reason}", "a gate that holds")
        for name, value in (("difference", decision.difference), ("low", decision.low)):
            if not _near(promotion[name], value):
                yield Finding(
                    f"promotion, {name}", str(promotion[name]), str(value), "that is what the predictions give"
                )


def _rows(evaluated: Sealed) -> list[dict[str, Any]]:
    return predictions.decode(evaluated.artifact(predictions.FILE))


def _asked(evaluated: Sealed) -> tuple[Any, ...]:
    part = evaluated.manifest.config.part
    return evaluated.manifest.inputs.datasets["eval"]["sha256"], part["evaluation"], part["template"]


def _near(found: float | None, expected: float | None) -> bool:
    """Another release of a library may differ in the last bits."""
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
