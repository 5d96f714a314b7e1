"""The report step: the pipeline's checkpoints compared, as a page, in Markdown, JSON and figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stagewise.config import BASELINE, Config, resolved
from stagewise.curriculum.targets import Target
from stagewise.evaluation import predictions
from stagewise.hashing import canonical_json
from stagewise.record.facts import ReportFacts, SplitFacts, Steps, TrainFacts
from stagewise.record.frozen import Data
from stagewise.record.manifest import Code, Sealed
from stagewise.report import Checkpoint, comparison, figures, markdown, page
from stagewise.steps.common import ONE_THREAD, Made, Session, Spec
from stagewise.steps.inputs import CURVE
from stagewise.tracking.pages import address, run_page
from stagewise.tracking.records import Record, download, read
from stagewise.tracking.runs import OUT, ActiveRun

COMPARISON = "comparison.json"
STEPS = "steps.json"  # of the pipeline run: {"split": id, "train": [ids], "eval": [ids in the same order]}


def read_steps(session: Session) -> Steps:
    """The ids of the steps of the session's pipeline, which may still be at work."""
    return Steps.model_validate_json(download(session.client, str(session.parent), STEPS))


def specify(session: Session, steps: Steps) -> Spec:
    split = read(session.client, steps.split, "split")
    trained = [read(session.client, run_id, "train") for run_id in steps.train]
    evaluated = [read(session.client, run_id, "eval") for run_id in steps.eval]

    def body(run: ActiveRun, work: Path) -> Made:
        return _body(session, split, trained, evaluated, work / OUT)

    return Spec(
        kind="report",
        name="report",
        doing=f"comparing {len(evaluated)} checkpoints",
        module="steps.report",
        part=part_of(session.config),
        inputs=inputs_of([split, *trained, *evaluated]),
        runs={"split": split, **{f"eval {Target.of(each).checkpoint}": each for each in evaluated}},
        machine=ONE_THREAD,
        tags={},
        body=body,
    )


def inputs_of(records: Sequence[Sealed]) -> dict[str, Any]:
    """By their ids, since the report names them."""
    return {f"{each.manifest.kind} {each.run_id}": each.manifest.outputs.artifacts for each in records}


def part_of(config: Config) -> dict[str, Any]:
    part = resolved(config)
    return {name: part[name] for name in ("study", "hypothesis", "primary")} | {"seed": part["evaluation"]["seed"]}


def read_checkpoints(trained: Sequence[Sealed], evaluated: Sequence[Sealed]) -> list[Checkpoint]:
    return [_checkpoint(train, answers) for train, answers in zip(trained, evaluated, strict=True)]


def _checkpoint(trained: Sealed, evaluated: Sealed) -> Checkpoint:
    target = Target.of(trained)
    facts = trained.facts(TrainFacts)
    return Checkpoint(
        name=target.checkpoint,
        arm=target.arm,
        phase=target.phase,
        phases=target.phases,
        seed=target.seed,
        eval_run=evaluated.run_id,
        train_run=trained.run_id,
        model_uri=f"models:/{trained.model.model_id}",
        rows=predictions.decode(evaluated.artifact(predictions.FILE)),
        counted=facts.counted_so_far,
        multiset=facts.multiset_sha256,
        separations=facts.separations,
        against=facts.against or BASELINE,
        shares={name: each.json_value() for name, each in facts.shares.items()},
        curve=[(point["step"], point["loss"]) for point in json.loads(trained.artifact(CURVE))],
    )


def _body(session: Session, split: Record, trained: list[Record], evaluated: list[Record], out: Path) -> Made:
    server, checkpoints = address(session.client.tracking_uri), read_checkpoints(trained, evaluated)
    compared = compare(session.config, checkpoints)
    captions = figures.draw(compared, out)
    drawn = {name: (caption, (out / name).read_bytes()) for name, caption in captions.items()}
    texts = written(session.config, compared, checkpoints, split, trained, evaluated, server, drawn)
    for name, text in texts.items():
        (out / name).write_bytes(text)
    return Made(
        facts=facts_of(len(checkpoints), [*texts, *captions], server),
        summary=[compared["best"].removesuffix(".")],
        description=describe(compared, "report.html"),
    )


def facts_of(checkpoints: int, files: Sequence[str], server: str) -> ReportFacts:
    return ReportFacts(checkpoints=checkpoints, files=list(files), server=server)


def describe(compared: Mapping[str, Any], page: str) -> str:
    """In Markdown what came out; `page` is the artifact that holds the report."""
    return f"{compared['verdict']}\n\n{compared['best']}\n\nThe whole report: artifact `{page}`."


def compare(config: Config, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    return comparison(config.study, config.primary, checkpoints)


def written(
    config: Config,
    compared: Mapping[str, Any],
    checkpoints: Sequence[Checkpoint],
    split: Sealed,
    trained: Sequence[Sealed],
    evaluated: Sequence[Sealed],
    server: str,
    drawn: Mapping[str, tuple[str, bytes]],
) -> dict[str, bytes]:
    """The report's files but for its figures: those are `drawn`, caption and PNG by name."""
    records = (*trained, *evaluated)
    captions = {name: caption for name, (caption, _) in drawn.items()}
    places = page.Places(server, {each.run_id: run_page(each.manifest.experiment_id, each.run_id) for each in records})
    setup = _setup(config, split, trained, evaluated)
    html = page.write(compared, checkpoints, setup, places, drawn, config.evaluation.seed)
    return {
        "report.html": html.encode(),
        "report.md": markdown.write(compared, setup, places, captions).encode(),
        COMPARISON: canonical_json(compared),
    }


def _setup(config: Config, split: Sealed, trained: Sequence[Sealed], evaluated: Sequence[Sealed]) -> dict[str, str]:
    """What the study was, as its runs recorded it."""
    data = split.facts(SplitFacts)
    base, *phases = trained
    stages = (f"{stage.name}: {data.stages[stage.name]['rows']:,} traces" for stage in config.split.stages)
    settings = {
        Target.of(each).arm: each.manifest.config.part["training"]
        for each in phases
        if "training" in each.manifest.config.part
    }
    codes = sorted({_code(record.manifest.code) for record in (split, *trained, *evaluated)})
    environment = trained[-1].manifest.environment
    packages = (f"{name} {environment.packages[name]}" for name in ("torch", "transformers", "mlflow"))
    return {
        "hypothesis": config.hypothesis or "none was written down",
        "seeds": ", ".join(map(str, config.seeds)),
        "training data": _dataset(data.source, "traces"),
        "stages": "; ".join(stages),
        "eval set": _dataset(data.eval, "items"),
        "model": _listed(base.manifest.config.part["model"]),
        "training": "; ".join(sorted({_listed(each) for each in settings.values()})),
        "evaluation": _listed(evaluated[-1].manifest.config.part["evaluation"]),
        "machine": _listed(trained[-1].manifest.machine),
        "environment": ", ".join([f"Python {environment.python}", environment.platform, *packages]),
        "code": "; ".join(codes),
    }


def _dataset(facts: Data, what: str) -> str:
    return f"{facts['name']}: {facts['rows']:,} {what}, sha256 {facts['sha256']}"


def _code(code: Code) -> str:
    where = f"commit {code.commit}{', changed' if code.dirty else ''}" if code.commit else "no commit"
    return f"{where}, package sha256 {code.package_sha256}"


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value not in (None, [], ()))
