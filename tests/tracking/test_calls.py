"""A call of the tracking server that fails, hangs, or is interrupted."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.utils.rest_utils import verify_rest_response

from stagewise.errors import AccessError, ConfigError, TrackingError
from stagewise.interrupts import Stop, held
from stagewise.tracking import calls
from stagewise.tracking.calls import call, closing, create, noted
from stagewise.tracking.client import Client


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv(calls.PATIENCE, "0.5")
    monkeypatch.setattr(calls, "PAUSES", (0.01,))
    monkeypatch.setattr(calls, "GRACE", 30.0)
    monkeypatch.setattr(calls, "CLOSING", 1.0)
    calls.forget()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started in the background ignores it
    yield
    signal.signal(signal.SIGINT, before)
    calls.forget()


def gone() -> Any:
    raise MlflowException("API request to http://… failed") from requests.exceptions.ConnectionError()


def failing(times: int, value: Any = "value", error: Callable[[], Any] = gone) -> Callable[[], Any]:
    """Fails so often, and then returns the value."""
    left = [times]

    def send() -> Any:
        left[0] -= 1
        return error() if left[0] >= 0 else value

    return send


def interrupt(after: float, number: int = signal.SIGINT) -> None:
    threading.Timer(after, os.kill, (os.getpid(), number)).start()


def test_a_call_returns_what_it_is_answered(capfd: Any) -> None:
    assert call(lambda: 5, "get run") == 5
    with pytest.raises(KeyError):
        call(lambda: {}["x"], "get run")  # type: ignore[index]
    with pytest.raises(RestException):
        call(failing(1, error=refusal("RESOURCE_DOES_NOT_EXIST")), "get run")
    assert capfd.readouterr() == ("", "")


def test_one_failure_is_tried_again_without_a_word(capfd: Any) -> None:
    assert call(failing(1), "get run") == "value"
    assert capfd.readouterr().err == ""


def test_an_outage_is_said_at_once_with_its_end_and_that_it_is_over(
    capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(calls.PATIENCE, "300")
    with noted("training goes on"):
        assert call(failing(2), "log batch") == "value"
    first, second = capfd.readouterr().err.splitlines()
    words = first.split()
    since, until = (
        datetime.strptime(each.strip("(),"), "%H:%M:%S") for each in words if each.count(":") == 2 and "/" not in each
    )
    assert (until - since).seconds == 300
    assert first.startswith("! the tracking server http://127.0.0.1:1 does not answer since ")
    assert first.endswith("(training goes on)")
    assert second.startswith("! the tracking server http://127.0.0.1:1 answers again at ")


def test_a_server_that_is_gone_for_good_is_one_line(capfd: Any) -> None:
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        call(gone, "create run")
    assert time.monotonic() - began < 3
    said = str(caught.value)
    assert "so it cannot create run" in said
    assert "rerun the same command" in said
    assert "\n" not in said
    assert "secret" not in said
    assert caught.value.exit_code == 6
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_once_given_up_everything_else_is_tried_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrackingError):
        call(gone, "log batch")
    monkeypatch.setenv(calls.PATIENCE, "100")
    began = time.monotonic()
    for hangs in (gone, lambda: time.sleep(20)):
        with pytest.raises(TrackingError):
            call(hangs, "update run")
    assert time.monotonic() - began < 3
    assert call(failing(0), "get run") == "value"  # it is back
    assert call(failing(2), "get run") == "value"  # so it is waited for again


def test_closing_is_brief_however_much_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.PATIENCE, "100")
    began = time.monotonic()
    with closing():
        for send in (gone, lambda: time.sleep(20), gone, lambda: time.sleep(20)):
            with pytest.raises(TrackingError):
                call(send, "update run")
    assert time.monotonic() - began < 3
    assert calls.hanging()


def test_a_hanging_server_is_given_up_at_the_deadline_and_said_to_hang(
    capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "NOTICE", 0.2)
    with pytest.raises(TrackingError, match=r"\(no answer\)"):
        call(lambda: time.sleep(20), "get run")
    assert "does not answer since" in capfd.readouterr().err


def test_a_long_transfer_may_take_longer_than_the_patience() -> None:
    assert call(lambda: time.sleep(0.8) or "done", "log artifact", long=True) == "done"  # type: ignore[func-returns-value]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [gone, lambda: time.sleep(20)], ids=["gone", "hangs"])
def test_a_signal_ends_it_whatever_the_server_does(
    number: int, send: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(calls.PATIENCE, "100")
    monkeypatch.setattr(calls, "GRACE", 0.5)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    interrupt(0.3, number)
    with pytest.raises(KeyboardInterrupt):
        call(send, "get run")
    assert time.monotonic() - began < 5
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_for_a_call_under_way(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a write of SQLite's, which a KeyboardInterrupt would leave with its lock held."""
    monkeypatch.setenv(calls.PATIENCE, "100")
    path = tmp_path / "some.db"
    sqlite3.connect(path).execute("create table t (x)").connection.commit()

    def write() -> None:
        connection = sqlite3.connect(path)
        connection.execute("insert into t values (1)")
        time.sleep(0.6)
        connection.commit()

    interrupt(0.2)
    with pytest.raises(KeyboardInterrupt):
        call(write, "log batch")
    other = sqlite3.connect(path, timeout=0)
    assert other.execute("select count(*) from t").fetchone() == (1,)
    other.execute("insert into t values (2)").connection.commit()


