"""Two arms' items, right or wrong, seed by seed."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@st.composite
def arms(draw: st.DrawFn) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    seeds = draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=4, unique=True))
    items = draw(st.integers(1, 30))
    row = st.lists(st.integers(0, 1), min_size=items, max_size=items)
    return {seed: draw(row) for seed in seeds}, {seed: draw(row) for seed in seeds}


def rows(*counts: tuple[int, int], items: int = 100) -> tuple[dict[int, Floats], dict[int, Floats]]:
    """Arms whose seeds have these counts of items right in a alone and in b alone; the rest both."""
    a, b = {}, {}
    for seed, (only_a, only_b) in enumerate(counts):
        a[seed], b[seed] = np.ones(items), np.ones(items)
        b[seed][:only_a] = 0
        a[seed][only_a : only_a + only_b] = 0
    return a, b
