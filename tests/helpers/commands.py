"""The command line as a user has it: what it is given, its exit code, what it prints."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner
from conftest import Finished

from stagewise.cli import main

ROOT = Path(__file__).parents[2]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def stagewise(*arguments: str, **environment: str) -> Done:
    """The command in this process: starting one takes seconds, most of them torch's import."""
    before = dict(os.environ)
    try:
        result = CliRunner(env=environment).invoke(main, arguments)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Done(result.exit_code, result.stdout, result.stderr)


def in_a_process(*arguments: str, **environment: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "stagewise", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def of(finished: Finished, *arguments: str) -> Done:
    return stagewise(*arguments, **finished.store.environment)


def is_a_users_mistake(done: Done, expected: str, code: int = 2) -> None:
    assert done.returncode == code, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
