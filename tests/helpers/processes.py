"""Real processes that begin with everything imported.

    with Process(work, config) as process:      # a module's function, and what it is given
        process.line()                          # what it printed, line by line
        process.kill()

Importing torch and mlflow takes each process seconds, and a fork of one that did so none. They have the environment and
the working directory of the moment in which they are started, and nothing else of the test's.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from typing import Any, Self

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["stagewise.pipeline"])


class Process:
    """Its standard output can be read here; what it says on stderr appears on this one's."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        reading, writing = CONTEXT.Pipe(duplex=False)
        # By file and name: pytest imports tests under names that only it knows.
        named = function.__code__.co_filename, function.__name__
        given = writing, dict(os.environ), os.getcwd(), named, arguments
        self.process = CONTEXT.Process(target=_begin, args=given, daemon=True)
        self.process.start()
        writing.close()
        self.output = os.fdopen(os.dup(reading.fileno()))
        reading.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def line(self) -> str:
        """The next one; empty where it has ended."""
        return self.output.readline()

    def wait(self) -> str:
        """What it still printed, once it has ended."""
        rest = self.output.read()
        self.process.join()
        return rest

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    @property
    def code(self) -> int | None:
        """Its exit code, or minus the signal that ended it; none while it lives."""
        return self.process.exitcode


def _begin(output: Any, environment: dict[str, str], folder: str, named: tuple[str, str], arguments: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.dup2(output.fileno(), 1)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    path, name = named
    runpy.run_path(path)[name](*arguments)
    sys.stdout.flush()
