"""Signals, for as long as a block lasts.

with handled(note, signal.SIGTERM):     # another handler; the one from before comes back
    ...
with held() as stop:                    # they wait: what comes here is raised when the block ends
    run_id = client.create_run(...)
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | signal.Handlers

_latest = [0.0]  # when a signal was last taken note of, of time.monotonic


class Stop:
    """Whether, and when, the work was told to stop."""

    def __init__(self) -> None:
        self.at: float | None = None  # of time.monotonic
        self.number: int | None = None

    def ask(self, number: int | None = None, frame: FrameType | None = None) -> None:
        """Takes note; the first time counts."""
        if self.at is None:
            self.at, self.number = time.monotonic(), number
        if number is not None:
            _latest[0] = time.monotonic()


def latest() -> float:
    """When a signal last had to wait, of time.monotonic."""
    return _latest[0]


def on_main_thread() -> bool:
    """Where Python delivers signals, and allows handlers."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def handled(handler: Handler | None, *numbers: int) -> Iterator[None]:
    """These signals go to `handler`; with None they stay as they are. Afterwards they have the handlers that they had
    before, whoever changed them. Elsewhere than in the main thread nothing is done."""
    before = {number: signal.getsignal(number) for number in numbers} if on_main_thread() else {}
    for number in before if handler is not None else ():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def held() -> Iterator[Stop]:
    """SIGINT and SIGTERM wait for the end of the block, and then do what they did before. The body may look at what
    is yielded and end early. A signal that is ignored stays ignored."""
    stop = Stop()
    caught = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    try:
        with handled(stop.ask, *caught):
            yield stop
    finally:
        if stop.number is not None:
            signal.raise_signal(stop.number)
