"""The eval step: one checkpoint answers every item of the split's eval set, and each answer is scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stagewise import own_code
from stagewise.analysis import scores
from stagewise.config import Config, Evaluation, resolved
from stagewise.curriculum.targets import Target
from stagewise.data.jsonl import json_line
from stagewise.data.traces import Item, parse_items
from stagewise.evaluation import generation, judged, predictions
from stagewise.evaluation.generation import Answer, Decoder, Decoding, Prompt
from stagewise.evaluation.judged import Rubric, rubric_of
from stagewise.evaluation.scoring import score
from stagewise.evaluation.server import Client
from stagewise.model import loading, templates
from stagewise.model.device import machine, set_up
from stagewise.model.special_tokens import spelled
from stagewise.progress import Bar
from stagewise.record.facts import EvalFacts, SplitFacts, Traces, TrainFacts
from stagewise.record.manifest import Model, Sealed
from stagewise.steps.common import Made, Session, Spec
from stagewise.steps.inputs import check_split, dataset
from stagewise.steps.own import collected
from stagewise.tracking import eval_traces
from stagewise.tracking.datasets import DatasetRef, log_datasets
from stagewise.tracking.models import fetch_checkpoint, loaded_files
from stagewise.tracking.records import Record
from stagewise.tracking.runs import OUT, ActiveRun

TABLE = "eval_table.json"
NO_EFFECT = ("concurrency", "timeout", "retries")  # of the server: how it is asked, which changes no answer


def specify(session: Session, split: Record, trained: Record) -> Spec:
    check_split(session.config, split)
    target, own = Target.of(trained), collected(session.config, "eval", session.base)

    def body(run: ActiveRun, work: Path) -> Made:
        return _body(session, split, trained, run, work)

    return Spec(
        kind="eval",
        name=target.run_name("eval"),
        doing=f"{target.checkpoint} answers {split.facts(SplitFacts).eval['rows']:,} items",
        module="steps.evaluate",
        part=part_of(session.config, target),
        inputs=inputs_of(split, trained, session.config.evaluation),
        runs={"split": split, "train": trained},
        machine=machine(session.config),
        tags=target.tags,
        body=body,
        own=own,
    )


def inputs_of(split: Sealed, trained: Sealed, settings: Evaluation) -> dict[str, Any]:
    way = decoding(settings, trained)
    return {"eval": split.facts(SplitFacts).eval["sha256"], "model": loaded_files(trained), "decoding": way}


def part_of(config: Config, target: Target) -> dict[str, Any]:
    """What of the config determines the answers and their record."""
    part = resolved(config)
    evaluation = part["evaluation"]
    if evaluation["server"] is not None:
        server = {key: value for key, value in evaluation["server"].items() if key not in NO_EFFECT}
        evaluation = evaluation | {"server": server}
    asked = {name: part["training"][name] for name in ("template", "special_tokens_in_text")}
    return {"evaluation": evaluation, **asked, "checkpoint": target.facts}


def measured(settings: Evaluation) -> list[str]:
    """What the measures are called."""
    return [own_code.short(name) for name in settings.measures]


def decoding(settings: Evaluation, trained: Sealed) -> Decoding | None:
    """The way in which the checkpoint answers, as the self-check of its base model found it; None if a server does."""
    return None if settings.server is not None else trained.facts(TrainFacts).self_check.decoding


def datasets(facts: SplitFacts) -> list[DatasetRef]:
    """The split's eval set, as an input of the run."""
    items = facts.eval
    return [dataset("eval", items, "eval", items["name"])]


