import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewise.config import Split
from stagewise.curriculum import stages as split
from stagewise.curriculum.signals import SIGNALS
from stagewise.data.traces import Dataset, Step, Trace, parse_items, parse_traces, read_items, read_traces, trace_line
from stagewise.errors import DataError
from stagewise.hashing import sha256

ORIGINAL = Split.model_validate(
    {
        "stages": [
            {"name": "a", "rules": [{"category": ["synthetic", "golden_style"]}]},
            {"name": "b", "rules": [{"category": ["reasoning"], "steps": {"max": 3}}]},
            {"name": "c", "rules": [{"category": ["reasoning"], "steps": {"min": 4}}, {"category": ["edge_case"]}]},
        ]
    }
)


def source(*shapes: tuple[str, int], ending: bytes = b"\n") -> Dataset[Trace]:
    """Traces of these categories and numbers of steps."""
    lines = [
        trace_line(
            f"question {row}", [Step("s", "x" * (index + 1)) for index in range(steps)], "1", {"category": category}
        )
        for row, (category, steps) in enumerate(shapes)
    ]
    return parse_traces(ending.join(lines) + ending, "test.jsonl")


def no_tokens(texts: Any) -> list[int]:
    raise AssertionError("tokens were counted although no rule asks for them")


def assign(data: Dataset[Trace], rules: Split = ORIGINAL, drop: bool = False) -> split.Stages:
    return split.assign(data, rules, drop, no_tokens)


def rebuild(rows: dict[str, Any], files: dict[str, bytes]) -> bytes:
    """The source from rows.json and the stages, as a stranger would write it from the docs."""
    lines = {entry["row"]: entry["line"].encode() for entry in rows["dropped"]}
    for name, positions in rows["stages"].items():
        lines.update(zip(positions, [line.removesuffix(b"\r") for line in files[name].split(b"\n")[:-1]], strict=True))
    crlf = set(rows["crlf_rows"])
    data = b"".join(lines[row] + (b"\r\n" if row in crlf else b"\n") for row in sorted(lines))
    return data if rows["final_newline"] else data[:-1]


def test_the_original_split_is_found_again_byte_for_byte_in_under_a_second(shared: Path) -> None:
    started = time.perf_counter()
    stages = assign(read_traces(shared / "dev-reasoning-v2" / "traces.jsonl"))
    digests = {name: (len(traces), sha256(stages.file(name))) for name, traces in stages.traces.items()}
    assert time.perf_counter() - started < 1
    assert digests == {
        "a": (145, "35ecabff6c240ada8090a52249075648f28468e9a024c9bc9bb69ae00d8e620c"),
        "b": (64, "e6561999ee2b37fef40f0f9e719e084e442ed962fa2145de22e063edb23f0509"),
        "c": (341, "aa4e3497276dde6a98427770d46575aa0f0484463d62ba9a38fc7092bf77cc33"),
    }


def test_the_originals_counts_are_in_the_stats(shared: Path) -> None:
    folder = shared / "dev-reasoning-v2"
    data, items = read_traces(folder / "traces.jsonl"), read_items(folder / "eval_v2.jsonl")
    stats = split.stats(data, items, assign(data), [])
    assert stats["source"]["exact_repeats"] == 74
    assert stats["source"]["categories"] == {"edge_case": 20, "golden_style": 35, "reasoning": 385, "synthetic": 110}
    assert stats["stages"]["b"]["steps"] == {"3": 64}
    assert stats["source"]["sha256"] == "56aec27205ca5521c7b29b583f3d5a5c16b689bcc7de8bce9cb60b666a20a86e"


