"""What a change of a module runs again: its steps' fingerprints reach what decides their results, and no more."""

import shutil
from pathlib import Path

import pytest

from stagewise.record import code

STEPS = {"split": "steps.split", "train": "steps.train", "eval": "steps.evaluate", "report": "steps.report"}
ALL = "split train eval report"
# The line that fits a module closest counts.
REACH = {
    "": "",
    "__init__": ALL,
    "analysis.paired": "eval report",
    "analysis.scores": "eval report",
    "analysis.statistics": "eval report",
    "atomic": "split train eval",
    "config": ALL,
    "credentials": ALL,
    "curriculum.confounds": "train report",
    "curriculum.order": "train report",
    "curriculum.signals": "split",
    "curriculum.stages": "split",
    "curriculum.targets": "train eval report",
    "data.generate": "split",
    "data.jsonl": ALL,
    "data.layouts": "split train eval",
    "data.leakage": "split",
    "data.rows": "split train eval",
    "data.sources": "split",
    "data.traces": "split train eval",
    "errors": ALL,
    "evaluation.generation": "train eval",
    "evaluation.judged": "eval",
    "evaluation.predictions": "eval report",
    "evaluation.scoring": "eval",
    "evaluation.server": "eval",
    "evaluation.structure": "eval",
    "evaluation.structure.kinds": "eval report",
    "hashing": ALL,
    "model.device": "train eval",
    "model.loading": "split train eval",
    "model.special_tokens": "split train eval",
    "model.templates": "train eval",
    "own_code": ALL,
    "record.code": ALL,
    "record.commits": ALL,
    "record.facts": ALL,
    "record.frozen": ALL,
    "record.git_objects": ALL,
    "record.manifest": ALL,
    "record.schemas": ALL,
    "registry": ALL,
    "report": "report",
    "self_check": "train",
    "steps.common": ALL,
    "steps.determinants": "train",
    "steps.evaluate": "eval",
    "steps.examples": "train",
    "steps.inputs": ALL,
    "steps.own": ALL,
    "steps.phase": "train",
    "steps.report": "report",
    "steps.split": "split",
    "steps.train": "train",
    "tracking.__init__": ALL,
    "tracking.completion": ALL,
    "tracking.datasets": ALL,
    "tracking.eval_traces": "eval",
    "tracking.models": ALL,
    "tracking.package": ALL,
    "tracking.pages": "report",
    "tracking.records": ALL,
    "tracking.runs": ALL,
    "tracking.stored": ALL,
    "training": "train",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("reach") / "stagewise"
    shutil.copytree(code.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def digests(package: Path) -> dict[str, str]:
    return {step: code.code_digest.__wrapped__(module, package) for step, module in STEPS.items()}


def closest(module: str) -> str:
    parts = module.split(".")
    return next(REACH[name] for end in range(len(parts), -1, -1) if (name := ".".join(parts[:end])) in REACH)


def test_a_comment_in_a_module_reaches_the_steps_that_it_can_change(package: Path) -> None:
    before, wrong = digests(package), {}
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        text = path.read_text()
        if path.name == "__init__.py" and text.startswith('"""') and text.count("\n") == 1:
            continue  # it only says what the folder is for
        path.write_text(f"{text}# changed\n")
        after = digests(package)
        path.write_text(text)
        found = " ".join(step for step in STEPS if after[step] != before[step])
        if found != closest(module):
            wrong[module] = f"reaches {found or 'none'}, expected {closest(module) or 'none'}"
    assert wrong == {}


def test_a_template_of_the_page_reaches_the_report_alone(package: Path) -> None:
    before = digests(package)
    with open(package / "report" / "templates" / "report.css", "a") as file:
        file.write("p { color: red }\n")
    after = digests(package)
    assert [step for step in STEPS if after[step] != before[step]] == ["report"]
