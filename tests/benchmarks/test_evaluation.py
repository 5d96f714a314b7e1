"""The benchmarks run: at a size where their figures mean nothing."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from helpers.models import loaded

from stagewise.model import loading

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_evaluation_benchmark_prints_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loading.save(loaded(), tmp_path / "blank")
    trace = {"steps": [], "final_answer": "42", "meta": {"category": "edge_case"}}
    traces = [trace | {"prompt": f"What is {n}?"} for n in range(8)]
    items = [{"id": str(n), "prompt": f"What is {n}+1?", "expected_answer": "42"} for n in range(4)]
    for name, rows in (("traces", traces), ("eval_v2", items)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    options = ["--blank", "blank", "--data", ".", "--cache", "cache", "--batch-size", "4", "--alone", "2"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluation.py", *options, "--max-new-tokens", "4"])
    runpy.run_path(str(BENCHMARKS / "evaluation.py"), run_name="__main__")
    table = capsys.readouterr().out
    assert "| ours, batch 4 " in table
    assert "2 of 2" in table
