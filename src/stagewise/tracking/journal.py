"""Metrics by step, sent in batches from a thread of their own, so that training does not wait for a server.

with Journal(run) as journal:
    journal.add(step=1, values={"train/loss": 3.9})
# here every point is on the server, or an error was raised
"""

import queue
import threading
import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Self

from mlflow.entities import Metric

from stagewise.interrupts import Stop
from stagewise.tracking.calls import GRACE, call, noted
from stagewise.tracking.runs import ActiveRun

BATCH = 1000  # metrics that one request may carry
PAUSE = 5.0  # seconds between requests: each costs a store some ten milliseconds, however few the points


class Journal:
    def __init__(self, run: ActiveRun) -> None:
        self.run = run
        self.waiting: queue.SimpleQueue[Metric | None] = queue.SimpleQueue()
        self.added = self.sent = 0
        self.error: BaseException | None = None
        self.stop = Stop()
        self.thread = threading.Thread(target=self._send_all, daemon=True)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Takes note of the values. Raises what the sending of earlier ones raised."""
        if self.error is not None:
            raise self.error
        now = int(time.time() * 1000)
        for key, value in values.items():
            self.waiting.put(Metric(key, value, now, step))
            self.added += 1

    def _send_all(self) -> None:
        with noted("training goes on"):
            try:
                self._send_batches()
            except BaseException as error:  # handed to the thread that trains
                self.error = error

    def _send_batches(self) -> None:
        """Sends what waits, at most once a pause, until the end mark comes out of the queue."""
        ended = False
        while not ended:
            batch: list[Metric] = []
            deadline = time.monotonic() + PAUSE
            while len(batch) < BATCH and not ended and (left := deadline - time.monotonic()) > 0:
                try:
                    metric = self.waiting.get(timeout=left)
                except queue.Empty:
                    break
                if metric is None:
                    ended = True
                else:
                    batch.append(metric)
            if batch:
                call(partial(self.run.client.log_batch, self.run.id, metrics=batch), "log metrics", stop=self.stop)
                self.sent += len(batch)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._end(GRACE + 1)  # the body's own error comes first

    def close(self) -> None:
        """Waits until all is sent. Raises what went wrong in sending."""
        self._end(None)
        if self.error is not None:
            raise self.error
        if self.sent != self.added:
            raise AssertionError(f"{self.added} points were added and {self.sent} sent")

    def _end(self, seconds: float | None) -> None:
        """Waits for the thread; where there is little time, or a signal comes, it gives up a server that hangs."""
        self.waiting.put(None)
        if seconds is not None:
            self.stop.ask()
        try:
            self.thread.join(seconds)
        except KeyboardInterrupt:
            self.stop.ask()
            raise