@given(
    st.lists(st.tuples(st.sampled_from(["synthetic", "reasoning", "edge_case"]), st.integers(1, 6)), max_size=20),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_stages_and_rows_give_the_source_again(
    shapes: list[tuple[str, int]], ending: bytes, drop: bool, final_newline: bool
) -> None:
    data = source(
        ("synthetic", 1), ("reasoning", 3), ("reasoning", 4), *shapes, ("synthetic", 1), ending=ending
    ).rebuilt()
    # A repeat, so that there is something to drop, and a last line that may lack its end.
    data += data.split(b"\n")[0] + b"\n"
    data = data if final_newline else data[:-1].removesuffix(b"\r")
    parsed = parse_traces(data, "test.jsonl")
    stages = assign(parsed, drop=drop)
    assert len(stages.dropped) == int(drop)
    files = {name: stages.file(name) for name in stages.traces}
    assert rebuild(split.rows(parsed, stages), files) == data
    assert split.rebuilt(split.rows(parsed, stages), files) == data


def test_a_trace_of_no_stage_is_shown() -> None:
    data = source(("synthetic", 1), ("reasoning", 2), ("reasoning", 4), ("poetry", 2))
    with pytest.raises(DataError, match=r"1 of 4 traces(.|\n)*line 4 matches no stage: category poetry, 2 steps"):
        assign(data)
    rest = ORIGINAL.model_copy(update={"unmatched": "b"})
    assert [trace.row for trace in assign(data, rest).traces["b"]] == [1, 3]


def test_a_trace_of_two_stages_is_shown() -> None:
    rules = ORIGINAL.model_dump()
    rules["stages"][1]["rules"][0]["steps"] = {"max": 4}
    with pytest.raises(DataError, match="line 3 matches stages b and c"):
        assign(source(("synthetic", 1), ("reasoning", 2), ("reasoning", 4)), Split.model_validate(rules))


def test_a_stage_without_traces_is_an_error() -> None:
    with pytest.raises(DataError, match=r"stage b gets no trace \(a 1, b 0, c 1\)"):
        assign(source(("synthetic", 1), ("reasoning", 4)))


def quantiles(signal: str, *cuts: float) -> Split:
    stages = [{"name": f"s{index}"} for index in range(len(cuts) + 1)]
    return Split.model_validate({"stages": stages, "quantiles": {"signal": signal, "cuts": cuts}})


def test_quantiles_cut_at_values_that_occur_and_ties_stay_together() -> None:
    data = source(*[("reasoning", steps) for steps in (1, 2, 2, 2, 3, 6)])
    stages = assign(data, quantiles("steps", 0.5))
    assert stages.thresholds == [2]
    assert [len(traces) for traces in stages.traces.values()] == [4, 2]
    text = split.criteria(quantiles("steps", 0.5), stages)
    assert "**s0**: at most 2 steps. 4 traces." in text
    assert "**s1**: more than 2 steps. 2 traces." in text


def test_difficulty_may_be_counted_in_characters_or_tokens() -> None:
    data = source(("reasoning", 1), ("reasoning", 3))
    assert SIGNALS["characters"](data.rows, no_tokens) == [len("x\n1"), len("x\nxx\nxxx\n1")]
    assert SIGNALS["tokens"](data.rows, lambda texts: [7 for _ in texts]) == [7, 7]


def test_the_criteria_are_said_in_words() -> None:
    text = split.criteria(ORIGINAL, assign(source(("synthetic", 1), ("reasoning", 2), ("edge_case", 4))))
    assert "- **a**: category synthetic or golden_style. 1 traces." in text
    assert "- **b**: category reasoning with at most 3 steps. 1 traces." in text
    assert "- **c**: category reasoning with at least 4 steps; or category edge_case. 1 traces." in text


def test_line_endings_are_counted() -> None:
    data = source(("synthetic", 1), ("reasoning", 2), ("edge_case", 4), ending=b"\r\n")
    item = {"id": "1", "prompt": "p", "expected_answer": "1"}
    stats = split.stats(data, parse_items(json.dumps(item).encode(), "eval"), assign(data), [])
    assert stats["source"]["crlf_lines"] == 3
    assert split.rows(data, assign(data))["crlf_rows"] == [0, 1, 2]
