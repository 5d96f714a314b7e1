"""What ends a command in one readable line, and with which exit code.

A subclass of `UserError` is something that its reader can mend: `cli` prints its text without a traceback and exits
with the class's `exit_code`. Anything else is a failure of ours and keeps its traceback.

    DataError: traces.jsonl: line 3, field "steps": found a string, expected a list of steps

Exit codes, the same for every command:

    0    done
    1    a failure of ours, with a traceback
    2    a mistake, a permission or a credential: the user changes something first
    6    the tracking server, the artifact store or a disk failed: rerun the same command
    130  interrupted (Ctrl-C, SIGTERM): rerun the same command
"""

import errno

FAILED = 6
INTERRUPTED = 130
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
"""What a disk answers that is full, broken or mounted read-only."""


class UserError(Exception):
    """A mistake of the user's: where, what was found, what was expected, what to do."""

    exit_code = 2

    def __str__(self) -> str:
        return printable(super().__str__(), keep="\n")


class ConfigError(UserError):
    """The config asks for something that does not exist or does not fit."""


class DataError(UserError):
    """A dataset is not what its reader was promised."""


class ModelError(UserError):
    """A model source or checkpoint cannot be used."""


class LineageError(UserError):
    """A run id given as an input is unknown, of the wrong kind, unfinished or altered."""


class TrackingError(UserError):
    """The tracking server or the artifact store fails: it does not answer, or answers what cannot be."""

    exit_code = FAILED


class AccessError(TrackingError):
    """The tracking server or the artifact store refuses: an address, a credential or a permission is not right."""

    exit_code = 2


class DiskError(UserError):
    """A disk of this machine is full, broken or read-only."""

    exit_code = FAILED


class TrainingError(UserError):
    """Training cannot go on: a loss that is not finite, an example that does not fit."""


class CodeError(UserError):
    """The code that would run is not what the config asks for."""


class SecretError(UserError):
    """A token or password stands where it would be recorded."""


class PromotionError(UserError):
    """A checkpoint is not promoted: its record, the gate or another promotion speaks against it."""


class ExportError(UserError):
    """A study cannot be written as asked: the format, the folder or the key does not do."""


class ServerError(UserError):
    """The server that answers prompts fails: it stalls, or does not say what was asked."""

    exit_code = FAILED


class RefusalError(ServerError):
    """The server that answers prompts refuses the request as it is."""

    exit_code = 2


def foreseen(error: BaseException) -> UserError | None:
    """The error as its reader gets it: itself, or what a disk said, in words; None for a failure of ours."""
    if isinstance(error, UserError):
        return error
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    full = "No space left on device" in said  # safetensors and torch tell of it in classes of their own
    if full or (isinstance(error, OSError) and error.errno in DISK):
        remedy = "make room or repair it, and rerun the same command to resume from the last save"
        return DiskError(f"{where}{said}; {remedy}")
    if isinstance(error, PermissionError) and where:
        return UserError(f"{where}{said}; change its permissions, or name another place (STAGEWISE_HOME, the config)")
    return None


def listed(findings: list[str], limit: int = 20, total: int = 0) -> str:
    """The first `limit` findings, a line each, then how many there are in all: `total`, if some are not given."""
    shown = "\n".join(f"  {finding}" for finding in findings[:limit])
    total = total or len(findings)
    if total > limit:
        shown += f"\n  … {total} in all, the first {limit} shown"
    return shown


def printable(text: str, keep: str = "") -> str:
    r"""The text as a terminal may be given it: `\n`, `\x1b` and the like stand for what would move the cursor, change
    colours or reverse the line, but for the characters in `keep`. A record's names and texts are anybody's."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode() for each in text
    )
