"""What the pipeline's own run records of its steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewise.curriculum.targets import Target
from stagewise.record.facts import Registered
from stagewise.record.manifest import Sealed
from stagewise.steps import report as report_step
from stagewise.steps.common import link
from stagewise.tracking.runs import PARENT


def runs_of(split: Sealed, report: Sealed, trained: Sequence[Sealed], evaluated: Sequence[Sealed]) -> dict[str, Sealed]:
    """The study's runs by what a pipeline calls them."""
    runs = {"split": split, "report": report}
    runs |= {f"train {Target.of(each).checkpoint}": each for each in trained}
    return runs | {f"eval {Target.of(each).checkpoint}": each for each in evaluated}


def reused(runs: Mapping[str, Sealed], pipeline_run: str) -> int:
    """How many of a pipeline's runs were made before it, by another or by hand."""
    parents = (each.manifest.recorded.tags.get(PARENT) for each in runs.values())
    return sum(parent != pipeline_run for parent in parents)


def describe(compared: Mapping[str, Any], registered: Mapping[str, Registered], runs: Mapping[str, Sealed]) -> str:
    """In Markdown what came out, the models, and the runs of the study."""
    models = [
        f"- `models:/{entry.name}@{alias}` is version {entry.version}" for alias, entry in sorted(registered.items())
    ]
    lines = [f"- {name}: {link(record)}" for name, record in runs.items()]
    return "\n\n".join([report_step.describe(compared, "report/report.html"), "\n".join(models), "\n".join(lines)])


def finals(compared: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of the study as a whole: the final checkpoints' `flexible`."""
    return {
        f"final/{each['name']}": each["measures"]["flexible"]["mean"]
        for each in compared["checkpoints"]
        if each["final"] and "flexible" in each["measures"]
    }


def alias_of(target: Target) -> str:
    return f"{target.arm}-s{target.seed}"
