from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewise.data.traces import Trace
from stagewise.model.templates import Encoded, packed
from stagewise.training import token_cache

TOKENS = st.lists(st.integers(0, 2**31 - 1), min_size=1)
STAGE = st.dictionaries(st.integers(0, 99), st.tuples(TOKENS, st.integers(0, 9)), min_size=1)


def stage(examples: dict[int, tuple[list[int], int]], left_out: int = 0) -> Encoded:
    trace = Trace(0, b"", b"\n", "0:", "p", (), "3", None)
    usable = [(ids, position, prompt) for position, (ids, prompt) in sorted(examples.items())]
    return packed(usable, [trace] * len(usable), left_out, left_out + 1)


@given(st.lists(STAGE, min_size=1, max_size=3), st.integers(0, 9))
def test_what_is_kept_comes_back_mapped(tmp_path_factory: Any, stages: list[Any], left_out: int) -> None:
    made = {f"s{number}": stage(each, left_out) for number, each in enumerate(stages)}
    folder = tmp_path_factory.mktemp("tokens")
    assert token_cache.kept(folder, {"is": 1}, lambda: made) is made
    again = token_cache.kept(folder, {"is": 1}, lambda: pytest.fail("made twice"))
    assert list(again) == list(made)
    for number, (name, each) in enumerate(again.items()):
        assert (each.dropped, each.truncated) == (left_out, left_out + 1)
        assert each.positions.tolist() == sorted(stages[number])
        assert isinstance(each.ids.base, np.memmap)
        for position, (ids, prompt) in stages[number].items():
            assert each.example(position).ids.tolist() == ids  # type: ignore[union-attr]
            assert each.example(position).prompt == made[name].example(position).prompt == prompt


def test_a_line_that_is_no_example_is_not_taken_for_its_neighbour() -> None:
    made = stage({3: ([1, 2], 1), 5: ([4], 0)})
    for position in (2, 4, 6):
        with pytest.raises(KeyError):
            made.example(position)


def test_another_digest_or_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    def make() -> dict[str, Encoded]:
        made.append(1)
        return {"a": stage({0: ([1, 2], 1)})}

    made: list[int] = []
    token_cache.kept(tmp_path, {"is": 1}, make)
    token_cache.kept(tmp_path, {"is": 2}, make)
    assert len(made) == 2
    for file in tmp_path.glob("*/a.ids.npy"):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    assert list(token_cache.kept(tmp_path, {"is": 1}, make)["a"].example(0).ids) == [1, 2]
    assert len(made) == 3
