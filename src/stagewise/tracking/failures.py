"""What went wrong in a call of the tracking server or the artifact store, told from what MLflow raised.

    read(MlflowException("API request to … failed …"))  Passing("connection refused")     it may pass: try again
    read(RestException(PERMISSION_DENIED))              AccessError                        a person has to do something
    read(OperationalError("database or disk is full"))  TrackingError                      it will not pass by itself
    read(RestException(RESOURCE_DOES_NOT_EXIST))        None                               an answer like any other

MLflow wraps what happened once or twice, and artifact stores raise what their own clients raise; so the chain of
causes is walked from the outside, and the first link that tells anything counts.
"""

import errno
import re
from collections.abc import Iterator
from typing import NamedTuple

import requests
from mlflow.exceptions import MlflowException, RestException
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from stagewise.credentials import public
from stagewise.errors import DISK, AccessError, TrackingError

LONGEST = 300  # characters of what a server said
PASSING = {408, 429, 500, 502, 503, 504}  # HTTP statuses after which another try may succeed
ANSWERS = {None, 400, 404, 501}  # and those that say something of what was asked for
NO_JSON = re.compile(r"API request to endpoint (?:\S+ failed with error code (\d+) !=|was successful but)")
"""How MLflow's client tells of an answer that is no JSON, as a server's of its own is."""
STATUSES = {  # of MLflow's error codes those that say it is not an answer; the others name what was asked for
    "UNAUTHENTICATED": 401,
    "CUSTOMER_UNAUTHORIZED": 401,
    "PERMISSION_DENIED": 403,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
WRAPPERS = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "BAD_REQUEST"}
"""Codes under which MLflow hands on what its store or its HTTP client raised."""
FULL = re.compile(r"disk is full|no space left|disk full|could not extend file|quota exceeded", re.IGNORECASE)
READ_ONLY = re.compile(r"read-?only (?:database|transaction|file system)", re.IGNORECASE)
BROKEN = re.compile(r"disk I/O error|malformed|not a database|unable to open database file", re.IGNORECASE)
LOGIN = re.compile(r"authentication failed|access denied|no pg_hba\.conf entry|no password supplied", re.IGNORECASE)
DENIED = re.compile(r"permission denied|must be owner of|insufficient privilege", re.IGNORECASE)
TWICE = re.compile(r"UNIQUE constraint failed|duplicate key value")
S3_LOGIN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"}
S3_DENIED = {"AccessDenied", "AllAccessDisabled", "403", "NoSuchBucket"}


class Passing(NamedTuple):
    """A failure that may pass: nobody answers, or the answer is that it cannot be done now."""

    text: str
    answered: bool = False


Reading = Passing | TrackingError | None


def read(error: BaseException, where: str, what: str) -> Reading:
    """What `error` means, raised by the call `what` ("create run") of the service `where`.

    None where it is an answer to what was asked, or a failure of ours; a `TrackingError` where trying again is no use.
    """
    if isinstance(error, MlflowException) and (found := _of_another(error, where, what)):
        return found
    if isinstance(error, MlflowException) and error.error_code not in WRAPPERS | STATUSES.keys():
        return None
    for link in _chain(error):
        found = _of_status(link, where, what) or _of_database(link, where, what) or _of_s3(link, where, what)
        if found := found or _of_system(link, where, what):
            return found
    return None


def in_short(error: BaseException | str) -> str:
    """One line of what was said, without what a record may not hold."""
    line = public(" ".join(str(error).split())) or type(error).__name__
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _of_another(error: MlflowException, where: str, what: str) -> Reading:
    """By an answer that no server of MLflow's gives, but a proxy, a login page or another service in its place."""
    text = str(error)
    if isinstance(error, RestException):
        return None if "error_code" in error.json else _no_answer(where, what, text)
    if match := NO_JSON.match(text):
        status = int(match[1] or 200)
        if status in (401, 403) or status in PASSING:
            return None
        return Passing(f"HTTP {status}", answered=True) if status >= 500 else _no_answer(where, what, text)
    return None


def _no_answer(where: str, what: str, said: str) -> AccessError:
    return AccessError(
        f"{where}: found what is no answer of MLflow's to {what} ({in_short(said)}); see where MLFLOW_TRACKING_URI "
        "leads, to a tracking server of this release of MLflow or to something before it, and rerun the same command"
    )


