from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewise.model.templates import Encoded, Example
from stagewise.training import token_cache

EXAMPLES = st.builds(Example, st.lists(st.integers(0, 2**31), min_size=1).map(tuple), st.integers(0, 9))


@given(st.lists(st.dictionaries(st.integers(0, 99), EXAMPLES), min_size=1, max_size=3), st.integers(0, 9))
def test_what_is_kept_comes_back(tmp_path_factory: Any, stages: list[dict[int, Example]], left_out: int) -> None:
    made = {
        f"s{number}": Encoded({(f"s{number}", position): each for position, each in stage.items()}, left_out, number)
        for number, stage in enumerate(stages)
    }
    folder = tmp_path_factory.mktemp("tokens")
    assert token_cache.kept(folder, {"is": 1}, lambda: made) is made
    again = token_cache.kept(folder, {"is": 1}, lambda: pytest.fail("made twice"))
    assert {name: (dict(each.usable), each.dropped, each.truncated) for name, each in again.items()} == {
        name: (dict(each.usable), each.dropped, each.truncated) for name, each in made.items()
    }
    for name in made:  # in the order of the stage's file, which the plan's positions follow
        assert list(again[name].usable) == list(made[name].usable)


def test_another_digest_or_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    def make() -> dict[str, Encoded]:
        made.append(1)
        return {"a": Encoded({("a", 0): Example((1, 2), 1)}, 0, 0)}

    made: list[int] = []
    token_cache.kept(tmp_path, {"is": 1}, make)
    token_cache.kept(tmp_path, {"is": 2}, make)
    assert len(made) == 2
    for file in tmp_path.glob("*.safetensors"):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    assert token_cache.kept(tmp_path, {"is": 1}, make)["a"].usable["a", 0].ids == (1, 2)
    assert len(made) == 3
