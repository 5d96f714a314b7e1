"""The benchmark runs; what it measures is in benchmarks/README.md."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_benchmark_measures_every_way_alone_and_beside_busy_processes() -> None:
    options = ["--rounds", "1", "--seconds", "0.1", "--busy", "1", "--ways", "torch", "passive", "1000", "ours"]
    done = subprocess.run([sys.executable, BENCHMARKS / "busy.py", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[3:]]
    assert [row[0] for row in rows] == ["torch", "passive", "1000", "ours"]
    assert all(float(row[place].split()[0]) > 0 for row in rows for place in (1, 4))
