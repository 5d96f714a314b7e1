"""The stages and the eval set, from the source that they give back, by the config's rules."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stagewise.commands.derivation.expected import Expected, config_of, hold, same
from stagewise.commands.derivation.own import folder_of
from stagewise.config import GenerateSource
from stagewise.curriculum import stages as core
from stagewise.curriculum.signals import CountTokens
from stagewise.data.leakage import overlap
from stagewise.data.sources import load_items, load_traces, name_of
from stagewise.data.traces import parse_items, parse_traces
from stagewise.hashing import sha256
from stagewise.model.special_tokens import counted
from stagewise.record import schemas
from stagewise.record.facts import SplitFacts, TrainFacts
from stagewise.record.manifest import Sealed
from stagewise.steps import split as step
from stagewise.steps.common import ONE_THREAD
from stagewise.steps.inputs import split_part
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding
from stagewise.verification.walk import Underivable


def derive(sealed: Sealed, chain: Chain, memo: dict[Any, Any]) -> Iterator[Finding]:
    config, folder = config_of(sealed), folder_of(sealed, memo)
    rows = sealed.json("rows.json")
    schemas.check(rows, "rows", "rows.json")
    files = {stage.name: sealed.artifact(f"stages/{stage.name}.jsonl") for stage in config.split.stages}
    data = core.rebuilt(rows, files)
    source = parse_traces(data, name_of(config.data.train), config.data.train.layout, folder)
    items = parse_items(sealed.artifact("eval.jsonl"), name_of(config.data.eval), config.data.eval.layout, folder)
    for what, dataset, asked, load in (
        ("source", source, config.data.train, load_traces),
        ("eval set", items, config.data.eval, load_items),
    ):
        # As many as there are: whoever wrote the record also chose how many to make.
        if isinstance(asked, GenerateSource) and asked.generate.count == len(dataset.rows):
            again = load(asked, Path()).sha256
            yield from same(f"the {what}, generated again", dataset.sha256, again)
    stages = core.assign(source, config.split, config.data.duplicates == "drop", _token_counter(chain), folder)
    criteria = core.criteria(config.split, stages)
    follows = step.facts_of(source, items, stages)
    yield from same("source, rebuilt from the stages", sha256(data), sealed.facts(SplitFacts).source["sha256"])
    for name in stages.traces:
        yield from same(f"artifact stages/{name}.jsonl", sha256(files[name]), sha256(stages.file(name)))
    yield from same("artifact rows.json", rows, core.rows(source, stages))
    stats = core.stats(source, items, stages, overlap(source.rows, items.rows))
    yield from same("artifact split_stats.json", sealed.json("split_stats.json"), stats)
    yield from same(
        "artifact split_criteria.md", sealed.artifact("split_criteria.md").decode(errors="replace"), criteria
    )
    yield from same("manifest.json, machine", sealed.manifest.machine, ONE_THREAD)
    expected = Expected(
        description=step.description(follows, list(stages.traces), criteria),
        facts=follows,
        part=split_part(config),
        artifacts=[
            *(f"stages/{name}.jsonl" for name in stages.traces),
            *("eval.jsonl", "rows.json", "split_stats.json", "split_criteria.md", "histogram.png"),
        ],
        inputs=step.inputs_of(source.sha256, items.sha256),
        parameters={"config": None},
        metrics=step.metrics(follows),
        datasets=step.datasets(follows),
    )
    yield from hold(sealed, chain, expected)


def _token_counter(chain: Chain) -> CountTokens:
    """With the tokenizer of the study's base checkpoint, where the record that is walked holds it."""

    def count(texts: Sequence[str]) -> list[int]:
        base = next((each for each in chain.of_kind("train") if each.facts(TrainFacts).phase == 0), None)
        if base is None:
            raise Underivable(
                "the stages, which follow from counts of tokens; the tokenizer is in the base checkpoint: verify a run "
                "that was made from it"
            )
        from stagewise.commands.derivation.checkpoint import tokenizer_of  # as in `token_counter`

        return counted(tokenizer_of(chain, base), texts)

    return count
