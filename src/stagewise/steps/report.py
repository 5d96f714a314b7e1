"""The report step: the pipeline's eval runs, compared in Markdown, JSON and figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stagewise import figures, predictions, report
from stagewise.config import Config, resolved
from stagewise.hashing import canonical_json
from stagewise.manifest import Sealed
from stagewise.steps.common import ONE_THREAD, Made, Session, Spec, link
from stagewise.steps.train import CURVE, Target
from stagewise.tracking.runs import OUT, ActiveRun, Record, download, read

FILES = ("report.md", "comparison.json", figures.ACCURACY, figures.LOSS)
STEPS = "steps.json"  # of the pipeline run: {"split": id, "train": [ids], "eval": [ids in the same order]}


def read_steps(session: Session) -> dict[str, Any]:
    """The ids of the steps of the session's pipeline, which may still be at work."""
    steps: dict[str, Any] = json.loads(download(session.client, str(session.parent), STEPS))
    return steps


def specify(session: Session, steps: Mapping[str, Any]) -> Spec:
    trained = [read(session.client, run_id, "train") for run_id in steps["train"]]
    evaluated = [read(session.client, run_id, "eval") for run_id in steps["eval"]]
    runs = {f"eval {Target.of(each).checkpoint}": each for each in evaluated}

    def body(run: ActiveRun, work: Path) -> Made:
        return _body(session, trained, evaluated, work / OUT)

    return Spec(
        kind="report",
        name="report",
        doing=f"comparing {len(evaluated)} checkpoints",
        module="steps.report",
        part=part_of(session.config),
        inputs={name: record.manifest["outputs"]["artifacts"] for name, record in runs.items()}
        | {f"train {record.run_id}": record.manifest["outputs"]["artifacts"] for record in trained},
        runs=runs,
        machine=ONE_THREAD,
        tags={},
        body=body,
    )


def part_of(config: Config) -> dict[str, Any]:
    return {"study": config.study, "primary": resolved(config)["primary"]}


def read_checkpoints(trained: Sequence[Sealed], evaluated: Sequence[Sealed]) -> list[report.Checkpoint]:
    return [_checkpoint(train, answers) for train, answers in zip(trained, evaluated, strict=True)]


def _checkpoint(trained: Sealed, evaluated: Sealed) -> report.Checkpoint:
    target = Target.of(trained)
    model = trained.manifest["outputs"]["model"]
    return report.Checkpoint(
        name=target.checkpoint,
        arm=target.arm,
        phase=target.phase,
        phases=target.phases,
        seed=target.seed,
        eval_run=evaluated.run_id,
        train_run=trained.run_id,
        model_uri=f"models:/{model['model_id']}",
        rows=predictions.decode(evaluated.artifact(predictions.FILE)),
        counted=trained.facts["counted_so_far"],
        multiset=trained.facts["multiset_sha256"],
        separations=trained.facts.get("separations", []),
        curve=[(point["step"], point["loss"]) for point in json.loads(trained.artifact(CURVE))],
    )


def _body(session: Session, trained: list[Record], evaluated: list[Record], out: Path) -> Made:
    checkpoints = read_checkpoints(trained, evaluated)
    study, primary = session.config.study, session.config.primary
    links = {record.run_id: link(record) for record in (*trained, *evaluated)}
    (out / "comparison.json").write_bytes(canonical_json(report.comparison(study, primary, checkpoints)))
    (out / "report.md").write_text(report.markdown(study, primary, checkpoints, links), encoding="utf-8")
    figures.draw(checkpoints, out)
    best = report.best_final(checkpoints)
    return Made(
        facts={"best_final": best.name, "checkpoints": len(checkpoints)},
        summary=[f"best final checkpoint {best.name}"],
        description=f"{report.verdict(primary, checkpoints)}\n\n{report.best_in_words(checkpoints)}",
    )
