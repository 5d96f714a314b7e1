"""The eval step: one checkpoint answers every item of the split's eval set, and each answer is scored."""

import json
from pathlib import Path
from typing import Any

from stagewise import formatting, generation, modeling, predictions, training
from stagewise.config import resolved
from stagewise.data.traces import Item, parse_items
from stagewise.progress import Bar
from stagewise.scoring import score
from stagewise.steps.common import Made, Session, Spec
from stagewise.steps.train import Target, machine
from stagewise.tracking.datasets import DatasetRef, log_datasets
from stagewise.tracking.models import fetch_checkpoint
from stagewise.tracking.runs import OUT, ActiveRun, Record

TABLE = "eval_table.json"


def specify(session: Session, split: Record, trained: Record) -> Spec:
    part = resolved(session.config)
    target = Target.of(trained)

    def body(run: ActiveRun, work: Path) -> Made:
        return _body(session, split, trained, run, work)

    return Spec(
        kind="eval",
        name=target.run_name("eval"),
        doing=f"{target.checkpoint} answers {split.facts['eval']['rows']:,} items",
        module="steps.evaluate",
        part={
            "evaluation": part["evaluation"],
            "template": part["training"]["template"],
            "checkpoint": target.facts,
        },
        inputs={"eval": split.facts["eval"]["sha256"], "model": trained.manifest["outputs"]["model"]["files"]},
        runs={"split": split, "train": trained},
        machine=machine(session.config),
        tags=target.tags,
        body=body,
    )


def _body(session: Session, split: Record, trained: Record, run: ActiveRun, work: Path) -> Made:
    settings = session.config.evaluation
    accelerator = training.set_up(session.config.compute)
    loaded = modeling.load(fetch_checkpoint(run, trained, work / "parent"))
    loaded.model.to(accelerator.device).eval()
    items = parse_items(split.artifact("eval.jsonl"), "eval", session.config.data.eval.layout).rows
    rows = _answer(session, loaded, trained, items)
    assert len(rows) == len(items), f"{len(items)} items gave {len(rows)} predictions"
    (work / OUT / "predictions.jsonl").write_bytes(predictions.encode(rows))
    _write_table(run, rows, work / OUT / TABLE)
    metrics = predictions.metrics(rows)
    facts = split.facts["eval"]
    dataset = DatasetRef("eval", facts["sha256"], facts["rows"], "eval", facts["name"])
    log_datasets(run.client, run.id, [dataset])  # before the metrics, which are linked to it
    model = trained.manifest["outputs"]["model"]
    run.metrics(metrics, model_id=model["model_id"], dataset_name=dataset.name, dataset_digest=dataset.digest)
    right, count = round(metrics["eval/flexible"] * len(rows)), len(rows)
    said = f"{right} of {count} right ({right / count:.1%}), strict {metrics['eval/strict']:.1%}"
    return Made(
        facts=Target.of(trained).facts
        | {
            "items": count,
            "checkpoint_sha256": model["weights_sha256"],
            "engine": "transformers",
            "batch_size": settings.batch_size,
        },
        metrics=metrics,
        datasets=[dataset],
        summary=[said, f"{metrics['eval/stopped']:.0%} stopped by themselves"],
        description=f"**{said}** by {model['name']} on {facts['name']}.",
    )


def _answer(
    session: Session, loaded: modeling.Loaded, trained: Record, items: tuple[Item, ...]
) -> list[dict[str, Any]]:
    settings, template = session.config.evaluation, session.config.training.template
    prompts = [item.prompt for item in items]
    ids = formatting.prompt_ids(loaded.tokenizer, template, prompts)
    bar = Bar(len(items), "items")
    answers = generation.generate(loaded, ids, settings, bar.advance)
    bar.close()
    strict = formatting.TEMPLATES[template].strict
    target = Target.of(trained)
    checkpoint = {"arm": target.arm, "phase": target.phase, "seed": target.seed}
    checkpoint["checkpoint_sha256"] = trained.manifest["outputs"]["model"]["weights_sha256"]
    rows = []
    for item, tokens, answer in zip(items, ids, answers, strict=True):
        judged = score(
            answer.text,
            item.expected_answer,
            prompt=item.prompt,
            finish_reason=answer.finish_reason,
            extract=settings.extract,
            match=settings.match,
            strict=strict,
        )
        text = formatting.TEMPLATES[template].prompt(loaded.tokenizer, item.prompt)
        rows.append(predictions.row(item, text, len(tokens), answer, judged, settings, checkpoint))
    return rows


def _write_table(run: ActiveRun, rows: list[dict[str, Any]], path: Path) -> None:
    """A table for MLflow's UI, which groups runs by the first column and compares the second."""
    columns = [
        "item",
        "prediction",
        "expected",
        "right",
        "matched",
        "output",
        "finish_reason",
        "category",
        "difficulty",
    ]
    data = [
        [
            f"[{row['doc_id']:03d}] {row['doc'].get('prompt', row['doc'].get('question'))}",
            row["filtered_resps"][0],
            row["target"],
            bool(row["flexible"]),
            row["matched"] or "",
            row["resps"][0][0],
            row["finish_reason"],
            row["category"] or "",
            row["difficulty"] or "",
        ]
        for row in rows
    ]
    path.write_text(json.dumps({"columns": columns, "data": data}, ensure_ascii=False), encoding="utf-8")
    run.mark_table(path.name)
