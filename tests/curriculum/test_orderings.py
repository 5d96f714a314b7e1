import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stagewise.config.arm import Folding, Saw, Sorted, Stair, Zigzag
from stagewise.curriculum.orderings import ordered

KINDS: dict[str, Any] = {"sorted": Sorted, "folding": Folding, "zigzag": Zigzag, "stair": Stair, "saw": Saw}


def rows(values: list[float], name: str, **parameters: Any) -> list[int]:
    stages = np.zeros(len(values), dtype=np.int32)
    settings = KINDS[name](**{name: "steps"}, **parameters)
    found: list[int] = ordered(settings, stages, lambda _: np.array(values), "salt").tolist()
    return found


def test_every_ordering_is_the_published_one_row_for_row(shared: Path) -> None:
    """DELT (arXiv 2506.21545) and its successor (arXiv 2605.30334), with ties among the scores."""
    reference = json.loads((shared / "orderings" / "reference_50.json").read_text())
    assert {each["order"] for each in reference["orders"]} == set(KINDS)
    for each in reference["orders"]:
        assert rows(reference["scores"], each["order"], **each["params"]) == each["rows"], each["order"]


def test_small_ones_by_hand() -> None:
    values = [3.0, 1.0, 1.0, 2.0, 0.0, 5.0, 4.0]  # ascending: 4 1 2 3 0 6 5
    assert rows(values, "sorted") == [4, 1, 2, 3, 0, 6, 5]
    assert rows(values, "sorted", descending=True) == [5, 6, 0, 3, 1, 2, 4]
    assert rows(values, "folding", layers=3) == [4, 3, 5, 1, 0, 2, 6]
    assert rows(values, "zigzag", layers=3) == [4, 3, 5, 0, 1, 2, 6]
    assert rows(values, "stair", sections=2, ratio=0.3, layers=2) == [4, 1, 2, 0, 3, 6, 5]


@given(st.lists(st.integers(0, 5), max_size=40), st.sampled_from(sorted(KINDS)))
def test_every_ordering_is_a_permutation(values: list[int], name: str) -> None:
    assert sorted(rows([float(each) for each in values], name)) == list(range(len(values)))
