"""The tables of a report as rows of text, for the terminal, for Markdown and for HTML. Pure.

checkpoints(compared)    [["checkpoint", "right", "flexible", "95 %", …],
                          ["base-0-s42", "0/250", "0.0%", "0%–2%", …], …]
aligned(rows)            the same with its columns under one another
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewise.analysis.paired import Interval
from stagewise.evaluation.structure.kinds import NAMES, RATES
from stagewise.report import SCORES, words

Rows = list[list[str]]


def checkpoints(compared: Mapping[str, Any]) -> Rows:
    rows = [["checkpoint", "right", "flexible", "95 %", "strict", "stopped", "tokens out", "examples", "steps"]]
    for each in compared["checkpoints"]:
        measures = each["measures"]
        flexible, strict = measures.get("flexible"), measures.get("strict")
        rows.append(
            [
                each["name"],
                f"{each['right']}/{each['scored']}",
                f"{flexible['mean']:.1%}" if flexible else "–",
                f"{flexible['low']:.0%}–{flexible['high']:.0%}" if flexible else "–",
                f"{strict['mean']:.1%}" if strict else "–",
                f"{measures['eos']['mean']:.0%}",
                f"{measures['tokens']['mean']:.1f}",
                f"{each['trained_on']['examples']:,}",
                f"{each['trained_on']['optimizer_steps']:,}",
            ]
        )
    return rows


def measures(compared: Mapping[str, Any]) -> list[str]:
    """The names of all measures of which a checkpoint has a value: scores, then structure."""
    found = set().union(*(each["measures"] for each in compared["checkpoints"]))
    return [name for name in dict.fromkeys((*SCORES, *NAMES, *sorted(found))) if name in found]


def with_interval(name: str, measure: Mapping[str, Any] | None) -> tuple[str, str]:
    """A mean and its 95 % interval in text; a dash where there is none."""
    if measure is None:
        return "–", ""
    is_rate = name in SCORES or name in RATES
    mean, low, high = (
        None if value is None else f"{100 * value:.1f}" if is_rate else f"{value:.3g}"
        for value in (measure["mean"], measure["low"], measure["high"])
    )
    return f"{mean} %" if is_rate else f"{mean}", "" if low is None else f"{low} to {high}"


def structure(compared: Mapping[str, Any]) -> Rows:
    """A row a measure of how the outputs reason, a column a checkpoint: means and their 95 % intervals."""
    names = [name for name in measures(compared) if name not in SCORES]
    header = ["measure", *(each["name"] for each in compared["checkpoints"])]
    return [
        header,
        *(
            [name, *(_in_one(*with_interval(name, each["measures"].get(name))) for each in compared["checkpoints"])]
            for name in names
        ),
    ]


def _in_one(mean: str, interval: str) -> str:
    return f"{mean} ({interval})" if interval else mean


def groups(compared: Mapping[str, Any], group: str) -> list[str]:
    """The values of `section`, `category` or `difficulty`; none where no item has one."""
    names = list(compared["checkpoints"][0][f"by_{group}"])
    return [] if names == ["none"] else names


def by_group(compared: Mapping[str, Any], group: str) -> Rows:
    names = groups(compared, group)
    rows = [["checkpoint", *names]]
    for each in compared["checkpoints"]:
        counts = each[f"by_{group}"]
        rows.append([each["name"], *(_in_one(*counted(counts[name])) for name in names)])
    return rows


def counted(count: Mapping[str, Any]) -> tuple[str, str]:
    """Right of all, and the 95 % interval of the share."""
    interval = "" if count["low"] is None else f"{100 * count['low']:.0f} to {100 * count['high']:.0f} %"
    return f"{count['right']}/{count['items']}", interval


def pairs(contrast: Mapping[str, Any]) -> Rows:
    """What two arms' checkpoints of each seed got right that the other did not."""
    rows = [["seed", f"only {contrast['arm']}", f"only {contrast['against']}", "difference", "95 %", "p", "detectable"]]
    for each in contrast["pairs"]:
        detectable = each["detectable"]
        rows.append(
            [
                str(each["seed"]),
                str(each["only_a"]),
                str(each["only_b"]),
                words.points(each["difference"]),
                span(each["interval"]),
                words.probability(each["p"]),
                "–" if detectable is None else f"{100 * detectable:.1f}",
            ]
        )
    return rows


def span(interval: Mapping[str, float] | None) -> str:
    """Both ends in points."""
    return "–" if interval is None else words.span(Interval(**interval))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The table for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
