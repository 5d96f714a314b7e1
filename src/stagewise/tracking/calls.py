"""Calls of the tracking server: each waits out an outage, ends in one line, and is broken off by no signal half-way.

    call(partial(repository.list_artifacts, "report"), "list artifacts", store=uri)
    create(partial(store.create_run, …), "create run", find)

MLflow itself would send a request up to eight times, for four minutes, without a word, also one that makes something
and of which the answer was lost. Here a call is sent once; where that fails in a way that may pass, it is said at once
until when it is tried again, and what makes something first looks whether it is there already.

A call runs in a thread of its own. So a signal does not break off a write of SQLite's, which would leave its database
locked, and a server that hangs does not keep a process from ending.
"""

import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Generic, NoReturn, TypeVar, cast
from urllib.parse import urlparse

from stagewise import interrupts, progress
from stagewise.errors import ConfigError, TrackingError
from stagewise.interrupts import Stop, held
from stagewise.record.code import scrub
from stagewise.tracking.failures import Passing, Reading, read

T = TypeVar("T")

PATIENCE = "STAGEWISE_SERVER_PATIENCE"
SECONDS = 300.0  # of an outage that is waited out, unless PATIENCE says otherwise
NOTICE = 15.0  # seconds without an answer, after which it is said
GRACE = 2.0  # seconds that a call under way has to end after a signal
CLOSING = 4.0  # seconds after a signal, or after giving up, for all that is closed then
GONE = 1.0  # seconds for that where the server was waited for already
LEAST = 0.25  # seconds that any call is given
PAUSES = (0.1, 1.0, 2.0, 4.0, 8.0, 10.0)  # seconds between two tries; then as long as the last
POLL = 0.1  # seconds until a signal is seen


def patience() -> float:
    """Seconds for which a server that does not answer is tried again."""
    said = os.environ.get(PATIENCE, str(SECONDS))
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"{PATIENCE}: found {said!r}, expected a number of seconds, such as {SECONDS:.0f}")
    return seconds


class _Outage:
    """What this process knows of a server that fails: what was said of it, and whether it was given up."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.said = False
        self.given_up: float | None = None  # when, of time.monotonic

    def tell(self, line: str) -> None:
        """Says it, unless another call of the same outage has."""
        with self.lock:
            if not self.said and self.given_up is None:
                progress.warn(line)
            self.said = True

    def over(self, where: str) -> None:
        with self.lock:
            if self.said and self.given_up is None:
                progress.warn(f"! the {where} answers again at {datetime.now():%H:%M:%S}")
            self.said, self.given_up = False, None


_outages: dict[str, _Outage] = {}  # by what fails
_here = threading.local()  # `calling`: this thread is a call's; `note`: for the line of an outage
_closing: list[float] = []  # until when what is closed now is tried, of time.monotonic
_abandoned: list["_Attempt[Any]"] = []


def call(
    send: Callable[[], T],
    what: str,
    store: str | None = None,
    stop: Stop | None = None,
    long: bool = False,
    once: bool = False,
) -> T:
    """What `send` returns: `what` says in words what it does. `store` is an artifact store's address, where it is not
    the tracking server that is asked. A `long` call may take any time as long as bytes go to and fro. What must not
    happen twice is sent `once`.

    Raises `TrackingError` where the server is gone for longer than `patience`, or where trying again is no use;
    `KeyboardInterrupt` soon after a signal, or after `stop` was asked, if the call does not end by itself.
    """
    if inside():
        return send()
    with held() as signals:
        return _Call(send, what, _named(store), stop or signals, long, once).result()


def create(
    make: Callable[[], T], what: str, find: Callable[[], T | None], key: Callable[[T], object] = lambda made: True
) -> T:
    """What `make` makes on the server. An answer may get lost after the thing was made: so before it is sent again,
    `find` looks for it. An answer without `key`, the id that the server gives, counts as lost."""
    sent = False

    def send() -> T:
        nonlocal sent
        found = find() if sent else None
        sent = True
        made = make() if found is None else found
        if not key(made):
            raise ConnectionError("an answer without an id")
        return made

    return call(send, what)


def inside() -> bool:
    """Whether this thread is a call's: what it calls is part of that one."""
    return getattr(_here, "calling", False)


@contextmanager
def closing(waited: bool = False) -> Iterator[None]:
    """What is closed after a failure or a signal is tried briefly, all of it together; more briefly still where the
    server was `waited` for already, by another process."""
    seconds, now = GONE if waited else CLOSING, time.monotonic()
    since = signalled if now - (signalled := interrupts.latest()) < seconds else now
    _closing.append(since + seconds)
    try:
        yield
    finally:
        _closing.pop()


