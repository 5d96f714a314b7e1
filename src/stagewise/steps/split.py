"""The split step: source → stages and eval set, with counts, criteria in words and a histogram."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from stagewise import progress
from stagewise.config import Config, ScratchModel
from stagewise.curriculum import stage_files
from stagewise.curriculum import stages as core
from stagewise.curriculum.signals import SIGNALS, CountTokens
from stagewise.data.layouts import LAYOUTS
from stagewise.data.sources import Opened, load_items, open_traces
from stagewise.data.traces import Dataset, Extent, Item
from stagewise.errors import ConfigError, DataError, listed
from stagewise.model.special_tokens import counted
from stagewise.record.facts import SplitFacts
from stagewise.record.frozen import Data
from stagewise.steps.common import ONE_THREAD, Made, Session, Spec
from stagewise.steps.inputs import dataset, split_part
from stagewise.steps.own import collected
from stagewise.tracking.datasets import DatasetRef
from stagewise.tracking.runs import OUT, ActiveRun

MB = 1_000_000


def specify(session: Session) -> Spec:
    config = session.config
    own = collected(config, "split", session.base)
    items = load_items(config.data.eval, session.base)
    opened = open_traces(config.data.train, session.base)
    with _bar(opened.size, "read") as advance:
        source = read(config, opened, items, token_counter(config, session.base, session.caches), advance)

    def body(run: ActiveRun, work: Path) -> Made:
        return _body(config, source, items, run, work / OUT)

    return Spec(
        kind="split",
        name="split",
        doing=f"{source.extent.count:,} traces of {opened.name} into {len(config.split.stages)} stages",
        module="steps.split",
        part=split_part(config),
        inputs=inputs_of(source.extent.sha256, items.sha256),
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


class Source(NamedTuple):
    """The traces after a first reading."""

    opened: Opened
    extent: Extent
    columns: core.Columns


class Divided(NamedTuple):
    """What a second pass wrote, and what is said of it."""

    facts: SplitFacts
    criteria: str


def read(
    config: Config,
    opened: Opened,
    items: Dataset[Item],
    count_tokens: CountTokens,
    advance: Callable[[int], None] = lambda size: None,
) -> Source:
    """Everything that is asked of each trace, in one pass; `advance` is told how many bytes it took."""
    traces = opened.traces()
    columns = core.columns(traces, items.rows, config.split, count_tokens, opened.base, advance)
    return Source(opened, traces.extent, columns)


def _body(config: Config, source: Source, items: Dataset[Item], run: ActiveRun, folder: Path) -> Made:
    if source.columns.overlap and config.data.leakage == "error":
        raise DataError(_leakage(source, items))
    with _bar(source.extent.size, "written") as advance:
        facts, criteria = divide(config, source, items, folder, advance)
    run.metrics(metrics(facts))
    return Made(
        facts=facts,
        datasets=datasets(facts),
        summary=in_words(facts, list(facts.stages)),
        description=description(facts, list(facts.stages), criteria),
    )


def divide(
    config: Config,
    source: Source,
    items: Dataset[Item],
    folder: Path,
    advance: Callable[[int], None] = lambda size: None,
) -> Divided:
    """Fills the folder with all that the step makes."""
    opened, extent, columns = source
    stages = core.assign(columns, config.split, config.data.duplicates == "drop", opened.name, opened.traces)
    told = stage_files.write(opened.file, extent, columns, stages, folder, advance)
    (folder / "eval.jsonl").write_bytes(items.rebuilt())
    stats = core.stats(extent, items, columns, stages, {name: stage["sha256"] for name, stage in told.items()})
    text = json.dumps(stats, indent=1, ensure_ascii=False) + "\n"
    (folder / "split_stats.json").write_text(text, encoding="utf-8")
    criteria = core.criteria(config.split, stages)
    (folder / "split_criteria.md").write_text(criteria, encoding="utf-8")
    histogram(stats["stages"], folder / "histogram.png")
    return Divided(SplitFacts(source=_told(extent), eval=_told(items), stages=told), criteria)


@contextmanager
def _bar(size: int, done: str) -> Iterator[Callable[[int], None]]:
    """How far a pass over so many bytes is; nothing of one that is over in a second or two."""
    if size < 50 * MB:
        yield lambda size: None
        return
    bar, seen = progress.Bar(size // MB, f"MB {done}"), 0

    def advance(count: int) -> None:
        nonlocal seen
        seen += count
        bar.advance(seen // MB - bar.count)

    try:
        yield advance
    finally:
        bar.close()


def in_words(facts: SplitFacts, stages: Sequence[str]) -> list[str]:
    return [f"{name} {facts.stages[name]['rows']:,}" for name in stages] + [f"eval {facts.eval['rows']:,}"]


def description(facts: SplitFacts, stages: Sequence[str], criteria: str) -> str:
    return f"**Split** into {', '.join(in_words(facts, stages))}.\n\n{criteria}"


def _told(extent: Extent) -> Data:
    return {"name": extent.name, "sha256": extent.sha256, "size": extent.size, "rows": extent.count}


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


def _leakage(source: Source, items: Dataset[Item]) -> str:
    name, found = source.opened.name, source.columns.overlap
    findings = [f"line {row + 1} asks what item {item} of {items.name} asks ({how})" for row, item, how in found]
    remedy = "take it out of one, or set data.leakage to allow"
    if len(findings) == 1:
        return f"{name}: {findings[0]}; {remedy}"
    return f"{name}: {len(found)} training prompts stand in the eval set; {remedy}\n{listed(findings)}"


def token_counter(config: Config, base: Path, caches: Path) -> CountTokens:
    """Counts tokens with the study's tokenizer; it is loaded only when the signal is tokens."""

    @cache
    def tokenizer() -> Any:
        if isinstance(config.model, ScratchModel):
            signal = config.split.quantiles.signal if config.split.quantiles else "tokens"
            raise ConfigError(
                f"split.quantiles.signal: found {signal} with a model from scratch, whose tokenizer is made from the "
                "stages; use characters or steps"
            )
        from stagewise.model import loading  # torch takes seconds to load, and no other signal needs it

        return loading.create(config.model, 0, [], base, caches).tokenizer

    return lambda texts: counted(tokenizer(), texts)


def histogram(stages: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Traces by number of steps, stacked by stage; what is said of the stages has these counts."""
    from matplotlib.figure import Figure  # a second of import that only this needs

    highest = max(int(number) for stage in stages.values() for number in stage["steps"])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    bottom = [0] * (highest + 1)
    for name, stage in stages.items():
        heights = [stage["steps"].get(str(number), 0) for number in range(highest + 1)]
        axes.bar(range(highest + 1), heights, bottom=bottom, label=f"stage {name} ({stage['traces']:,})")
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    axes.set(xlabel="steps in the trace", ylabel="traces", title="Traces by number of steps")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})
