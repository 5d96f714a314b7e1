"""The report step: the pipeline's checkpoints compared, as a page, in Markdown, JSON and figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stagewise import predictions
from stagewise.config import resolved
from stagewise.hashing import canonical_json
from stagewise.report import Checkpoint, comparison, figures, markdown, page
from stagewise.steps.common import ONE_THREAD, Made, Session, Spec, link
from stagewise.steps.train import CURVE, Target
from stagewise.tracking.runs import OUT, ActiveRun, Record, download, read
from stagewise.tracking.views import address, run_page

COMPARISON = "comparison.json"
STEPS = "steps.json"  # of the pipeline run: {"split": id, "train": [ids], "eval": [ids in the same order]}


def read_steps(session: Session) -> dict[str, Any]:
    """The ids of the steps of the session's pipeline, which may still be at work."""
    steps: dict[str, Any] = json.loads(download(session.client, str(session.parent), STEPS))
    return steps


def specify(session: Session, steps: Mapping[str, Any]) -> Spec:
    split = read(session.client, steps["split"], "split")
    trained = [read(session.client, run_id, "train") for run_id in steps["train"]]
    evaluated = [read(session.client, run_id, "eval") for run_id in steps["eval"]]
    part = resolved(session.config)

    def body(run: ActiveRun, work: Path) -> Made:
        return _body(session, split, trained, evaluated, work / OUT)

    return Spec(
        kind="report",
        name="report",
        doing=f"comparing {len(evaluated)} checkpoints",
        module="steps.report",
        part={name: part[name] for name in ("study", "hypothesis", "primary")} | {"seed": part["evaluation"]["seed"]},
        # By their ids, since the report names them.
        inputs={
            f"{record.manifest['kind']} {record.run_id}": record.manifest["outputs"]["artifacts"]
            for record in (split, *trained, *evaluated)
        },
        runs={f"eval {Target.of(each).checkpoint}": each for each in evaluated},
        machine=ONE_THREAD,
        tags={},
        body=body,
    )


def read_checkpoints(trained: list[Record], evaluated: list[Record]) -> list[Checkpoint]:
    return [_checkpoint(train, answers) for train, answers in zip(trained, evaluated, strict=True)]


def _checkpoint(trained: Record, evaluated: Record) -> Checkpoint:
    target = Target.of(trained)
    model = trained.manifest["outputs"]["model"]
    return Checkpoint(
        name=target.checkpoint,
        arm=target.arm,
        phase=target.phase,
        phases=target.phases,
        seed=target.seed,
        eval_run=evaluated.run_id,
        train_run=trained.run_id,
        model_uri=f"models:/{model['model_id']}",
        rows=predictions.decode(evaluated.artifact("predictions.jsonl")),
        counted=trained.facts["counted_so_far"],
        multiset=trained.facts["multiset_sha256"],
        separations=trained.facts.get("separations", []),
        curve=[(point["step"], point["loss"]) for point in json.loads(trained.artifact(CURVE))],
    )


def _body(session: Session, split: Record, trained: list[Record], evaluated: list[Record], out: Path) -> Made:
    checkpoints, config = read_checkpoints(trained, evaluated), session.config
    compared = comparison(config.study, config.primary, checkpoints)
    (out / COMPARISON).write_bytes(canonical_json(compared))
    captions = figures.draw(compared, out)
    links = {record.run_id: link(record) for record in (*trained, *evaluated)}
    (out / "report.md").write_text(markdown.write(compared, links, captions), encoding="utf-8")
    paths = {record.run_id: run_page(record.experiment_id, record.run_id) for record in (*trained, *evaluated)}
    html = page.write(
        compared,
        checkpoints,
        _setup(session, split, trained, evaluated),
        page.Places(address(session.client.tracking_uri), paths),
        {name: (caption, (out / name).read_bytes()) for name, caption in captions.items()},
        config.evaluation.seed,
    )
    (out / "report.html").write_text(html, encoding="utf-8")
    return Made(
        facts={"checkpoints": len(checkpoints), "files": ["report.html", "report.md", COMPARISON, *captions]},
        summary=[compared["best"]],
        description=f"{compared['verdict']}\n\n{compared['best']}\n\nThe whole report: artifact `report.html`.",
    )


def _setup(session: Session, split: Record, trained: Sequence[Record], evaluated: Sequence[Record]) -> dict[str, str]:
    """What the study was, as its runs recorded it."""
    config, data = session.config, split.facts
    base, *phases = trained
    stages = (f"{stage.name}: {data['stages'][stage.name]['rows']:,} traces" for stage in config.split.stages)
    settings = {
        Target.of(each).arm: each.manifest["config"]["part"]["training"]
        for each in phases
        if "training" in each.manifest["config"]["part"]
    }
    codes = sorted({_code(record.manifest["code"]) for record in (split, *trained, *evaluated)})
    environment = trained[-1].manifest["environment"]
    packages = (f"{name} {environment['packages'][name]}" for name in ("torch", "transformers", "mlflow"))
    return {
        "hypothesis": config.hypothesis or "none was written down",
        "seeds": ", ".join(map(str, config.seeds)),
        "training data": _dataset(data["source"], "traces"),
        "stages": "; ".join(stages),
        "eval set": _dataset(data["eval"], "items"),
        "model": _listed(base.manifest["config"]["part"]["model"]),
        "training": "; ".join(sorted({_listed(each) for each in settings.values()})),
        "evaluation": _listed(evaluated[-1].manifest["config"]["part"]["evaluation"]),
        "machine": _listed(trained[-1].manifest["machine"]),
        "environment": ", ".join([f"Python {environment['python']}", environment["platform"], *packages]),
        "code": "; ".join(codes),
    }


def _dataset(facts: Mapping[str, Any], what: str) -> str:
    return f"{facts['name']}: {facts['rows']:,} {what}, sha256 {facts['sha256']}"


def _code(code: Mapping[str, Any]) -> str:
    where = f"commit {code['commit']}{', changed' if code['dirty'] else ''}" if code["commit"] else "no commit"
    return f"{where}, package sha256 {code['package_sha256']}"


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value not in (None, [], ()))