def test_what_comes_back_before_a_held_signal_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.PATIENCE, "100")
    made: list[str] = []

    def body() -> None:
        with held():
            interrupt(0.1)
            made.append(call(lambda: time.sleep(0.4) or "run", "create run"))  # type: ignore[func-returns-value]
            made.append("kept")

    with pytest.raises(KeyboardInterrupt):
        body()
    assert made == ["run", "kept"]


def test_a_thread_that_is_told_to_stop_gives_its_call_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.PATIENCE, "100")
    stop, raised = Stop(), []

    def work() -> None:
        try:
            call(gone, "log batch", stop=stop)
        except KeyboardInterrupt as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    stop.ask()
    thread.join(5)
    assert raised


def test_what_was_made_before_its_answer_was_lost_is_found_and_not_made_again() -> None:
    made: list[str] = []

    def make() -> str:
        made.append("run")
        return gone() if len(made) == 1 else "another"

    assert create(make, "create run", lambda: made[0] if made else None) == "run"
    assert made == ["run"]
    assert create(failing(2), "create run", lambda: None) == "value"  # nothing was made: sent again


def test_what_makes_something_is_not_sent_again_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def create_prompt(self: Any, name: str) -> Any:
        made.append(1)
        return gone()

    monkeypatch.setattr(MlflowClient, "create_prompt", create_prompt)
    with pytest.raises(TrackingError):
        Client(tracking_uri="http://127.0.0.1:1").create_prompt("0")
    assert made == [1]


def refusal(code: str, message: str = "no") -> Callable[[], Any]:
    def refuse() -> Any:
        raise RestException({"error_code": code, "message": message})

    return refuse


def nested(error: BaseException, code: str = "TEMPORARILY_UNAVAILABLE") -> Callable[[], Any]:
    def fail() -> Any:
        raise RestException({"error_code": code, "message": str(error)}) from error

    return fail


def database(text: str, kind: str = "OperationalError") -> BaseException:
    from sqlalchemy import exc

    made: BaseException = getattr(exc, kind)("INSERT", {}, sqlite3.OperationalError(text))
    return made


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def answer(status: int) -> BaseException:
    response = requests.Response()
    response.status_code = status
    return requests.exceptions.HTTPError(f"{status} for url", response=response)


def page(status: int, body: str = "<html>\nLog in", path: str = "/api/2.0/mlflow/runs/update") -> Callable[[], Any]:
    """What MLflow's client makes of an answer that no server of its own gives."""

    def fail() -> Any:
        response = requests.Response()
        response.status_code, response._content = status, body.encode()
        verify_rest_response(response, path)

    return fail


@pytest.mark.parametrize(
    ("send", "kind", "said"),
    [
        (refusal("PERMISSION_DENIED"), AccessError, "no permission to update run"),
        (refusal("UNAUTHENTICATED"), AccessError, "refuses the credentials .* set MLFLOW_TRACKING_USERNAME"),
        (raising(answer(401)), AccessError, "refuses the credentials"),
        (raising(answer(403)), AccessError, "no permission"),
        (nested(database("database or disk is full")), TrackingError, "its disk is full"),
        (nested(database("attempt to write a readonly database")), TrackingError, "is read-only"),
        (refusal("BAD_REQUEST", "(psycopg2.errors.ReadOnlySqlTransaction) cannot execute INSERT in a read-only "
                 "transaction\n[SQL: …"), TrackingError, "is read-only"),
        (nested(database("permission denied for table runs", "ProgrammingError"), "BAD_REQUEST"), AccessError,
         "no permission to update run"),
        (nested(database('password authentication failed for user "x"')), AccessError, "refuses the login"),
        (page(200), AccessError, "what is no answer of MLflow's to update run .* see where MLFLOW_TRACKING_URI leads"),
        (page(302), AccessError, "what is no answer of MLflow's to update run .*302"),
        (page(404), AccessError, "what is no answer of MLflow's to update run .*404"),
        (page(418), AccessError, "what is no answer of MLflow's to update run .*418"),
        (page(404, '{"detail": "Not Found"}'), AccessError, "what is no answer of MLflow's to update run .*Not Found"),
        (page(401), AccessError, "refuses the credentials"),
        (raising(answer(418)), AccessError, "what is no answer of MLflow's to update run .*418"),
        (raising(OSError(28, "No space left on device", "/x/y")), TrackingError, "/x/y: No space left on device"),
        (raising(PermissionError(13, "Permission denied", "/x/y")), AccessError, "/x/y: Permission denied"),
    ],
)  # fmt: skip
def test_what_does_not_pass_by_itself_ends_at_once_in_one_line(
    send: Callable[[], Any], kind: type[TrackingError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(calls.PATIENCE, "100")
    with pytest.raises(kind, match=said) as caught:
        call(send, "update run")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == (2 if kind is AccessError else 6)


@pytest.mark.parametrize(
    "send",
    [
        failing(2, error=nested(database("database is locked"))),
        failing(2, error=raising(answer(503))),
        failing(2, error=raising(requests.exceptions.RetryError("too many 500 error responses"))),
        failing(2, error=raising(requests.exceptions.ReadTimeout())),
        failing(2, error=page(520)),
        failing(2, error=raising(answer(522))),
        failing(2, error=raising(ConnectionResetError(104, "reset"))),
    ],
)
def test_what_may_pass_is_tried_again(send: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.PATIENCE, "100")
    assert call(send, "update run") == "value"


@pytest.mark.parametrize("said", ["soon", "-1", "nan", "inf"])
def test_a_patience_that_is_none_is_a_mistake(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.PATIENCE, said)
    with pytest.raises(ConfigError, match="STAGEWISE_SERVER_PATIENCE: found"):
        call(gone, "get run")
