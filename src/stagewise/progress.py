"""What a person sees while a study runs: a line where a step starts, a line where it ends, a bar between.

▸ train c2 s42 · curriculum phase 2 of 3: 128 examples in 32 steps
✓ train c2 s42 · loss 0.291, 2,310 tokens/s · 28.4 s
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

from stagewise.errors import printable


def say(line: str) -> None:
    click.echo(printable(line, keep="\n"))
    sys.stdout.flush()


def warn(line: str) -> None:
    """On stderr: what a person has to know at once, and a program that reads the output must not get."""
    click.echo(printable(line), err=True)


def confirmed(question: str) -> bool | None:
    """Whether a person agrees; None where there is no terminal to ask on."""
    return click.confirm(printable(question), default=False) if sys.stdin.isatty() else None


@contextmanager
def step(name: str, doing: str) -> Iterator[list[str]]:
    """Says that a step starts and, with what its body appended to the yielded list, that it has ended."""
    say(f"▸ {name}: {doing}")
    started, results = time.perf_counter(), list[str]()
    yield results
    say(f"✓ {name}: {', '.join([*results, f'{time.perf_counter() - started:.1f} s'])}")


class Bar:
    """A progress bar on a terminal; elsewhere a line at each quarter, with the rate and the time that is left."""

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit, self.count, self.quarter = total, unit, 0, 0
        self.started = time.perf_counter()
        self.bar = tqdm(total=total, unit=f" {unit}", leave=False) if sys.stderr.isatty() else None

    def advance(self, count: int = 1, note: str = "") -> None:
        self.count += count
        if self.bar is not None:
            self.bar.update(count)
            self.bar.set_postfix_str(note)
        elif (quarter := 4 * self.count // self.total) > self.quarter:
            self.quarter = quarter
            if quarter < 4:  # the end has its own line
                parts = [f"{self.count:,} of {self.total:,} {self.unit}", self._pace(), note]
                say(f"  {', '.join(part for part in parts if part)}")

    def _pace(self) -> str:
        seconds = time.perf_counter() - self.started
        if seconds < 1:
            return ""  # too early to tell
        left = seconds * (self.total - self.count) / self.count
        return f"{self.count / seconds:,.1f}/s, about {left:,.0f} s left"

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
