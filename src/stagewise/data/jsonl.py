"""JSONL, a line at a time: exact lines, each one JSON object, or the reason why not.

    split_lines(b'{"a":1}\\r\\n{}')  ->  (b'{"a":1}', b'\\r\\n'), (b'{}', b'')

Stricter than `json`: a byte order mark, NaN, Infinity, a number that is too large for a float, half of a surrogate
pair and a duplicate key are refused. `document` reads a whole file in the same way. What orjson reads as we would is
taken from it, three times as fast; every other line goes to the strict reader, which says what is wrong with it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, BinaryIO

import orjson

from stagewise.errors import DataError

BOM = b"\xef\xbb\xbf"
DEEPEST = 100  # lists and objects in one another: whoever walks a value may use recursion


class Refused(ValueError):
    """(field, found, expected): why a line is not one JSON object."""


def json_line(fields: Mapping[str, Any]) -> bytes:
    """One JSON object as UTF-8, keys in the order given, without a line ending."""
    return json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()


def lines(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Each line and its ending, read as they are asked for. Text files would also split at a lone CR."""
    for line in file:
        if line.endswith(b"\r\n"):
            yield line[:-2], b"\r\n"
        elif line.endswith(b"\n"):
            yield line[:-1], b"\n"
        else:
            yield line, b""


def split_lines(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    return lines(BytesIO(data))


def objects(data: bytes, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object, and where it stands: `name: line 3`. Raises `DataError` at the first line that is none."""
    if not data:
        raise DataError(f"{name}: found an empty file, expected one JSON object a line")
    for number, (line, _) in enumerate(split_lines(data)):
        where = f"{name}: line {number + 1}"
        try:
            yield where, decoded(line)
        except Refused as refused:
            field, found, expected = refused.args
            at = "" if field is None else f", field {shortened(field)}"
            raise DataError(f"{where}{at}: found {found}, expected {expected}") from None


def document(data: bytes, name: str) -> Any:
    """The one JSON value that a file holds, of whatever type. Raises `DataError` for what is none."""
    try:
        return _parsed(data, "one JSON value")
    except Refused as refused:
        field, found, expected = refused.args
        at = "" if field is None else f", field {shortened(field)}"
        raise DataError(f"{name}{at}: found {found}, expected {expected}") from None


def decoded(line: bytes) -> dict[str, Any]:
    """The JSON object that the bytes are. Raises `Refused`."""
    value = _fast(line)
    if value is None:
        value = _parsed(line, "one JSON object")
    if not isinstance(value, dict):
        raise Refused(None, described(value), "one JSON object")
    return value


def _fast(line: bytes) -> Any:
    """The line's value by orjson, or None where the strict reader has to look at it.

    orjson takes the last of two equal keys and makes a float of a whole number over 64 bits, and says nothing. Written
    again, such a value has another structure: a key is missing, or a number is spelled otherwise. So is a harmless
    `1.50`; that costs time, and nothing else.
    """
    if line.count(b"[") + line.count(b"{") > DEEPEST:
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if _structure(line) == _structure(orjson.dumps(value)) else None


def _structure(line: bytes) -> bytes:
    """What stands outside the strings of valid JSON, without white space: `{"a": [1, "b"]}` is `{:[1,]}`."""
    if b"\\" in line:
        line = line.replace(b"\\\\", b"").replace(b'\\"', b"")  # so that each quote left begins or ends a string
    return b"".join(line.split(b'"')[::2]).translate(None, b" \t\r\n")


def _parsed(data: bytes, expected: str) -> Any:
    if not data.strip():
        raise Refused(None, "a blank line", expected)
    if data.startswith(BOM):
        raise Refused(None, "a byte order mark", "UTF-8 without one")
    try:
        value = json.loads(data.decode(), parse_constant=_constant, parse_float=_finite, object_pairs_hook=_pairs)
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} at column {error.start + 1} ({error.reason})"
        raise Refused(None, found, "UTF-8") from error
    except json.JSONDecodeError as error:
        raise Refused(None, f"malformed JSON ({error.msg} at column {error.colno})", expected) from error
    except RecursionError as error:
        raise Refused(None, "JSON nested too deep to read", expected) from error
    except Refused:
        raise
    except ValueError as error:  # Python refuses whole numbers of more than 4,300 digits
        raise Refused(None, f"a number that cannot be read ({error})", expected) from error
    if data.count(b"[") + data.count(b"{") > DEEPEST and _deeper(value, DEEPEST):
        raise Refused(None, "JSON nested too deep to read", expected)
    if rb"\u" in data:
        _check_text(value)
    return value


def _deeper(value: Any, limit: int) -> bool:
    """Whether lists and objects are nested more than `limit` deep; without recursion of its own."""
    layer = [value]
    for _ in range(limit + 1):
        inside = [each.values() if isinstance(each, dict) else each for each in layer if isinstance(each, dict | list)]
        layer = [one for each in inside for one in each]
        if not inside:
            return False
    return True


def _check_text(value: Any) -> None:
    """JSON can spell half of a surrogate pair, which no UTF-8 can write."""
    for name, field in value.items() if isinstance(value, dict) else [(None, value)]:
        try:
            json.dumps([name, field], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            shown = None if name is None else name.encode("ascii", "backslashreplace").decode()
            raise Refused(shown, "half of a surrogate pair", "text that UTF-8 can write") from error


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Refused(None, f"the number {shortened(text)[1:-1]}", "one that a float can hold")
    return value


def _constant(word: str) -> Any:
    raise Refused(None, word, "JSON, which has no such number")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(twice, "this key twice in one object", "each key once")
    return fields


def described(value: Any) -> str:
    """What stands there, in words short enough for one line."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    kind = {bool: "the boolean", str: "the string"}.get(type(value), "the number")
    return f"{kind} {shortened(value)}"


def shortened(value: Any) -> str:
    """As JSON in ASCII, which has no line breaks and can always be printed."""
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"