def _body(session: Session, split: Record, trained: Record, run: ActiveRun, work: Path) -> Made:
    settings = session.config.evaluation
    rubric = rubric_of(settings, session.base)  # before the model answers
    layout = session.config.data.eval.layout
    items = parse_items(split.artifact("eval.jsonl"), "eval", layout, session.base).rows
    folder = work / "answers"
    before = generation.kept(folder)
    prompts, answers = _answer(session, trained, fetch_checkpoint(run, trained, work / "parent"), items, folder)
    rows = _rows(session, trained, items, prompts, answers, rubric)
    assert len(rows) == len(items), f"{len(items)} items gave {len(rows)} predictions"
    (work / OUT / predictions.FILE).write_bytes(predictions.encode(rows))
    (work / OUT / TABLE).write_bytes(json_line(predictions.table(rows, measured(settings))))
    run.mark_table(TABLE)
    metrics = predictions.metrics(rows)
    (asked,) = datasets(split.facts(SplitFacts))
    log_datasets(run.client, run.id, [asked])  # before the metrics, which are linked to it
    model = trained.model
    run.metrics(metrics, model_id=model.model_id, dataset_name=asked.name, dataset_digest=asked.digest)
    logged = _log_traces(settings, run, rows, model)
    run.tag(**tags(settings, logged))
    facts = facts_of(settings, trained, rows, before)
    return Made(
        facts=facts,
        datasets=[asked],
        summary=in_words(settings, facts, rows),
        description=describe(settings, facts, rows, model.name, asked.source),
        resumed=before > 0,
    )


def facts_of(settings: Evaluation, trained: Sealed, rows: Sequence[Mapping[str, Any]], resumed_at: int) -> EvalFacts:
    return EvalFacts(
        **Target.of(trained).facts,
        items=len(rows),
        checkpoint_sha256=trained.model.weights_sha256,
        engine=settings.engine,
        decoding=decoding(settings, trained),
        weights=predictions.WEIGHTS[settings.engine],
        batch_size=settings.batch_size,
        resumed_at_answer=resumed_at,
        traces=traced(settings, len(rows)),
    )


def traced(settings: Evaluation, items: int) -> Traces:
    """How many of the items are MLflow traces, and how they were drawn."""
    drawn = eval_traces.sample(items, settings.traces_limit, settings.seed)
    return Traces(logged=len(drawn), of=items, seed=settings.seed)


def tags(settings: Evaluation, logged: Traces) -> dict[str, str]:
    return {"traces": f"{logged.logged} of {logged.of}", "weights": predictions.WEIGHTS[settings.engine]}