def _of_status(error: BaseException, where: str, what: str) -> Reading:
    """By the status of an HTTP answer, if there was one."""
    status = _status(error)
    if status == 401:
        return AccessError(
            f"{where}: refuses the credentials ({in_short(error)}); set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and rerun the same command"
        )
    if status == 403:
        return AccessError(
            f"{where}: no permission to {what} ({in_short(error)}); ask whoever runs it for the permission, or use "
            "another account, and rerun the same command"
        )
    if status in PASSING or (status or 0) >= 520:  # which a proxy says where no server answers it
        return Passing(f"HTTP {status}", answered=True)
    return None if status in ANSWERS else _no_answer(where, what, str(error))


def _status(error: BaseException) -> int | None:
    if isinstance(error, requests.exceptions.RetryError):  # MLflow has its client make an error of these statuses
        found = re.search(r"too many (\d+) error responses", str(error))
        return int(found[1]) if found else None
    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return int(error.response.status_code)
    if isinstance(error, MlflowException) and error.__cause__ is None:
        return STATUSES.get(error.error_code)
    return None


def _of_database(error: BaseException, where: str, what: str) -> Reading:
    """By what a database said, here or, quoted, behind a server."""
    text = str(error)
    quoted = isinstance(error, MlflowException) and re.search(r"\((?:sqlite3|psycopg2?|pymysql)\.", text)
    if not isinstance(error, DBAPIError) and not quoted:
        return None
    if FULL.search(text):
        return _full(where, error)
    if READ_ONLY.search(text):
        return TrackingError(
            f"{where}: is read-only, so it cannot {what} ({_said(text)}); make it writable, and rerun the same command"
        )
    if BROKEN.search(text):
        return TrackingError(f"{where}: the database cannot be used ({_said(text)}); repair it, or name another one")
    if LOGIN.search(text):
        return AccessError(f"{where}: refuses the login ({_said(text)}); mend MLFLOW_TRACKING_URI")
    if DENIED.search(text):
        return AccessError(f"{where}: no permission to {what} ({_said(text)}); ask whoever runs the database for it")
    # Of two that log the same dataset at once, one finds it when it asks again.
    passing = isinstance(error, OperationalError | InterfaceError) or TWICE.search(text)
    return Passing(_said(text)) if passing else None


def _said(text: str) -> str:
    """Of a database's error the first line, without the statement that follows."""
    return in_short(text.splitlines()[0])


def _full(where: str, error: BaseException) -> TrackingError:
    return TrackingError(
        f"{where}: its disk is full ({_said(str(error))}); make room, and rerun the same command to resume from "
        "the last save"
    )


def _of_s3(error: BaseException, where: str, what: str) -> Reading:
    """By what Amazon's client raised, which is installed only where it is used."""
    if not type(error).__module__.startswith(("botocore.", "boto3.")):
        return None
    name, answer = type(error).__name__, getattr(error, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code", ""))
    if code in S3_LOGIN or "Credentials" in name:
        return AccessError(
            f"{where}: refuses the credentials ({in_short(error)}); set AWS's own, AWS_ACCESS_KEY_ID and so on"
        )
    if code in S3_DENIED:
        return AccessError(f"{where}: no permission to {what} ({in_short(error)}); ask whoever runs the store for it")
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    nobody = "Connect" in name or "Timeout" in name or name in ("HTTPClientError", "ConnectionClosedError")
    return Passing(in_short(error)) if nobody or status in PASSING else None


def _of_system(error: BaseException, where: str, what: str) -> Reading:
    """By what the network or a disk of this machine said."""
    if isinstance(error, requests.exceptions.SSLError):
        return AccessError(
            f"{where}: its certificate is not accepted ({in_short(error)}); see MLFLOW_TRACKING_SERVER_CERT_PATH"
        )
    if isinstance(error, (requests.exceptions.ConnectionError, requests.exceptions.Timeout)):
        return Passing(_root(error))
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return Passing("the answer broke off")
    if not isinstance(error, OSError) or isinstance(error, requests.exceptions.RequestException):
        return None
    if error.errno in DISK:
        said = f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
        return TrackingError(f"{where}: cannot {what}: {said}; make room or repair it, and rerun the same command")
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessError(f"{where}: no permission to {what}: {error.filename}: {error.strerror}")
    return Passing(_root(error)) if isinstance(error, (ConnectionError, TimeoutError)) else None


def _root(error: BaseException) -> str:
    """What the system said beneath a broken connection: "connection refused"."""
    for link in _chain(error):
        if isinstance(link, OSError) and link.strerror and not isinstance(link, requests.exceptions.RequestException):
            return in_short(link.strerror).lower()
    if isinstance(error, (requests.exceptions.Timeout, TimeoutError)):
        return "no answer in time"
    return "the connection broke"
