"""Strict JSONL in and out: what is read is a dataset of traces or eval items, or one `DataError`.

    parse_traces(b'{"question": "Tom has 48 eggs …", "answer": "He sold 24.\\n#### 24"}', "train.jsonl", "gsm8k")

A layout says which fields a line has: a module of `data.layouts` each.

Nothing is mended and nothing skipped. Only LF ends a line; a CR before it is counted as part of the
ending. Every row keeps its line byte for byte, so fields that are not known here travel along in it,
and `Dataset.rebuilt()` gives the file's bytes again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from stagewise.data.jsonl import described, json_line, split_lines
from stagewise.data.layouts import LAYOUTS
from stagewise.data.rows import Item, Row, Step, Trace
from stagewise.errors import DataError, listed
from stagewise.hashing import sha256

__all__ = [
    "Dataset",
    "Item",
    "Step",
    "Trace",
    "parse_items",
    "parse_traces",
    "read_bytes",
    "read_items",
    "read_traces",
    "trace_line",
]

T = TypeVar("T", Trace, Item)


@dataclass(frozen=True)
class Dataset(Generic[T]):
    name: str
    rows: tuple[T, ...]
    sha256: str
    """Of the bytes as they were read, CRLF included."""
    size: int
    """In bytes."""
    crlf: int
    """Number of lines that end in CRLF."""
    final_newline: bool

    def rebuilt(self) -> bytes:
        """The source's bytes again."""
        return b"".join(row.line + row.ending for row in self.rows)


def read_traces(path: Path, layout: str = "traces") -> Dataset[Trace]:
    return parse_traces(read_bytes(path), path.name, layout)


def read_items(path: Path, layout: str = "traces") -> Dataset[Item]:
    return parse_items(read_bytes(path), path.name, layout)


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; expected a JSONL file") from error


def parse_traces(data: bytes, name: str, layout: str = "traces", folder: Path | None = None) -> Dataset[Trace]:
    """Traces from a file's bytes. A layout of a user's own is imported from `folder` first."""
    return _parse(data, name, LAYOUTS.chosen([layout], folder)[layout].trace)


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

    return _parse(data, name, unique_item)


def trace_line(prompt: str, steps: Iterable[Step], final_answer: str, meta: Mapping[str, Any], **extra: Any) -> bytes:
    """One trace as a line of layout `traces`, without its ending; the order of the keys is fixed."""
    numbered = [{"i": i, "type": step.type, "content": step.content} for i, step in enumerate(steps)]
    fields = {"prompt": prompt, "steps": numbered, "final_answer": final_answer, "meta": dict(meta), **extra}
    return json_line(fields)


def _parse(data: bytes, name: str, build: Callable[[Row], T]) -> Dataset[T]:
    if not data:
        raise DataError(f"{name}: found an empty file, expected one JSON object a line")
    findings: list[str] = []
    loading = (Row(number, *pair, findings) for number, pair in enumerate(split_lines(data)))
    rows = tuple(build(row) for row in loading if row.load())
    if len(findings) == 1:
        raise DataError(f"{name}: {findings[0]}")
    if findings:
        raise DataError(f"{name}: {len(findings)} findings\n{listed(findings)}")
    crlf = sum(row.ending == b"\r\n" for row in rows)
    return Dataset(name, rows, sha256(data), len(data), crlf, data.endswith(b"\n"))
