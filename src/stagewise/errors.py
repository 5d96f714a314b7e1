"""What a user did wrong, each as one readable line.

A subclass of `UserError` is a mistake that its reader can mend: `cli` prints its text without a
traceback and exits with code 2. Anything else is a failure of ours and keeps its traceback.

    DataError: traces.jsonl: line 3, field "steps": found a string, expected a list of steps
"""


class UserError(Exception):
    """A mistake of the user's: where, what was found, what was expected, what to do."""

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
    """The tracking server cannot be reached or refuses."""


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
    """The server that answers prompts refuses, stalls, or does not say what was asked."""


def listed(findings: list[str], limit: int = 20) -> str:
    """The first `limit` findings, a line each, then how many there are in all."""
    shown = "\n".join(f"  {finding}" for finding in findings[:limit])
    if len(findings) > limit:
        shown += f"\n  … {len(findings)} in all, the first {limit} shown"
    return shown


def printable(text: str, keep: str = "") -> str:
    r"""The text as a terminal may be given it: `\n`, `\x1b` and the like stand for what would move the cursor, change
    colours or reverse the line, but for the characters in `keep`. A record's names and texts are anybody's."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode() for each in text
    )
