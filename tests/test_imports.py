"""What is only looked at stays light: a command loads no heavy library that it does not use."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Finished

from stagewise.tracking.records import download

HEAVY = ("torch", "transformers", "matplotlib", "statsmodels", "accelerate", "datasets")
MLFLOW = ("mlflow", "scipy", "pandas")  # scipy and pandas come with mlflow
PROGRAM = """
import sys
from stagewise.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    assert not end.code, end.code
loaded = [name for name in sys.argv[1].split() if name in sys.modules]
assert not loaded, loaded
"""


def runs(never: tuple[str, ...], *command: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, " ".join(never), *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [[], ["plan"], ["main"], ["verify"]], ids=" ".join)
def test_help_loads_nothing(command: list[str]) -> None:
    runs((*HEAVY, *MLFLOW, "numpy", "pydantic"), *command, "--help")


def test_scoring_a_file_loads_no_model_and_no_server(finished: Finished, tmp_path: Path) -> None:
    (evaluated, *_) = finished.runs("eval")
    (tmp_path / "p.jsonl").write_bytes(download(finished.client, evaluated.info.run_id, "predictions.jsonl"))
    runs((*HEAVY, "mlflow", "pandas"), "score", str(tmp_path / "p.jsonl"))


def test_gc_loads_no_model(store: Any) -> None:
    runs(HEAVY, "gc")


def test_lineage_loads_no_model(finished: Finished) -> None:
    runs(HEAVY, "lineage", "models:/tiny@flat-s1")


def test_a_split_is_verified_without_a_model(finished: Finished, tmp_path: Path) -> None:
    (split,) = (run.info.run_id for run in finished.runs("split"))
    runs(HEAVY, "verify", "--run-id", split)
