"""The benchmark runs, at a size where its figures mean nothing but for memory."""

import re
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "hashing.py"


def test_the_hashing_benchmark_prints_its_table_and_memory_stays_small() -> None:
    options = ["--size", "1", "--rounds", "1", "--large", "1"]
    done = subprocess.run([sys.executable, str(BENCHMARK), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\| (?:folder|weights)_digest.* \d+% \|$", done.stdout, re.MULTILINE)) == 3
    peaks = [int(found) for found in re.findall(r"peak (\d+) MiB", done.stdout)]
    assert len(peaks) == 2
    assert max(peaks) < 300