@contextmanager
def noted(note: str) -> Iterator[None]:
    """The line of an outage says this too, of calls in this thread: what goes on meanwhile."""
    _here.note = note
    try:
        yield
    finally:
        _here.note = ""


def forget() -> None:
    """A server that was given up is tried as long as any other."""
    _outages.clear()


def hanging() -> bool:
    """Whether a call that was given up is under way still: Python would wait for its threads before it ends."""
    return any(attempt.is_alive() for attempt in _abandoned)


class _Attempt(threading.Thread, Generic[T]):
    """One try, in a thread that does not keep the process from ending."""

    def __init__(self, send: Callable[[], T]) -> None:
        super().__init__(daemon=True, name="tracking call")
        self.send, self.context = send, contextvars.copy_context()
        self.over = threading.Event()
        self.value: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        _here.calling = True
        try:
            self.value = self.context.run(self.send)
        except BaseException as error:
            self.error = error
        self.over.set()


class _Call(Generic[T]):
    def __init__(self, send: Callable[[], T], what: str, where: str, stop: Stop, long: bool, once: bool) -> None:
        self.send, self.what, self.where, self.stop, self.long, self.once = send, what, where, stop, long, once
        self.outage = _outages.setdefault(where, _Outage())
        self.called = self.began = time.monotonic()
        self.since = datetime.now()  # it has not answered
        self.tries = 0

    def result(self) -> T:
        while True:
            attempt = _Attempt(self.send)
            attempt.start()
            found: Reading = Passing("no answer")
            if self._ended(attempt):
                if attempt.error is None:
                    self.outage.over(self.where)
                    return cast(T, attempt.value)
                found = read(attempt.error, self.where, self.what)
            if found is None:
                self.outage.over(self.where)
                raise cast(BaseException, attempt.error)
            if not isinstance(found, Passing):
                raise found from attempt.error
            self._again(found, attempt.error)

    def _ended(self, attempt: "_Attempt[T]") -> bool:
        """Waits for its end; False where it is given up."""
        while not attempt.over.wait(POLL):
            now = time.monotonic()
            told_to = self.stop.at is not None and now > self.stop.at + GRACE
            if told_to or (now > self._end() and (self._brief() or not self.long)):
                _abandoned.append(attempt)
                if told_to:
                    raise KeyboardInterrupt
                return False
            if not self.long and now > self.called + NOTICE:
                self._tell(Passing("no answer"))
        return True

    def _again(self, found: Passing, error: BaseException | None) -> None:
        """Waits before the next try. Raises `TrackingError` where there is none."""
        if self.long and not self.tries:
            self.began, self.since = time.monotonic(), datetime.now()  # until now bytes went to and fro
        pause = PAUSES[min(self.tries, len(PAUSES) - 1)]
        if self.tries:  # a first failure may be a connection that was kept for too long
            self._tell(found)
        self.tries += 1
        end = self._end()
        if self.once or time.monotonic() >= end:
            self._give_up(found, error)
        resume = min(time.monotonic() + pause, end)
        while self.stop.at is None and (left := resume - time.monotonic()) > 0:
            time.sleep(min(POLL, left))
        if self.stop.at is not None:
            raise KeyboardInterrupt

    def _end(self) -> float:
        """Until when it is tried, of time.monotonic."""
        if not self._brief():
            return self.began + patience()
        given_up = self.outage.given_up
        ends = [*_closing[:1], *([] if given_up is None else [given_up + GONE])]
        return max(min(ends), self.called + LEAST)

    def _brief(self) -> bool:
        return bool(_closing) or self.outage.given_up is not None

    def _tell(self, found: Passing) -> None:
        if self._brief():
            return
        until = self.since + timedelta(seconds=patience())
        note = getattr(_here, "note", "")
        fails = "fails" if found.answered else "does not answer"
        self.outage.tell(
            f"! the {self.where} {fails} since {self.since:%H:%M:%S} ({found.text}), trying again until "
            f"{until:%H:%M:%S}{f' ({note})' if note else ''}"
        )

    def _give_up(self, found: Passing, error: BaseException | None) -> NoReturn:
        if self.outage.given_up is None and not self.once:
            self.outage.given_up = time.monotonic()
        failed = "has failed" if found.answered else "has not answered"
        raise TrackingError(
            f"{self.where}: {failed} since {self.since:%H:%M:%S} ({found.text}), so it cannot {self.what}; what is "
            "done and what was saved is kept: rerun the same command once it answers"
        ) from error


def _named(store: str | None) -> str:
    """What is asked, as a person knows it."""
    place = urlparse(store or "")
    if place.scheme not in ("", "mlflow-artifacts", "http", "https"):
        return f"artifact store {f'{place.scheme}://{place.hostname}' if place.hostname else place.path}"
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return f"tracking {'server' if urlparse(uri).scheme in ('http', 'https') else 'database'} {scrub(uri)}"
