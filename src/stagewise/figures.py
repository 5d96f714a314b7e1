"""The figures of a report: accuracy by checkpoint, and the training loss of every arm and seed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from stagewise.report import Checkpoint
from stagewise.statistics import wilson

ACCURACY, LOSS = "accuracy.png", "loss.png"


def draw(checkpoints: Sequence[Checkpoint], folder: Path) -> None:
    """Writes both figures."""
    chains = _chains(checkpoints)
    with _axes(folder / ACCURACY, "Accuracy by checkpoint", "right, % (flexible, 95 % Wilson)") as axes:
        axes.set_ylim(0, 100)
        for name, chain in chains.items():
            _accuracy(axes, name, chain)
    with _axes(folder / LOSS, "Training loss", "loss, mean over loss tokens") as axes:
        for name, chain in chains.items():
            _loss(axes, name, chain)


@contextmanager
def _axes(path: Path, title: str, ylabel: str) -> Iterator[Any]:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel="optimizer steps", ylabel=ylabel)
    yield axes
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})  # no version in it: equal data, equal bytes


def _accuracy(axes: Any, name: str, chain: Sequence[Checkpoint]) -> None:
    """Along training done, so that an arm of one phase and an arm of three end at the same place."""
    shares = [100 * each.right / len(each.rows) for each in chain]
    spans = [wilson(each.right, len(each.rows)) for each in chain]
    below = [share - 100 * span.low for share, span in zip(shares, spans, strict=True)]
    above = [100 * span.high - share for share, span in zip(shares, spans, strict=True)]
    steps = [each.counted["optimizer_steps"] for each in chain]
    axes.errorbar(steps, shares, [below, above], marker="o", capsize=3, label=name)


def _loss(axes: Any, name: str, chain: Sequence[Checkpoint]) -> None:
    before, points = 0, list[tuple[int, float]]()
    for each in chain:
        points += [(before + step, loss) for step, loss in each.curve]
        before = each.counted["optimizer_steps"]
    axes.plot(*zip(*points, strict=True), label=name, linewidth=1)


def _chains(checkpoints: Sequence[Checkpoint]) -> dict[str, list[Checkpoint]]:
    """The checkpoints of each arm and seed by phase, each beginning with its base."""
    bases = {each.seed: each for each in checkpoints if each.phase == 0}
    chains: dict[str, list[Checkpoint]] = {}
    for each in checkpoints:
        if each.phase:
            start = [bases[each.seed if each.seed in bases else None]]
            chains.setdefault(f"{each.arm} s{each.seed}", start).append(each)
    return chains
