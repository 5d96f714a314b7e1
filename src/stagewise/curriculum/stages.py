"""Traces → stages, by rules that the config declares or by quantiles of a difficulty signal.

    {"category": ["reasoning"], "steps": {"max": 3}}    a rule: every condition that it states holds

The traces are read once, and of each only a few numbers are kept (`Columns`), by which it is assigned to a stage.
So memory hardly grows with the source; `stage_files` writes the stages in a second pass over its bytes.
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stagewise.config import Range, Rule, Split
from stagewise.curriculum.signals import SIGNALS, CountTokens, unit
from stagewise.data.leakage import Asked, Overlap, Repeats, in_order
from stagewise.data.traces import Dataset, Extent, Item, Trace
from stagewise.errors import DataError, listed

BATCH = 100  # traces looked at together; of more, so much stays alive that collecting garbage takes a third longer
SHOWN = 20  # findings, of however many
DROPPED, NO_STAGE = -1, -2  # in the place of a stage

Kind = tuple[str | None, int]
"""A trace's category and number of steps: what rules ask for."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is kept of each trace: 12 bytes, and 8 where a signal is measured."""

    kinds: Sequence[Kind]
    """Each that occurs."""
    kind: NDArray[np.uint32]
    """Of each row, as its place in `kinds`."""
    values: NDArray[np.float64]
    """Of the signal, by row; empty where rules decide."""
    crlf: NDArray[np.int64]
    """The rows that end in CRLF."""
    repeats: NDArray[np.int64]
    """The rows that repeat an earlier one in prompt, steps and answer."""
    overlap: Sequence[Overlap]
    """With the eval set."""


@dataclass(frozen=True, slots=True)
class Stages:
    names: Sequence[str]
    of: NDArray[np.int16]
    """Each row's stage, as its place in `names`; DROPPED where the config drops a repeat."""
    thresholds: Sequence[float]
    """Values of the signal between the stages; empty where rules decide."""

    def rows(self, name: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.of == self.names.index(name))

    @property
    def dropped(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.of == DROPPED)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(self.rows(name)) for name in self.names}


def columns(
    traces: Iterable[Trace],
    items: Sequence[Item],
    split: Split,
    count_tokens: CountTokens,
    folder: Path | None = None,
    advance: Callable[[int], None] = lambda size: None,
) -> Columns:
    """One pass over the traces; `advance` is told how many bytes of them have been read.

    A signal of a user's own is imported from `folder` first.
    """
    name = split.quantiles and split.quantiles.signal
    signal = SIGNALS.chosen([name], folder)[name] if name else None
    asked, found = Asked(items), list[tuple[int, Overlap]]()
    kinds: dict[Kind, int] = {}
    kind, values, crlf = array("I"), array("d"), array("q")
    with TemporaryFile() as file:
        repeats = Repeats(file)
        for batch in _batches(traces):
            kind.extend([kinds.setdefault((trace.category, len(trace.steps)), len(kinds)) for trace in batch])
            crlf.extend([trace.row for trace in batch if trace.ending == b"\r\n"])
            repeats.add(batch)
            found += asked.overlap(batch)
            if signal is not None:
                values.extend(signal(batch, count_tokens))
            advance(sum(len(trace.line) + len(trace.ending) for trace in batch))
        repeated = repeats.rows()
    return Columns(
        list(kinds),
        np.frombuffer(kind, np.uint32),
        np.frombuffer(values, np.float64),
        np.frombuffer(crlf, np.int64),
        repeated,
        in_order(found),
    )


def _batches(traces: Iterable[Trace]) -> Iterator[list[Trace]]:
    left = iter(traces)
    while batch := list(islice(left, BATCH)):
        yield batch


def assign(
    columns: Columns, split: Split, drop_duplicates: bool, name: str, again: Callable[[], Iterable[Trace]]
) -> Stages:
    """The traces of the source `name`, which `again` reads once more where some have to be shown.

    Raises `DataError` for traces of no stage or of two, and for a stage that gets none.
    """
    kept = np.ones(len(columns.kind), np.bool_)
    if drop_duplicates:
        kept[columns.repeats] = False
    if split.quantiles is None:
        of, thresholds = _by_rules(columns, kept, split, name, again), list[float]()
    else:
        of, thresholds = _by_quantiles(columns.values, kept, split.quantiles.cuts)
    stages = Stages([stage.name for stage in split.stages], np.where(kept, of, DROPPED).astype(np.int16), thresholds)
    empty = [name for name, size in stages.sizes.items() if not size]
    if empty:
        sizes = ", ".join(f"{name} {size}" for name, size in stages.sizes.items())
        raise DataError(f"{name}: stage {', '.join(empty)} gets no trace ({sizes}); change split.stages")
    return stages


def by_stage(
    source: Dataset[Trace], split: Split, drop_duplicates: bool, count_tokens: CountTokens, folder: Path | None = None
) -> dict[str, list[Trace]]:
    """The traces of a source in memory, by stage, each in source order."""
    read = columns(source.rows, [], split, count_tokens, folder)
    stages = assign(read, split, drop_duplicates, source.name, lambda: source.rows)
    return {name: [source.rows[row] for row in stages.rows(name)] for name in stages.names}


