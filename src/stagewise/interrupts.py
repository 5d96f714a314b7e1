"""Signals that wait: Ctrl-C and SIGTERM are taken note of, and raised where what must not be broken off has ended.

with held() as stop:
    run_id = client.create_run(...)     # a signal that comes here is raised when the block ends
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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


@contextmanager
def held() -> Iterator[Stop]:
    """SIGINT and SIGTERM wait for the end of the block, and then do what they did before. The body may look at what
    is yielded and end early. Elsewhere than in the main thread, where Python gets no signals, nothing is held."""
    stop = Stop()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, stop.ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stop.number is not None:
            signal.raise_signal(stop.number)
