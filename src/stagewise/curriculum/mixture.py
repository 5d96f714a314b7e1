"""Stages that fade into each other: where each instance stands, given weights at milestones. Pure.

    placed([4, 2], [0, 1], [[1, 0], [0.5, 0.5]])    array([0, 1, 2, 4, 3, 5])    the second stage fades in

The weights of a moment say what share of it each stage should have. Sizes are given: each stage has its instances, and
each moment its place for one. So the weights, linear between milestones, are fitted to both by iterative proportional
fitting (Deming and Stephan 1940, doi:10.1214/aoms/1177731829), and each instance stands at the moment when its stage's
fitted share adds up to its number and a half.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewise.curriculum.order import Numbers

MOMENTS, ROUNDS = 1000, 200  # of training, and of the fitting
PARTS = 10  # of training, in which shares are compared
GAP = 0.10

Shares = NDArray[np.float64]  # (stages, parts)


@dataclass(frozen=True, slots=True)
class Compared:
    """The shares of stages in equal parts of training, asked for and given."""

    asked: Shares
    given: Shares

    @property
    def gap(self) -> float:
        return float(np.abs(self.asked - self.given).max())

    def in_words(self, stages: Sequence[str]) -> str:
        """Of the largest gap."""
        stage, part = np.unravel_index(np.abs(self.asked - self.given).argmax(), self.asked.shape)
        asked, given = (100 * float(shares[stage, part]) for shares in (self.asked, self.given))
        return (
            f"in part {part + 1} of {PARTS} of training, {asked:.0f} % are asked of stage {stages[int(stage)]} and its "
            f"size gives {given:.0f} %"
        )


def placed(counts: Sequence[int], places: Sequence[float], weights: Sequence[Sequence[float]]) -> Numbers | int:
    """The order of the instances, numbered stage after stage; or the number of a stage that has some and no weight.

    `weights[m][s]` is that of stage s at `places[m]`, from 0 at the start of training to 1 at its end.
    """
    asked = _asked(places, weights, MOMENTS)
    for stage, count in enumerate(counts):
        if count and not asked[stage].any():
            return stage
    wanted = np.array(counts, dtype=float)
    fitted = asked.copy()
    for _ in range(ROUNDS):
        fitted *= (wanted / np.maximum(fitted.sum(axis=1), 1e-300))[:, None]
        fitted *= (wanted.sum() / MOMENTS) / np.maximum(fitted.sum(axis=0), 1e-300)
    fitted *= (wanted / np.maximum(fitted.sum(axis=1), 1e-300))[:, None]
    edges = np.linspace(0, 1, MOMENTS + 1)
    moments = [
        np.interp(np.arange(count) + 0.5, np.r_[0, np.cumsum(row)], edges)
        for count, row in zip(counts, fitted, strict=True)
    ]
    return np.argsort(np.concatenate(moments), kind="stable")


def shares(stages: NDArray[np.int32], places: Sequence[float], weights: Sequence[Sequence[float]]) -> Compared:
    """Of a sequence of instances, given by their stages' numbers."""
    parts = np.array_split(stages, PARTS)
    count = len(weights[0])
    given = [np.bincount(part, minlength=count) / max(1, len(part)) for part in parts]
    asked = _asked(places, weights, MOMENTS).reshape(count, PARTS, -1).mean(axis=2)
    return Compared(asked, np.stack(given, axis=1))


def _asked(places: Sequence[float], weights: Sequence[Sequence[float]], moments: int) -> Shares:
    """The share of each stage at each moment's middle."""
    middles = (np.arange(moments) + 0.5) / moments
    rows = np.stack([np.interp(middles, places, column) for column in zip(*weights, strict=True)])
    return np.asarray(rows / rows.sum(axis=0))
