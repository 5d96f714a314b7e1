"""How threads of OpenMP wait: said before torch is loaded, left as the user chose it, and the bits are the same."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stagewise import pipeline
from stagewise.errors import ConfigError
from stagewise.training import openmp

SOURCE = Path(__file__).parents[2] / "src"
WITHOUT = {name: value for name, value in os.environ.items() if name not in openmp.CHOSEN}
TOLD = "GOMP_SPINCOUNT = '{}'"  # by libgomp itself, as torch loads it


def started(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = WITHOUT | {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": str(SOURCE)} | environment
    return subprocess.run([sys.executable, *arguments], env=given, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings libgomp on Linux alone")
def test_a_command_says_it_before_torch_is_loaded() -> None:
    done = started("-m", "stagewise", "train", "--config", "none", "--split-run", "a", "--phase", "0", "--seed", "1")
    assert "ConfigError: none: no such config file" in done.stderr
    assert TOLD.format(openmp.SPINCOUNT) in done.stderr


TRAINING = """
import hashlib
import torch

def trained():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(4):
        model(torch.randn(512, 256)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
"""


@pytest.mark.numeric
def test_the_weights_are_the_same_bits() -> None:
    """On two threads, here as this process was started, and in one that spins little."""
    code = (
        f"from stagewise.training.openmp import spin_little\nassert spin_little()\n{TRAINING}\ntorch.set_num_threads(2)"
    )
    done = started("-c", f"{code}\nprint(trained())")
    assert done.returncode == 0, done.stderr
    here: dict[str, Any] = {"hashlib": hashlib}
    exec(TRAINING, here)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert done.stdout.strip() == here["trained"]()
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As in a process that has said nothing yet."""
    for name in openmp.CHOSEN:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    openmp._in_time.cache_clear()
    yield openmp.spin_little
    openmp._in_time.cache_clear()


@pytest.mark.parametrize("name", openmp.CHOSEN)
def test_what_the_user_chose_is_left(name: str, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "42")
    before = dict(os.environ)
    assert fresh()
    assert os.environ == before


def test_once_torch_is_loaded_it_is_for_the_processes_started_alone(
    fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not fresh()
    assert os.environ[openmp.NAME] == openmp.SPINCOUNT
    monkeypatch.delenv(openmp.NAME)
    monkeypatch.delitem(sys.modules, "torch")
    assert not fresh(), "torch's threads have been started; a second call is as late as the first"
    openmp._in_time.cache_clear()
    monkeypatch.delenv(openmp.NAME)
    assert fresh()


@pytest.mark.parametrize(
    ("late", "threads", "launcher"),
    [(True, 2, "inline"), (False, 2, "inline"), (True, 1, "inline"), (True, 2, "project")],
)
def test_a_study_in_a_process_that_spins_says_so(
    late: bool,
    threads: int,
    launcher: str,
    write_config: Any,
    store: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(openmp, "spin_little", lambda: not late)
    server = {"url": "http://127.0.0.1:1/v1", "model": "one for all"}  # so that it ends before it begins
    config = write_config(
        compute={"threads": threads}, launcher=launcher, evaluation={"engine": "openai", "server": server}
    )
    with pytest.raises(ConfigError, match="one for all"):
        pipeline.run(config)
    assert (openmp.TOO_LATE in capsys.readouterr().out) == (late and threads > 1 and launcher == "inline")