def _by_rules(
    columns: Columns, kept: NDArray[np.bool_], split: Split, name: str, again: Callable[[], Iterable[Trace]]
) -> NDArray[np.int64]:
    matching = [_matching(kind, split) for kind in columns.kinds]
    single = [found[0] if len(found) == 1 else NO_STAGE for found in matching]
    of = np.array(single, np.int64)[columns.kind]
    wrong = np.flatnonzero(kept & (of == NO_STAGE))
    if len(wrong):
        shown, findings = set(wrong[:SHOWN].tolist()), []
        for trace in again():
            if trace.row in shown:
                stages = [split.stages[index].name for index in matching[columns.kind[trace.row]]]
                which = f"matches stages {' and '.join(stages)}" if stages else "matches no stage"
                findings.append(
                    f"line {trace.row + 1} {which}: category {trace.category}, {len(trace.steps)} steps, "
                    f"prompt {trace.prompt[:60]!r}"
                )
            if len(findings) == len(shown):
                break
        raise DataError(
            f"{name}: {len(wrong)} of {kept.sum()} traces do not match exactly one stage; change the rules of "
            f"split.stages, or name a stage for the rest in split.unmatched\n{listed(findings, total=len(wrong))}"
        )
    return of


def _matching(kind: Kind, split: Split) -> list[int]:
    """The stages, by number, with a rule that such a trace matches."""
    found = [index for index, stage in enumerate(split.stages) if any(matches(kind, rule) for rule in stage.rules)]
    if not found and split.unmatched is not None:
        return [index for index, stage in enumerate(split.stages) if stage.name == split.unmatched]
    return found


def matches(kind: Kind, rule: Rule) -> bool:
    category, steps = kind
    return (rule.category is None or category in rule.category) and (rule.steps is None or _within(steps, rule.steps))


def _within(value: int, span: Range) -> bool:
    return (span.min is None or value >= span.min) and (span.max is None or value <= span.max)


def _by_quantiles(
    values: NDArray[np.float64], kept: NDArray[np.bool_], cuts: Sequence[float]
) -> tuple[NDArray[np.int64], list[float]]:
    """Equal values always share a stage: a trace belongs to the first whose threshold it does not exceed."""
    ranked = np.sort(values[kept])
    # The smallest value that at least this share of the traces does not exceed (the inverse of the
    # empirical distribution: Hyndman and Fan 1996, type 1), so a threshold is a value that occurs.
    thresholds = [float(ranked[math.ceil(cut * len(ranked)) - 1]) for cut in cuts]
    return np.searchsorted(thresholds, values, side="left"), thresholds


# --- what is said beside the stages -------------------------------------------------------------


def stats(
    source: Extent, items: Dataset[Item], columns: Columns, stages: Stages, digests: Mapping[str, str]
) -> dict[str, Any]:
    """Counts, categories, step distributions and digests, of the source and of each stage."""
    return {
        "source": {
            "name": source.name,
            "sha256": source.sha256,
            "bytes": source.size,
            "crlf_lines": source.crlf,
            "final_newline": source.final_newline,
            **_describe(columns, columns.kind),
            "exact_repeats": len(columns.repeats),
            "dropped": len(stages.dropped),
        },
        "stages": {
            name: {"sha256": digests[name], **_describe(columns, columns.kind[stages.rows(name)])}
            for name in stages.names
        },
        "thresholds": list(stages.thresholds),
        "eval": {"name": items.name, "sha256": items.sha256, "items": items.count, "crlf_lines": items.crlf},
        "overlap": [{"row": row, "item": item, "how": how} for row, item, how in columns.overlap],
    }


def _describe(columns: Columns, kind: NDArray[np.uint32]) -> dict[str, Any]:
    categories, steps = Counter[str](), Counter[int]()
    for (category, number), count in zip(columns.kinds, np.bincount(kind, minlength=len(columns.kinds)), strict=True):
        if count:
            categories[category or "none"] += int(count)
            steps[number] += int(count)
    return {
        "traces": len(kind),
        "categories": dict(sorted(categories.items())),
        "steps": {str(number): steps[number] for number in sorted(steps)},
    }


def criteria(split: Split, stages: Stages) -> str:
    """The rules in words, as Markdown."""
    lines = ["# How the traces were split", ""]
    for index, stage in enumerate(split.stages):
        if split.quantiles is not None:
            lower = f"more than {stages.thresholds[index - 1]:g}" if index else ""
            upper = f"at most {stages.thresholds[index]:g}" if index < len(stages.thresholds) else ""
            said = f"{' and '.join(part for part in (lower, upper) if part)} {unit(split.quantiles.signal)}"
        else:
            said = "; or ".join(_rule_in_words(rule) for rule in stage.rules)
            if stage.name == split.unmatched:
                said = f"{said}; or " * bool(said) + "whatever matches no other stage"
        count = stages.sizes[stage.name]
        lines.append(f"- **{stage.name}**: {said}. {count:,} traces.")
    return "\n".join(lines) + "\n"


def _rule_in_words(rule: Rule) -> str:
    parts = []
    if rule.category is not None:
        parts.append(f"category {' or '.join(rule.category)}")
    if rule.steps is not None:
        low, high = rule.steps.min, rule.steps.max
        if low == high:
            parts.append(f"exactly {low} steps")
        else:
            parts.append(
                " and ".join([f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None))
                + " steps"
            )
    return " with ".join(parts)
