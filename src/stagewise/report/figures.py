"""The figures of a report, as PNG files, from the comparison alone.

draw(compared, Path("out"))    {"accuracy.png": "Accuracy after each phase: …", "loss.png": "Training loss: …", …}

Equal comparisons give equal bytes: matplotlib's own style, whatever the machine's is, and no version in the file.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stagewise.evaluation.structure.kinds import RATES
from stagewise.report import SCORES, tables

Compared = Mapping[str, Any]
Chain = Sequence[Mapping[str, Any]]

DPI = 110
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # apart for colour-blind eyes too
# Of seeds, in the order of the study. Their numbers have no common divisor, so 28 seeds look different.
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "v", "P", "X", "*")
_UNSCORED = " Grey: unscored, as a comparison took too long."
SMOOTH = 50  # a loss is averaged over this part of its arm's steps


def draw(compared: Compared, folder: Path) -> dict[str, str]:
    """Writes every figure that the comparison has something for; returns a caption for each file."""
    with matplotlib.style.context("default"):
        for name, (_, figure) in _figures(compared).items():
            figure(compared).savefig(folder / name, dpi=DPI, metadata={"Software": None})
    return captions(compared)


def captions(compared: Compared) -> dict[str, str]:
    return {name: caption for name, (caption, _) in _figures(compared).items()}


def _figures(compared: Compared) -> dict[str, tuple[str, Callable[[Compared], Figure]]]:
    drawn: dict[str, tuple[str, Callable[[Compared], Figure]]] = {
        "accuracy.png": (
            "Accuracy after each phase, along the optimizer steps done: a colour an arm, a dash and a marker a seed. "
            "Bars are 95 % Wilson intervals.",
            _accuracy,
        ),
        "loss.png": (
            "Training loss by optimizer step, mean over loss tokens: faint as it was, strong averaged over a fiftieth "
            "of the arm's steps, within each phase.",
            _loss,
        ),
        "structure.png": (
            "How the outputs reason after each phase: means over the items that have a value, with 95 % intervals.",
            _structure,
        ),
        "items.png": (
            "Which items each checkpoint got right (filled). Items from those that most checkpoints got right, left, "
            f"to those that none did.{_UNSCORED if _any_unscored(compared) else ''}",
            _items,
        ),
    }
    if compared["contrasts"]:
        caption = (
            f"Final checkpoints: {compared['primary']['arm']} minus each other arm, in points of "
            f"{compared['primary']['measure']}. A marker a seed; the bar, with several seeds, is the t interval over "
            "them."
        )
        drawn["contrasts.png"] = (caption, _contrasts)
    return drawn


# --- lines along training -----------------------------------------------------------------------


def _accuracy(compared: Compared) -> Figure:
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), SCORES, strict=True):
        axes.set(title=name, xlabel="optimizer steps")
        _along(axes, compared, name)
    figure.axes[0].set(ylabel="right, %", ylim=(-2, 102))
    figure.axes[0].legend(handles=_legend(compared))
    return figure


def _structure(compared: Compared) -> Figure:
    names = [name for name in tables.measures(compared) if name not in SCORES]
    last = max(1, *(each["trained_on"]["optimizer_steps"] for each in compared["checkpoints"]))
    rows = -(-len(names) // 4)
    figure = Figure(figsize=(11, 1.9 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, 4, squeeze=False).flat
    for axes, name in zip(grid, names, strict=False):
        axes.set_title(f"{name}, %" if name in RATES else name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_xlim(-0.05 * last, 1.05 * last)
        _along(axes, compared, name)
    for axes in grid[len(names) :]:
        axes.axis("off")
    figure.legend(handles=_legend(compared), loc="outside lower center", ncols=6, fontsize=9)
    return figure


def _along(axes: Any, compared: Compared, name: str) -> None:
    """A measure along training done, so that an arm of one phase and an arm of three end at the same place."""
    scale = 100 if name in SCORES or name in RATES else 1
    for chain, style in _chains(compared):
        points = [each for each in chain if name in each["measures"]]
        found = [each["measures"][name] for each in points]
        means = np.array([scale * each["mean"] for each in found])
        ends = np.array(
            [[each["mean"] if each[end] is None else each[end] for each in found] for end in ("low", "high")]
        ).reshape(2, -1)
        steps = [each["trained_on"]["optimizer_steps"] for each in points]
        axes.errorbar(
            steps,
            means,
            np.abs(scale * ends - means),
            markersize=4,
            capsize=2,
            linewidth=1.2,
            alpha=0.8,
            **style,
        )


def _loss(compared: Compared) -> Figure:
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.add_subplot()
    lowest = 1.0
    for chain, style in _chains(compared):
        done = chain[-1]["trained_on"]["optimizer_steps"]
        for each in chain:
            if each["curve"]:
                steps, losses = np.array(each["curve"]).T
                steps += each["trained_on"]["optimizer_steps"] - steps[-1]
                axes.plot(steps, losses, linewidth=0.6, alpha=0.3, color=style["color"])
                width = min(max(1, done // SMOOTH), len(losses))
                middle = steps[(width - 1) // 2 : len(steps) - width // 2]
                smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
                axes.plot(middle, smooth, linewidth=1.3, markersize=4, markevery=max(1, len(smooth) // 4), **style)
                lowest = min(lowest, losses.min())
    axes.set(xlabel="optimizer steps", ylabel="loss", yscale="log" if lowest > 0 else "linear")
    axes.legend(handles=_legend(compared))
    return figure


def _chains(compared: Compared) -> list[tuple[Chain, dict[str, Any]]]:
    """The checkpoints of each arm and seed by phase, each beginning with its base, and how its line looks."""
    checkpoints = compared["checkpoints"]
    bases = {each["seed"]: each for each in checkpoints if each["phase"] == 0}
    chains: dict[tuple[str, int], list[Any]] = {}
    for each in checkpoints:
        if each["phase"]:
            start = bases[each["seed"] if each["seed"] in bases else None]
            chains.setdefault((each["arm"], each["seed"]), [start]).append(each)
    arms, seeds = _styles(compared)
    return [(chain, arms[arm] | seeds[seed]) for (arm, seed), chain in chains.items()]


def _styles(compared: Compared) -> tuple[dict[str, dict[str, Any]], dict[int, dict[str, Any]]]:
    """How arms look, and how seeds do: a colour, and a dash with a marker."""
    trained = [each for each in compared["checkpoints"] if each["phase"]]
    arms, seeds = (list(dict.fromkeys(each[name] for each in trained)) for name in ("arm", "seed"))
    return (
        {arm: {"color": COLOURS[number % len(COLOURS)]} for number, arm in enumerate(arms)},
        {
            seed: {"linestyle": DASHES[number % len(DASHES)], "marker": MARKERS[number % len(MARKERS)]}
            for number, seed in enumerate(seeds)
        },
    )


def _legend(compared: Compared) -> list[Line2D]:
    """Arms by colour, and of several seeds each by dash and marker."""
    arms, seeds = _styles(compared)
    named = [Line2D([], [], label=arm, **style) for arm, style in arms.items()]
    return named + (_of_seeds(seeds) if len(seeds) > 1 else [])


def _of_seeds(styles: Mapping[int, Mapping[str, Any]]) -> list[Line2D]:
    return [Line2D([], [], label=f"seed {seed}", color="grey", **style) for seed, style in styles.items()]


def _any_unscored(compared: Compared) -> bool:
    return any(None in each["right_by_item"] for each in compared["checkpoints"])


# --- items and contrasts ------------------------------------------------------------------------


def _items(compared: Compared) -> Figure:
    checkpoints = compared["checkpoints"]
    right = np.array([each["right_by_item"] for each in checkpoints], dtype=float)  # NaN: unscored
    order = np.argsort(-np.nansum(right, axis=0), kind="stable")
    figure = Figure(figsize=(11, 0.6 + 0.24 * len(checkpoints)), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="0.6")
    axes.imshow(right[:, order], aspect="auto", cmap=colours, vmin=0, vmax=1.3, interpolation="nearest")
    axes.set(xlabel=f"the {right.shape[1]:,} items", xticks=[])
    axes.set_yticks(range(len(checkpoints)), [each["name"] for each in checkpoints], fontsize=8)
    axes.set_yticks(np.arange(0.5, len(checkpoints) - 1), minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    return figure


def _contrasts(compared: Compared) -> Figure:
    contrasts = list(compared["contrasts"].values())[::-1]
    figure = Figure(figsize=(9, 0.9 + 0.5 * len(contrasts)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="grey", linewidth=0.8)
    _, seeds = _styles(compared)
    for row, each in enumerate(contrasts):
        for one in each["pairs"]:
            marker = seeds[one["seed"]]["marker"]
            axes.plot(100 * one["difference"], row, marker, color=COLOURS[0], alpha=0.5, markersize=5)
        interval = each["test"]["interval"]
        if interval is not None:
            axes.plot([100 * interval["low"], 100 * interval["high"]], [row - 0.2] * 2, color=COLOURS[1], linewidth=2)
            axes.plot(100 * each["test"]["mean"], row - 0.2, "D", color=COLOURS[1], markersize=5)
    first = compared["primary"]["arm"]
    pairs = [(each["arm"], each["against"], " (primary)" if each["primary"] else "") for each in contrasts]
    names = [f"{other if arm == first else f'{arm} - {other}'}{mark}" for arm, other, mark in pairs]
    axes.set_yticks(range(len(names)), names)
    if len(seeds) > 1:
        markers = {seed: style | {"linestyle": ""} for seed, style in seeds.items()}
        figure.legend(handles=_of_seeds(markers), loc="outside right upper")
    axes.set(ylim=(-0.6, len(names) - 0.4), xlabel=f"{compared['primary']['arm']} minus it, points")
    return figure
