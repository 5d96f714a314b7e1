"""The readers against data made by others, where the machine has it."""

from pathlib import Path

import pytest

from stagewise.data.leakage import overlap, repeats
from stagewise.data.traces import parse_traces, read_items, read_traces

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no {SHARED.name} folder beside the repository")


def test_dev_reasoning_v2() -> None:
    path = SHARED / "dev-reasoning-v2" / "traces.jsonl"
    traces = read_traces(path)
    assert traces.sha256 == "56aec27205ca5521c7b29b583f3d5a5c16b689bcc7de8bce9cb60b666a20a86e"
    assert (len(traces.rows), traces.crlf, traces.final_newline) == (550, 0, True)
    assert traces.rebuilt() == path.read_bytes()
    assert len(repeats(traces.rows)) == 74
    categories = [trace.category for trace in traces.rows]
    assert [categories.count(name) for name in ("synthetic", "golden_style", "reasoning")] == [110, 35, 385]


def test_dev_reasoning_v2_as_a_windows_checkout_had_it() -> None:
    data = (SHARED / "dev-reasoning-v2" / "traces.jsonl").read_bytes().replace(b"\n", b"\r\n")
    traces = parse_traces(data, "traces.jsonl")
    assert traces.sha256 == "601441c0fd176437ff029348b4ae9323e551cf4349d4b3aac12b9e3fa76564ca"
    assert traces.crlf == 550


def test_no_eval_prompt_stands_in_the_traces() -> None:
    folder = SHARED / "dev-reasoning-v2"
    items = read_items(folder / "eval_v2.jsonl").rows
    assert len(items) == 100
    assert overlap(read_traces(folder / "traces.jsonl").rows, items) == []


@pytest.mark.parametrize(("name", "count"), [("train", 7473), ("test", 1319)])
def test_gsm8k(name: str, count: int) -> None:
    path = SHARED / "gsm8k" / f"{name}.jsonl"
    traces, items = read_traces(path, "gsm8k").rows, read_items(path, "gsm8k").rows
    assert len(traces) == len(items) == count
    assert all(trace.steps and trace.final_answer for trace in traces)
    assert not any("<<" in step.content or ">>" in step.content for trace in traces for step in trace.steps)
    assert [trace.final_answer for trace in traces] == [item.expected_answer for item in items]
