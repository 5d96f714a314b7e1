"""Competence-based curriculum learning (Platanios et al. 2019, arXiv 1903.09848). Pure.

    draw(Paced(pacing="sqrt", by="tokens", start=0.1), count=100, sizes=[4, 4, …], "paced/42")

At time t the competence c(t) is the share of the examples, easiest first, that a step may draw from:

    linear       c(t) = start + t (1 - start)                  the paper's c_linear
    sqrt         c(t) = sqrt(start² + t (1 - start²))          the paper's c_sqrt
    exponential  c(t) = start^(1 - t)                          grows by the same factor in equal times
    step         linear, in `stairs` equal rises               (as in Hacohen and Weinshall 2019, arXiv 1904.03626)

A step draws uniformly, no example twice. What is drawn repeats more often the easier it is: the arm has instances of
its own, and its control is dealt the same.
"""

import math

import numpy as np

from stagewise.config import Paced
from stagewise.curriculum.order import Numbers, drawn


def competence(settings: Paced, time: float) -> float:
    start = settings.start
    if settings.pacing == "sqrt":
        return math.sqrt(start**2 + time * (1 - start**2))
    if settings.pacing == "exponential":
        return float(start ** (1 - time))
    if settings.pacing == "step":
        time = min(1.0, math.floor(time * settings.stairs) / max(1, settings.stairs - 1))
    return start + time * (1 - start)


def draw(settings: Paced, count: int, sizes: Numbers, salt: str) -> Numbers | str:
    """For each place of the steps the number of an example, easiest first; or in words why a step cannot be filled."""
    step_of = np.repeat(np.arange(len(sizes)), sizes)
    pools = np.array([math.floor(competence(settings, step / len(sizes)) * count) for step in range(len(sizes))])
    short = np.flatnonzero(pools < sizes)
    if len(short):
        step = int(short[0])
        return (
            f"step {step + 1} may draw from {pools[step]} examples and takes {sizes[step]}; raise start, or lower "
            "training.batch_size"
        )
    pool_of = pools[step_of].astype(np.uint64)
    chosen = (drawn(len(step_of), salt) % pool_of).astype(np.int64)
    for number in range(1, 1_000_000):  # those that stand in their step already, until there are none
        order = np.lexsort((np.arange(len(chosen)), chosen, step_of))
        repeated = order[1:][(np.diff(chosen[order]) == 0) & (np.diff(step_of[order]) == 0)]
        if not len(repeated):
            break
        chosen[repeated] = drawn(len(repeated), f"{salt}/again/{number}") % pool_of[repeated]
    return chosen
