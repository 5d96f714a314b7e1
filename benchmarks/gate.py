"""How often the gate of a promotion errs, by simulation: the tables of docs/statistics.md.

    python benchmarks/gate.py                   # 100,000 promotions a cell, two minutes on one core
    python benchmarks/gate.py --draws 10000

A cell is a number of items, a margin, and the share of items on which challenger and champion differ. In each of its
draws every item is right for the challenger alone, for the champion alone, or alike, at random with fixed rates, and
the gate decides: the lower end of Tango's 95 % interval against minus the margin. Draws come from one seed. The worst
cells are searched by enumeration, each outcome weighed by its probability, on a finer grid of up to 300 items.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from stagewise.analysis.paired import paired_interval

SEED = 0
ITEMS = (10, 20, 50, 100, 250, 500, 1000)
MARGINS = (0.01, 0.02, 0.05, 0.10)
FINER = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2)
SHARES = (0.1, 0.2, 0.4)
ALIKE = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100_000, help="promotions a cell")
    return parser.parse_args()


def rates(share: float, difference: float) -> list[float]:
    """Of items right for the challenger alone, for the champion alone, and alike."""
    return [(share + difference) / 2, (share - difference) / 2, 1 - share]


def promoted(items: int, margin: float, share: float, difference: float, draws: int) -> float:
    """The share of draws in which the gate holds. `difference`: by how much the challenger is truly better."""
    cell = [SEED, items, *(round(1e6 * (1 + each)) for each in (margin, share, difference))]
    drawn = np.random.default_rng(cell).multinomial(items, rates(share, difference), draws)[:, :2]
    counts, times = np.unique(drawn, axis=0, return_counts=True)
    holds = [paired_interval(only_a, only_b, items).low >= -margin for only_a, only_b in counts.tolist()]
    return float(times @ np.array(holds)) / draws


def false_promotions(draws: int) -> Iterator[list[str]]:
    """Of a challenger that is worse by exactly the margin, in %; the first share is the margin, where it never wins."""
    shares = ("least", *(f"{100 * share:g} %" for share in SHARES))
    yield ["items", *(f"{100 * margin:g}: {share}" for margin in MARGINS for share in shares)]
    for items in ITEMS:
        cells = [
            f"{100 * promoted(items, margin, share, -margin, draws):.1f}"
            for margin in MARGINS
            for share in (margin, *SHARES)
        ]
        yield [f"{items:,}", *cells]


def right_promotions(draws: int) -> Iterator[list[str]]:
    """Of a challenger that is as good as the champion, with a margin of 5 points, in %."""
    yield ["items", *(f"{100 * share:g} % differ" for share in ALIKE)]
    for items in (50, 73, *ITEMS[3:]):
        yield [f"{items:,}", *(f"{100 * promoted(items, 0.05, share, 0.0, draws):.1f}" for share in ALIKE)]


def enumerated(items: int, cells: Sequence[tuple[float, float, float]]) -> list[float]:
    """The exact rates of cells of (margin, share, difference), of all outcomes that there are."""
    outcomes = np.array([(a, b, items - a - b) for a in range(items + 1) for b in range(items + 1 - a)])
    low = np.array([paired_interval(only_a, only_b, items).low for only_a, only_b, _ in outcomes.tolist()])
    return [
        float(stats.multinomial.pmf(outcomes, items, rates(share, difference))[low >= -margin].sum())
        for margin, share, difference in cells
    ]


def worst() -> Iterator[list[str]]:
    """Of a challenger that is worse by exactly the margin: the largest rates from so many items on."""
    yield ["from items on", "at most", "where", "at most 40 % differ", "where"]
    shares = (*ALIKE[1:], 0.6, 0.8, 1.0)
    found = []
    for items in (*range(1, 41), 50, 60, 80, 100, 150, 200, 300):
        cells = [(margin, share, -margin) for margin in FINER for share in (margin, *shares) if share >= margin]
        found += [(rate, items, *cell) for rate, cell in zip(enumerated(items, cells), cells, strict=True)]
    for start in (1, 10, 20, 50, 100):
        row = [str(start)]
        for most in (1.0, 0.4):
            rate, items, margin, share, _ = max(each for each in found if each[1] >= start and each[3] <= most)
            row += [f"{100 * rate:.1f}", f"{items} items, {100 * margin:g} points, {100 * share:g} % differ"]
        yield row


def markdown(rows: Iterator[list[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def main() -> None:
    draws = arguments().draws
    print(*map(markdown, (false_promotions(draws), right_promotions(draws), worst())), sep="\n\n")


if __name__ == "__main__":
    main()
