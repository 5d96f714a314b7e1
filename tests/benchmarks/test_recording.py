import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import TINY

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_recording_benchmark_prints_its_two_tables(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(TINY | {"arms": ["flat"]}))
    options = ["--tiny", "--config", str(tmp_path / "study.yaml")]
    done = subprocess.run([sys.executable, BENCHMARKS / "recording.py", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "A phase of 208 steps, a checkpoint of" in done.stdout
    assert "share of the study" in done.stdout
    assert done.stdout.count("| **together** |") == 2
