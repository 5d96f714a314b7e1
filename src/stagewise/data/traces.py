"""Strict JSONL in and out: what is read is a dataset of traces or eval items, or one `DataError`.

    parse_traces(b'{"question": "Tom has 48 eggs …", "answer": "He sold 24.\\n#### 24"}', "train.jsonl", "gsm8k")

A layout says which fields a line has: a module of `data.layouts` each.

Nothing is mended and nothing skipped. Only LF ends a line; a CR before it is counted as part of the
ending. Every row keeps its line byte for byte, so fields that are not known here travel along in it,
and `Dataset.rebuilt()` gives the file's bytes again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Generic, TypeVar

from stagewise.data.jsonl import described, json_line, lines
from stagewise.data.layouts import LAYOUTS
from stagewise.data.rows import Item, Row, Step, Trace
from stagewise.errors import DataError, listed

__all__ = [
    "Dataset",
    "Item",
    "Step",
    "Trace",
    "open_file",
    "parse_items",
    "parse_traces",
    "read_bytes",
    "read_items",
    "read_traces",
    "trace_line",
]

T = TypeVar("T", Trace, Item)


@dataclass(frozen=True)
class Extent:
    """What can be said of a file once all of it is read."""

    name: str
    sha256: str
    """Of the bytes as they were read, CRLF included."""
    size: int
    """In bytes."""
    count: int
    """Number of rows."""
    crlf: int
    """Number of lines that end in CRLF."""
    final_newline: bool


@dataclass(frozen=True)
class Dataset(Extent, Generic[T]):
    """A file that is held in memory."""

    rows: tuple[T, ...]

    def rebuilt(self) -> bytes:
        """The source's bytes again."""
        return b"".join(row.line + row.ending for row in self.rows)


class Reading(Generic[T]):
    """One pass over a file, a row at a time; what it says of the whole is known at the end.

    rows = Reading(file, "traces.jsonl", build)
    for row in rows: …
    rows.extent.sha256

    Raises `DataError` at the end of a file in which something was found; from the first finding on it yields nothing.
    """

    def __init__(self, file: BinaryIO, name: str, build: Callable[[Row], T]) -> None:
        self.file, self.name = file, name
        self.build: Callable[[Row], T] = build

    def __iter__(self) -> Iterator[T]:
        findings: list[str] = []
        ending = b""
        digest, size, count, crlf = hashlib.sha256(), 0, 0, 0
        for line, ending in lines(self.file):
            digest.update(line + ending)
            size += len(line) + len(ending)
            crlf += ending == b"\r\n"
            row = Row(count, line, ending, findings)
            count += 1
            if row.load():
                built = self.build(row)
                if not findings:
                    yield built
        if not count:
            raise DataError(f"{self.name}: found an empty file, expected one JSON object a line")
        if len(findings) == 1:
            raise DataError(f"{self.name}: {findings[0]}")
        if findings:
            raise DataError(f"{self.name}: {len(findings)} findings\n{listed(findings)}")
        self.extent = Extent(self.name, digest.hexdigest(), size, count, crlf, ending != b"")


def read_traces(path: Path, layout: str = "traces") -> Dataset[Trace]:
    return parse_traces(read_bytes(path), path.name, layout)


def read_items(path: Path, layout: str = "traces") -> Dataset[Item]:
    return parse_items(read_bytes(path), path.name, layout)


def read_bytes(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read()


def open_file(path: Path) -> BinaryIO:
    """A file in which one can go back: what comes through a pipe is kept in a temporary one."""
    try:
        file = open(path, "rb")  # noqa: SIM115  # whoever asked for it closes it
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; expected a JSONL file") from error
    return file if file.seekable() else kept(file)


def kept(pieces: Iterable[bytes]) -> BinaryIO:
    """A temporary file of these pieces, one after the other."""
    file = TemporaryFile()  # noqa: SIM115  # as above
    file.writelines(pieces)
    file.seek(0)
    return file


def reading_of_traces(file: BinaryIO, name: str, layout: str, folder: Path | None = None) -> Reading[Trace]:
    """Traces from a file that need not fit in memory. A layout of a user's own is imported from `folder` first."""
    return Reading(file, name, LAYOUTS.chosen([layout], folder)[layout].trace)


def parse_traces(data: bytes, name: str, layout: str = "traces", folder: Path | None = None) -> Dataset[Trace]:
    """Traces from a file's bytes."""
    return _whole(reading_of_traces(BytesIO(data), name, layout, folder))


def parse_items(data: bytes, name: str, layout: str = "traces", folder: Path | None = None) -> Dataset[Item]:
    """Eval items from a file's bytes, each with an id of its own."""
    item_of = LAYOUTS.chosen([layout], folder)[layout].item
    seen: dict[str, int] = {}

    def unique_item(row: Row) -> Item:
        item = item_of(row)
        first = seen.setdefault(item.id, row.number)
        if item.id and first != row.number:
            expected = f"an id of its own (line {first + 1} has this one)"
            row.refuse("id", f"{described(item.id)} again", expected)
        return item

    return _whole(Reading(BytesIO(data), name, unique_item))


def trace_line(prompt: str, steps: Iterable[Step], final_answer: str, meta: Mapping[str, Any], **extra: Any) -> bytes:
    """One trace as a line of layout `traces`, without its ending; the order of the keys is fixed."""
    numbered = [{"i": i, "type": step.type, "content": step.content} for i, step in enumerate(steps)]
    fields = {"prompt": prompt, "steps": numbered, "final_answer": final_answer, "meta": dict(meta), **extra}
    return json_line(fields)


def _whole(reading: Reading[T]) -> Dataset[T]:
    rows = tuple(reading)
    return Dataset(**vars(reading.extent), rows=rows)
