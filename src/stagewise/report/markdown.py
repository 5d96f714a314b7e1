"""report.md: the comparison in short, as Markdown. Pure.

# quickstart
No effect visible: curriculum minus shuffled is +1.3 points (95 % interval -8.7 to +11.4, p = 0.63 …
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stagewise.report import GROUPS, tables, words
from stagewise.report.page import Places


def write(compared: Mapping[str, Any], setup: Mapping[str, str], places: Places, figures: Mapping[str, str]) -> str:
    """`setup`: what the study was, by name; `figures` maps file names to captions."""
    parts = [
        f"# {compared['study']}",
        compared["verdict"],
        compared["best"],
        *_primary(compared),
        "## Checkpoints",
        tables.markdown(tables.checkpoints(compared)),
        "`flexible` counts right answers wherever they stand in the output; `strict` wants them where the template "
        "puts them, and the model to have stopped by itself. Intervals are Wilson's, over items.",
        "## How the outputs reason",
        tables.markdown(tables.structure(compared)),
        "Means over the items that have a value, with 95 % intervals; formulas and sources stand in docs/scoring.md.",
        "## Other contrasts",
        _list([each["sentence"] for each in compared["contrasts"].values() if not each["primary"]]) or "None.",
        _list(compared["not_compared"]),
        "## Set-up",
        _list(f"**{name}**: {' '.join(text.split())}" for name, text in setup.items()),
        "## What separates each arm from `curriculum`",
        _list(compared["arms"].values()),
    ]
    for group in GROUPS:
        if tables.groups(compared, group):
            parts += [f"## Right by {group}", tables.markdown(tables.by_group(compared, group))]
    parts += ["## Limits", _list(words.limits(compared)), "## Figures"]
    parts += [f"![{caption}]({name})" for name, caption in figures.items()]
    parts += ["## Runs", _list(_runs(compared, places))]
    if compared["contrasts"]:
        parts += ["Two final checkpoints item by item, as MLflow traces:", _list(_side_by_side(compared, places))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _primary(compared: Mapping[str, Any]) -> list[str]:
    found = [each for each in compared["contrasts"].values() if each["primary"]]
    return [part for each in found for part in (each["sensitivity"], tables.markdown(tables.pairs(each)))]


def _runs(compared: Mapping[str, Any], places: Places) -> Iterator[str]:
    for each in compared["checkpoints"]:
        train, evaluated = (
            _link(run[:8], places.url(places.paths[run])) for run in (each["train_run"], each["eval_run"])
        )
        yield f"{each['name']}: train {train}, eval {evaluated}"


def _side_by_side(compared: Mapping[str, Any], places: Places) -> Iterator[str]:
    for each in compared["contrasts"].values():
        for seed, runs in each["eval_runs"].items():
            text = f"{each['arm']} and {each['against']}, seed {seed}"
            yield _link(text, places.url(places.side_by_side(*runs)))


def _link(text: str, url: str) -> str:
    return f"[{text}]({url})"


def _list(sentences: Any) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
