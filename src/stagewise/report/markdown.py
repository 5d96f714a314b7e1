"""report.md: the comparison in short, as Markdown. Pure.

# quickstart
No effect visible: curriculum minus shuffled is +1.3 points (95 % interval -8.7 to +11.4, p = 0.63 …
"""

from collections.abc import Mapping
from typing import Any

from stagewise.report import GROUPS, tables, words


def write(compared: Mapping[str, Any], links: Mapping[str, str], figures: Mapping[str, str]) -> str:
    """`links` maps run ids to Markdown links, `figures` file names to captions."""
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
        "Means over the items that have a value; formulas and sources stand in docs/scoring.md.",
        "## Other contrasts",
        _list([each["sentence"] for each in compared["contrasts"].values() if not each["primary"]]) or "None.",
        _list(compared["not_compared"]),
        "## What separates each arm from `curriculum`",
        _list(compared["arms"].values()),
    ]
    for group in GROUPS:
        if tables.groups(compared, group):
            parts += [f"## Right by {group}", tables.markdown(tables.by_group(compared, group))]
    parts += ["## Limits", _list(words.limits(compared)), "## Figures"]
    parts += [f"![{caption}]({name})" for name, caption in figures.items()]
    runs = (
        f"{each['name']}: train {links[each['train_run']]}, eval {links[each['eval_run']]}"
        for each in compared["checkpoints"]
    )
    parts += ["## Runs", _list(runs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _primary(compared: Mapping[str, Any]) -> list[str]:
    found = [each for each in compared["contrasts"].values() if each["primary"]]
    return [part for each in found for part in (each["sensitivity"], tables.markdown(tables.pairs(each)))]


def _list(sentences: Any) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
