"""Every score and measure, from the outputs; every metric, from the scores."""

from collections.abc import Iterator, Mapping
from typing import Any

from stagewise.commands.derivation.checkpoint import tokenizer_of
from stagewise.commands.derivation.expected import Expected, config_of, hold, same, short
from stagewise.commands.derivation.own import folder_of
from stagewise.config import Config, Evaluation
from stagewise.curriculum.targets import Target
from stagewise.data.traces import parse_items
from stagewise.evaluation import predictions
from stagewise.evaluation.generation import Answer, Prompt
from stagewise.evaluation.judged import Rubric, rubric_of
from stagewise.record.facts import EvalFacts, SplitFacts
from stagewise.record.manifest import Sealed
from stagewise.steps import evaluate as step
from stagewise.tracking.runs import table_tag
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding


def derive(sealed: Sealed, chain: Chain, memo: dict[Any, Any]) -> Iterator[Finding]:
    config = config_of(sealed)
    made_of, trained = chain.made_from(sealed, "split"), chain.made_from(sealed, "train")
    target, settings, folder = Target.of(trained), config.evaluation, folder_of(sealed, memo)
    rows = predictions.decode(sealed.artifact(predictions.FILE))
    items = parse_items(made_of.artifact("eval.jsonl"), "eval", config.data.eval.layout, folder).rows
    yield from same(f"artifact {predictions.FILE}, rows", len(rows), len(items))
    # First how often each was answered: whoever wrote the record also chose how often it says.
    counts = [*same(f"artifact {predictions.FILE}, samples", *_samples(rows, settings))]
    if counts:
        yield from counts
        return
    prompts = step.prompts_of(tokenizer_of(chain, trained), config, items)[:: settings.samples_per_item]
    rubric = rubric_of(settings, folder)
    rebuilt = [
        _rescored(config, trained, item, prompt, row, rubric)
        for item, prompt, row in zip(items, prompts, rows, strict=True)
    ]
    for row, again in zip(rows, rebuilt, strict=True):
        yield from _row(row, again)
        yield from _bounds(row, settings)
    # What a comparison that took too long leaves open is taken as recorded: it is unchecked, and breaks nothing else.
    rebuilt = [again | _open(row, again) for row, again in zip(rows, rebuilt, strict=True)]
    yield from same(
        f"artifact {step.TABLE}", sealed.json(step.TABLE), predictions.table(rebuilt, step.measured(settings))
    )
    metrics, (asked,) = predictions.metrics(rebuilt), step.datasets(made_of.facts(SplitFacts))
    resumed_at = sealed.facts(EvalFacts).resumed_at_answer
    facts = step.facts_of(settings, trained, rebuilt, resumed_at)
    expected = Expected(
        description=step.describe(settings, facts, rebuilt, trained.model.name, asked.source),
        facts=facts,
        part=step.part_of(config, target),
        artifacts=[predictions.FILE, step.TABLE],
        inputs=step.inputs_of(made_of, trained, settings),
        runs={"split": "split", "train": "train"},
        parameters={"config": None, "split_run": made_of.run_id, "train_run": trained.run_id},
        tags={**target.tags, **step.tags(settings, facts.traces)},
        more_tags=table_tag(step.TABLE),
        resumed=resumed_at > 0,
        metrics=metrics,
        datasets=[asked],
    )
    yield from hold(sealed, chain, expected)


def _rescored(
    config: Config, trained: Sealed, item: Any, prompt: Prompt, row: Mapping[str, Any], rubric: Rubric
) -> dict[str, Any]:
    """The row that its own outputs give. What only the model could tell again is taken from it: how it ended, and
    how many tokens it took."""
    settings = config.evaluation
    texts, samples = row["resps"][0], row.get("samples", [row])
    answers = [
        Answer(text, sample["output_tokens"], sample["finish_reason"], row["near_ties"])
        for text, sample in zip(texts, samples, strict=True)
    ]
    return step.scored(item, prompt, answers, settings, step.shared_of(config, trained), rubric)


def _row(row: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[Finding]:
    for key in sorted({*row, *again}):
        if row.get(key) != again.get(key):
            found, expected = (short(each.get(key)) for each in (row, again))
            where = f"artifact {predictions.FILE}, item {again['item']}, {key}"
            checked = key not in _open(row, again)
            yield Finding(where, found, expected, "that is what its output gives", checked=checked)


def _open(row: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says that is not known because a comparison took too long, when it was made or now: the next time it
    may not, so that the two may differ says nothing of the record."""
    verdicts = [each for made in (row, again) for each in (made, *made.get("samples", ()))]
    known = [each[name] for each in verdicts for name in predictions.SCORES]
    known += [made["majority"]["flexible"] for made in (row, again) if "majority" in made]
    return {name: row[name] for name in predictions.JUDGED if name in row} if None in known else {}


def _samples(rows: list[dict[str, Any]], settings: Evaluation) -> tuple[list[int], list[int]]:
    """Of each row, and as the config asks for."""
    return [len(row["resps"][0]) for row in rows], [settings.samples_per_item] * len(rows)


def _bounds(row: Mapping[str, Any], settings: Evaluation) -> Iterator[Finding]:
    """What only the model could tell again cannot be anything: an answer that was cut is as long as it may be."""
    where, limit = f"artifact {predictions.FILE}, item {row['item']}", settings.max_new_tokens
    if settings.engine != "transformers":
        return  # a server counts by itself
    for sample in row.get("samples", [row]):
        tokens, reason = sample["output_tokens"], sample["finish_reason"]
        if not 1 <= tokens <= limit or (reason == "length" and tokens < limit):
            found = f"{tokens} tokens, ended by {reason}"
            yield Finding(f"{where}, output_tokens", found, f"at most {limit}, and {limit} where that ended it")
