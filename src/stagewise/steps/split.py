"""The split step: source → stages and eval set, with counts, criteria in words and a histogram."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stagewise.config import Config, ScratchModel
from stagewise.curriculum import stages as core
from stagewise.curriculum.signals import SIGNALS, CountTokens
from stagewise.data.layouts import LAYOUTS
from stagewise.data.leakage import overlap
from stagewise.data.sources import load_items, load_traces
from stagewise.data.traces import Dataset, Item, Trace
from stagewise.errors import ConfigError, DataError, listed
from stagewise.hashing import sha256
from stagewise.model.special_tokens import counted
from stagewise.record.facts import SplitFacts
from stagewise.record.frozen import Data, Stage
from stagewise.steps.common import ONE_THREAD, Made, Session, Spec
from stagewise.steps.inputs import dataset, split_part
from stagewise.steps.own import collected
from stagewise.tracking.datasets import DatasetRef
from stagewise.tracking.runs import OUT, ActiveRun


def specify(session: Session) -> Spec:
    config = session.config
    own = collected(config, "split", session.base)
    source, items = load_traces(config.data.train, session.base), load_items(config.data.eval, session.base)

    def body(run: ActiveRun, work: Path) -> Made:
        return _body(session, source, items, run, work / OUT)

    return Spec(
        kind="split",
        name="split",
        doing=f"{len(source.rows):,} traces of {source.name} into {len(config.split.stages)} stages",
        module="steps.split",
        part=split_part(config),
        inputs=inputs_of(source.sha256, items.sha256),
        runs={},
        machine=ONE_THREAD,
        tags={},
        body=body,
        own=own,
    )


def check_own(config: Config, folder: Path) -> None:
    """Imports what the split runs of a user's own. Raises `CodeError` for what cannot serve."""
    LAYOUTS.chosen({config.data.train.layout, config.data.eval.layout}, folder)
    if config.split.quantiles:
        SIGNALS.chosen([config.split.quantiles.signal], folder)


def inputs_of(source: str, items: str) -> dict[str, str]:
    """The sha256 of what goes in."""
    return {"train": source, "eval": items}


def _body(session: Session, source: Dataset[Trace], items: Dataset[Item], run: ActiveRun, folder: Path) -> Made:
    config = session.config
    found = overlap(source.rows, items.rows)
    if found and config.data.leakage == "error":
        raise DataError(_leakage(source, items, found))
    counter = token_counter(config, session.base, session.caches)
    stages = core.assign(source, config.split, config.data.duplicates == "drop", counter, session.base)
    stats = core.stats(source, items, stages, found)
    _write(folder, config, source, items, stages, stats)
    facts = facts_of(source, items, stages)
    run.metrics(metrics(facts))
    return Made(
        facts=facts,
        datasets=datasets(facts),
        summary=in_words(facts, list(stages.traces)),
        description=description(facts, list(stages.traces), core.criteria(config.split, stages)),
    )


def facts_of(source: Dataset[Trace], items: Dataset[Item], stages: core.Stages) -> SplitFacts:
    files = {name: (stages.file(name), len(traces)) for name, traces in stages.traces.items()}
    told: dict[str, Stage] = {
        name: {"sha256": sha256(file), "size": len(file), "rows": rows} for name, (file, rows) in files.items()
    }
    return SplitFacts(source=_told(source), eval=_told(items), stages=told)


def in_words(facts: SplitFacts, stages: Sequence[str]) -> list[str]:
    return [f"{name} {facts.stages[name]['rows']:,}" for name in stages] + [f"eval {facts.eval['rows']:,}"]


def description(facts: SplitFacts, stages: Sequence[str], criteria: str) -> str:
    return f"**Split** into {', '.join(in_words(facts, stages))}.\n\n{criteria}"


def _told(dataset: Dataset[Any]) -> Data:
    return {"name": dataset.name, "sha256": dataset.sha256, "size": dataset.size, "rows": len(dataset.rows)}


def metrics(facts: SplitFacts) -> dict[str, float]:
    sizes: dict[str, float] = {f"split/{name}": entry["rows"] for name, entry in facts.stages.items()}
    return sizes | {"split/eval": facts.eval["rows"]}


def datasets(facts: SplitFacts) -> list[DatasetRef]:
    """The source, each stage and the eval set, as inputs of the run."""
    source, items = facts.source, facts.eval
    return [
        dataset(f"source {source['name']}"[:100], source, "source", source["name"]),
        *(dataset(name, entry, "training", f"stages/{name}.jsonl") for name, entry in facts.stages.items()),
        dataset("eval", items, "eval", items["name"]),
    ]


def _leakage(source: Dataset[Trace], items: Dataset[Item], found: list[Any]) -> str:
    findings = [f"line {row + 1} asks what item {item} of {items.name} asks ({how})" for row, item, how in found]
    remedy = "take it out of one, or set data.leakage to allow"
    if len(findings) == 1:
        return f"{source.name}: {findings[0]}; {remedy}"
    return f"{source.name}: {len(found)} training prompts stand in the eval set; {remedy}\n{listed(findings)}"


def token_counter(config: Config, base: Path, caches: Path) -> CountTokens:
    """Counts tokens with the study's tokenizer; it is loaded only when the signal is tokens."""

    def count(texts: Any) -> list[int]:
        if isinstance(config.model, ScratchModel):
            signal = config.split.quantiles.signal if config.split.quantiles else "tokens"
            raise ConfigError(
                f"split.quantiles.signal: found {signal} with a model from scratch, whose tokenizer is made from the "
                "stages; use characters or steps"
            )
        from stagewise.model import loading  # torch takes seconds to load, and no other signal needs it

        tokenizer = loading.create(config.model, 0, [], base, caches).tokenizer
        return counted(tokenizer, texts)

    return count


def _write(
    folder: Path,
    config: Config,
    source: Dataset[Trace],
    items: Dataset[Item],
    stages: core.Stages,
    stats: dict[str, Any],
) -> None:
    (folder / "stages").mkdir()
    for name in stages.traces:
        (folder / "stages" / f"{name}.jsonl").write_bytes(stages.file(name))
    (folder / "eval.jsonl").write_bytes(items.rebuilt())
    for name, value in (("rows.json", core.rows(source, stages)), ("split_stats.json", stats)):
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "split_criteria.md").write_text(core.criteria(config.split, stages), encoding="utf-8")
    histogram(stages, folder / "histogram.png")


def histogram(stages: core.Stages, path: Path) -> None:
    """Traces by number of steps, stacked by stage."""
    from matplotlib.figure import Figure  # a second of import that only this needs

    steps = {name: [len(trace.steps) for trace in traces] for name, traces in stages.traces.items()}
    highest = max(max(counts) for counts in steps.values())
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    bottom = [0] * (highest + 1)
    for name, counts in steps.items():
        heights = [counts.count(value) for value in range(highest + 1)]
        axes.bar(range(highest + 1), heights, bottom=bottom, label=f"stage {name} ({len(counts):,})")
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    axes.set(xlabel="steps in the trace", ylabel="traces", title="Traces by number of steps")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})
