"""Traces → stages, by rules that the config declares or by quantiles of a difficulty signal.

    {"category": ["reasoning"], "steps": {"max": 3}}    a rule: every condition that it states holds

A stage's file holds the source's lines byte for byte, in source order. `rows.json` maps them back to
their rows, so that with it the stages give the source again.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagewise.config import Quantiles, Range, Rule, Split
from stagewise.curriculum.signals import SIGNALS, CountTokens, unit
from stagewise.data.jsonl import split_lines
from stagewise.data.leakage import duplicates
from stagewise.data.traces import Dataset, Item, Trace
from stagewise.errors import DataError, listed
from stagewise.hashing import sha256


@dataclass(frozen=True, slots=True)
class Stages:
    """The source's traces by stage, each in source order."""

    traces: Mapping[str, Sequence[Trace]]
    dropped: Sequence[int]  # source rows of exact repeats that the config drops
    thresholds: Sequence[float]  # values of the signal between the stages; empty where rules decide

    def file(self, stage: str) -> bytes:
        """Its source lines byte for byte; only a source's last line may have to be given an ending."""
        return b"".join(trace.line + (trace.ending or b"\n") for trace in self.traces[stage])


def assign(
    source: Dataset[Trace],
    split: Split,
    drop_duplicates: bool,
    count_tokens: CountTokens,
    folder: Path | None = None,
) -> Stages:
    """A signal of a user's own is imported from `folder` first.

    Raises `DataError` for traces of no stage or of two, and for a stage that gets none.
    """
    repeats = {row for rows in duplicates(source.rows).values() for row in rows} if drop_duplicates else set[int]()
    traces = [trace for trace in source.rows if trace.row not in repeats]
    if split.quantiles is None:
        names, thresholds = _by_rules(traces, split, source.name), list[float]()
    else:
        names, thresholds = _by_quantiles(traces, split, split.quantiles, count_tokens, folder)
    stages: dict[str, list[Trace]] = {stage.name: [] for stage in split.stages}
    for trace, name in zip(traces, names, strict=True):
        stages[name].append(trace)
    empty = [name for name, members in stages.items() if not members]
    if empty:
        sizes = ", ".join(f"{name} {len(members)}" for name, members in stages.items())
        raise DataError(f"{source.name}: stage {', '.join(empty)} gets no trace ({sizes}); change split.stages")
    return Stages(stages, sorted(repeats), thresholds)


def _by_rules(traces: Sequence[Trace], split: Split, name: str) -> list[str]:
    assigned, findings = [], []
    for trace in traces:
        matching = [stage.name for stage in split.stages if any(matches(trace, rule) for rule in stage.rules)]
        if not matching and split.unmatched is not None:
            matching = [split.unmatched]
        if len(matching) != 1:
            which = f"matches stages {' and '.join(matching)}" if matching else "matches no stage"
            findings.append(
                f"line {trace.row + 1} {which}: category {trace.category}, {len(trace.steps)} steps, "
                f"prompt {trace.prompt[:60]!r}"
            )
        assigned.append(matching[0] if matching else "")
    if findings:
        raise DataError(
            f"{name}: {len(findings)} of {len(traces)} traces do not match exactly one stage; change the rules of "
            f"split.stages, or name a stage for the rest in split.unmatched\n{listed(findings)}"
        )
    return assigned


def matches(trace: Trace, rule: Rule) -> bool:
    in_category = rule.category is None or trace.category in rule.category
    return in_category and (rule.steps is None or _within(len(trace.steps), rule.steps))


def _within(value: int, span: Range) -> bool:
    return (span.min is None or value >= span.min) and (span.max is None or value <= span.max)


def _by_quantiles(
    traces: Sequence[Trace], split: Split, quantiles: Quantiles, count_tokens: CountTokens, folder: Path | None
) -> tuple[list[str], list[float]]:
    """Equal values always share a stage: a trace belongs to the first whose threshold it does not exceed."""
    signal = SIGNALS.chosen([quantiles.signal], folder)[quantiles.signal]
    values = signal(traces, count_tokens)
    ranked = sorted(values)
    # The smallest value that at least this share of the traces does not exceed (the inverse of the
    # empirical distribution: Hyndman and Fan 1996, type 1), so a threshold is a value that occurs.
    thresholds = [float(ranked[math.ceil(cut * len(ranked)) - 1]) for cut in quantiles.cuts]
    names = [stage.name for stage in split.stages]
    return [names[sum(value > threshold for threshold in thresholds)] for value in values], thresholds


# --- what is written beside the stages ----------------------------------------------------------


def rows(source: Dataset[Trace], stages: Stages) -> dict[str, Any]:
    """Where each line of each stage stood in the source, and what is needed to rebuild its bytes."""
    return {
        "source_sha256": source.sha256,
        "crlf_rows": [trace.row for trace in source.rows if trace.ending == b"\r\n"],
        "final_newline": source.final_newline,
        "stages": {name: [trace.row for trace in traces] for name, traces in stages.traces.items()},
        "dropped": [{"row": row, "line": source.rows[row].line.decode()} for row in stages.dropped],
    }


def rebuilt(rows: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """The source's bytes again, from `rows` as above and the stages' files. Raises `DataError` for other files."""
    lines: dict[int, bytes] = {}
    for name, numbers in rows["stages"].items():
        found = [line + ending for line, ending in split_lines(files[name])]
        if len(found) != len(numbers):
            raise DataError(f"stage {name}: found {len(found)} lines, expected {len(numbers)}, as rows.json has it")
        lines |= zip(numbers, found, strict=True)
    crlf = set(rows["crlf_rows"])
    for entry in rows["dropped"]:
        lines[entry["row"]] = entry["line"].encode() + (b"\r\n" if entry["row"] in crlf else b"\n")
    data = b"".join(lines[row] for row in sorted(lines))
    return data if rows["final_newline"] else data.removesuffix(b"\n")


def stats(source: Dataset[Trace], items: Dataset[Item], stages: Stages, overlap: Sequence[Any]) -> dict[str, Any]:
    """Counts, categories, step distributions and digests, of the source and of each stage."""
    repeats = duplicates(source.rows)
    return {
        "source": {
            "name": source.name,
            "sha256": source.sha256,
            "bytes": source.size,
            "crlf_lines": source.crlf,
            "final_newline": source.final_newline,
            **_describe(source.rows),
            "exact_repeats": sum(len(rows) for rows in repeats.values()),
            "dropped": len(stages.dropped),
        },
        "stages": {
            name: {"sha256": sha256(stages.file(name)), **_describe(traces)} for name, traces in stages.traces.items()
        },
        "thresholds": list(stages.thresholds),
        "eval": {"name": items.name, "sha256": items.sha256, "items": len(items.rows), "crlf_lines": items.crlf},
        "overlap": [{"row": row, "item": item, "how": how} for row, item, how in overlap],
    }


def _describe(traces: Sequence[Trace]) -> dict[str, Any]:
    categories = Counter(trace.category or "none" for trace in traces)
    steps = Counter(len(trace.steps) for trace in traces)
    return {
        "traces": len(traces),
        "categories": dict(sorted(categories.items())),
        "steps": {str(count): steps[count] for count in sorted(steps)},
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
        count = len(stages.traces[stage.name])
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
