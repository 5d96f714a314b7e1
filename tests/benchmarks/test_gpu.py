import re
import subprocess
import sys

import pytest
from helpers.commands import ROOT


@pytest.mark.slow
def test_the_script_measures_every_part_at_toy_size() -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--tiny", "--batch", "4", "--steps", "2", "--compiled", "no"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\w+, \w+|batch \d+), .*?\|", done.stdout, re.MULTILINE)
    assert "not measured" not in done.stdout, done.stderr
    for name in ("qwen, joined", "qwen, padded", "gemma, joined", "gemma, padded"):
        assert re.search(rf"^\| {name} \| [\d,]+ \|", done.stdout, re.MULTILINE), done.stdout
    assert rows == ["batch 1", "batch 32", "batch 256"]


def test_it_ends_when_its_minutes_are_over() -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--tiny", "--minutes", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == "limit: not measured, the 0 minutes are over"
