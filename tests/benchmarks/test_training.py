"""The benchmarks run; what they measure is in benchmarks/README.md."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_training_benchmark_measures_every_way_that_needs_nothing_more(shared: Path) -> None:
    data = shared / "dev-reasoning-v2" / "traces.jsonl"
    options = ["--tiny", "--rounds", "1", "--steps", "1", "--data", str(data), "--ways", "original", "ours"]
    done = subprocess.run([sys.executable, BENCHMARKS / "training.py", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines()[3:]] == ["original", "ours"]