def in_words(settings: Evaluation, facts: EvalFacts, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    known, metrics = scores.scored(rows, "flexible"), predictions.metrics(rows)
    said = f"{sum(known)} of {len(known)} right"
    if known:
        said += f" ({sum(known) / len(known):.1%}), strict {metrics.get('eval/strict', 0):.1%}"
    return [said, *_remarks(settings, metrics, facts.resumed_at_answer)]


def describe(settings: Evaluation, facts: EvalFacts, rows: Sequence[Mapping[str, Any]], model: str, source: str) -> str:
    """In Markdown what came out."""
    said, *remarks = in_words(settings, facts, rows)
    return f"**{said}** by {model} on {source}; {', '.join(remarks)}. {_traced(facts.traces)}"


def _log_traces(settings: Evaluation, run: ActiveRun, rows: Sequence[dict[str, Any]], model: Model) -> Traces:
    """Logs items as MLflow traces, as many as the limit allows; returns the counts."""
    drawn = eval_traces.sample(len(rows), settings.traces_limit, settings.seed)
    eval_traces.log(run, [rows[index] for index in drawn], model.name, model.model_id)
    return traced(settings, len(rows))


def _traced(logged: Traces) -> str:
    if logged.logged == logged.of:
        return "Each item is an MLflow trace."
    drawn = f", drawn with seed {logged.seed}, the same for every checkpoint" if logged.logged else ""
    return (
        f"{logged.logged} of {logged.of:,} items are MLflow traces{drawn} (`evaluation.traces_limit`); "
        f"`{predictions.FILE}` has all."
    )


def _remarks(settings: Evaluation, metrics: Mapping[str, float], before: int) -> list[str]:
    remarks = [f"{metrics['eval/eos']:.0%} stopped by themselves"]
    if settings.engine == "openai":
        remarks.append("weights unverified: a server answered")
    if metrics["eval/unscored"]:
        remarks.append(f"{metrics['eval/unscored']:.0f} unscored: a comparison took too long")
    if metrics.get("eval/near_ties"):
        remarks.append(f"{metrics['eval/near_ties']:.0f} near ties")
    return remarks + ([f"resumed at answer {before + 1}"] if before else [])


def _answer(
    session: Session, trained: Record, checkpoint: Path, items: Sequence[Item], folder: Path
) -> tuple[list[Prompt], list[Answer]]:
    """What the model is asked, each item as often as it is sampled, and what it answers. The model is freed on
    return: nothing outside holds it."""
    settings = session.config.evaluation
    engine: generation.Engine
    if settings.server is not None:
        tokenizer = loading.load_tokenizer(checkpoint)
        engine = Client(settings.server, settings, Target.of(trained).checkpoint, tokenizer.bos_token)
    else:
        loaded = loading.load(checkpoint, settings.precision)
        loaded.model.to(set_up(session.config.compute).device).eval()
        engine, tokenizer = Decoder(loaded, settings, trained.facts(TrainFacts).self_check.decoding), loaded.tokenizer
    prompts = prompts_of(tokenizer, session.config, items)
    bar = Bar(len(prompts), "answers")
    answers = generation.generate(engine, prompts, settings.batch_size, folder, bar.advance)
    bar.close()
    return prompts, answers


def prompts_of(tokenizer: Any, config: Config, items: Sequence[Item]) -> list[Prompt]:
    """What the model is asked, each item as often as it is sampled."""
    settings, template = config.evaluation, templates.TEMPLATES[config.training.template]
    asked = [item.prompt for item in items]
    found = spelled(tokenizer, asked, tokenizer(asked, add_special_tokens=False)["input_ids"])
    texts = [template.prompt(tokenizer, prompt) for prompt in asked]
    ids = templates.item_ids(tokenizer, config.training, items)
    return [
        Prompt(item.id, texts[index], ids[index], generation.seed_of(settings.seed, item.id, sample), index in found)
        for index, item in enumerate(items)
        for sample in range(settings.samples_per_item)
    ]


def _rows(
    session: Session,
    trained: Record,
    items: Sequence[Item],
    prompts: Sequence[Prompt],
    answers: Sequence[Answer],
    rubric: Rubric,
) -> list[dict[str, Any]]:
    settings, shared = session.config.evaluation, shared_of(session.config, trained)
    rows = []
    for number, item in enumerate(items):
        start = number * settings.samples_per_item
        given = answers[start : start + settings.samples_per_item]
        rows.append(scored(item, prompts[start], given, settings, shared, rubric))
    return rows


def scored(
    item: Item,
    prompt: Prompt,
    answers: Sequence[Answer],
    settings: Evaluation,
    shared: Mapping[str, Any],
    rubric: Rubric,
) -> dict[str, Any]:
    """The line of predictions.jsonl for an item; `answers` are its samples, `shared` as from `shared_of`."""
    scores = [
        score(
            answer.text,
            item.expected_answer,
            prompt=item.prompt,
            finish_reason=answer.finish_reason,
            extract=rubric.extract,
            match=rubric.match,
            strict=shared["scoring"]["strict"],
        )
        for answer in answers
    ]
    return judged.row(item, prompt, answers, scores, settings, shared, rubric)


def shared_of(config: Config, trained: Sealed) -> dict[str, Any]:
    """What all predictions of a checkpoint say: how they are scored, and who made them."""
    target = Target.of(trained)
    scoring = {
        "extract": list(config.evaluation.extract),
        "match": list(config.evaluation.match),
        "strict": templates.TEMPLATES[config.training.template].strict,
    }
    checkpoint = {"arm": target.arm, "phase": target.phase, "seed": target.seed}
    return {"scoring": scoring, **checkpoint, "checkpoint_sha256": trained.model.weights_sha256}
