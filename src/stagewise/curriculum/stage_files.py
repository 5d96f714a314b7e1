"""What a split writes, and the source again from that.

A stage's file holds the source's lines byte for byte, in source order. `rows.json` maps them back to
their rows, so that with it the stages give the source again:

    {"source_sha256": "…", "crlf_rows": [], "final_newline": true,
     "stages": {"a": [0, 2], "b": [1]}, "dropped": [{"row": 3, "line": "…"}]}
"""

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from stagewise.curriculum.stages import BATCH, DROPPED, Columns, Stages
from stagewise.data.jsonl import lines
from stagewise.data.traces import Extent
from stagewise.errors import DataError
from stagewise.record.frozen import Stage

ROWS = "rows.json"


def write(
    file: BinaryIO,
    source: Extent,
    columns: Columns,
    stages: Stages,
    folder: Path,
    advance: Callable[[int], None] = lambda size: None,
) -> dict[str, Stage]:
    """The stages and `rows.json`, in one more pass over the source's bytes; each stage's digest, size and rows.

    Raises `DataError` where the source is not what was read before.
    """
    (folder / "stages").mkdir()
    digest, number = hashlib.sha256(), 0
    file.seek(0)
    with ExitStack() as stack:
        paths = [folder / "stages" / f"{name}.jsonl" for name in stages.names]
        files = [_Written(stack.enter_context(open(path, "wb"))) for path in paths]
        while batch := list(islice(file, BATCH)):
            data = b"".join(batch)
            digest.update(data)
            parts: list[list[bytes]] = [[] for _ in range(len(files) + 1)]  # the last, -1, is that of DROPPED
            for line, stage in zip(batch, stages.of[number : number + len(batch)].tolist(), strict=False):
                parts[stage].append(line)
            for written, part in zip(files, parts, strict=False):
                written.add(b"".join(part))
            number += len(batch)
            advance(len(data))
        for written in files:
            written.end()
    if digest.hexdigest() != source.sha256:
        raise DataError(f"{source.name}: found other bytes than a moment ago; leave it as it is until it is split")
    with open(folder / ROWS, "w", encoding="utf-8") as text:
        _write_rows(text, file, source, columns, stages)
    return {name: each.told(size) for each, (name, size) in zip(files, stages.sizes.items(), strict=True)}


class _Written:
    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.size, self.last = file, hashlib.sha256(), 0, b"\n"

    def add(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)
        self.last = data[-1:] or self.last

    def end(self) -> None:
        """Only a source's last line may have to be given an ending."""
        if self.last != b"\n":
            self.add(b"\n")

    def told(self, rows: int) -> Stage:
        return {"sha256": self.digest.hexdigest(), "size": self.size, "rows": rows}


def _write_rows(text: TextIO, file: BinaryIO, source: Extent, columns: Columns, stages: Stages) -> None:
    """As `json.dumps(…, indent=1)` would, which takes minutes and gigabytes for millions of rows."""
    text.write(f'{{\n "source_sha256": "{source.sha256}",\n "crlf_rows": ')
    _write_list(text, _spelled(columns.crlf), 1)
    text.write(f',\n "final_newline": {json.dumps(source.final_newline)},\n "stages": {{')
    for index, name in enumerate(stages.names):
        text.write(f"{',' if index else ''}\n  {json.dumps(name, ensure_ascii=False)}: ")
        _write_list(text, _spelled(stages.rows(name)), 2)
    text.write('\n },\n "dropped": ')
    _write_list(text, _dropped(file, stages), 1)
    text.write("\n}\n")


def _spelled(numbers: NDArray[np.int64]) -> Iterator[str]:
    for start in range(0, len(numbers), BATCH):
        yield from map(str, numbers[start : start + BATCH].tolist())


def _dropped(file: BinaryIO, stages: Stages) -> Iterator[str]:
    if len(stages.dropped):
        file.seek(0)
        for row, (line, _) in enumerate(lines(file)):
            if stages.of[row] == DROPPED:
                said = json.dumps(line.decode(), ensure_ascii=False)
                yield f'{{\n   "row": {row},\n   "line": {said}\n  }}'


def _write_list(text: TextIO, values: Iterable[str], indent: int) -> None:
    between = f",\n{' ' * (indent + 1)}"
    left, first = iter(values), True
    while batch := list(islice(left, BATCH)):
        text.write(("[" + between[1:] if first else between) + between.join(batch))
        first = False
    text.write("[]" if first else f"\n{' ' * indent}]")


def rebuilt(rows: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """The source's bytes again, from `rows` as above and the stages' files. Raises `DataError` for other files."""
    crlf = set(rows["crlf_rows"])
    streams = [_dropped_again(rows["dropped"], crlf)]
    for name, numbers in rows["stages"].items():
        found = list(BytesIO(files[name]))
        if len(found) != len(numbers):
            raise DataError(f"stage {name}: found {len(found)} lines, expected {len(numbers)}, as rows.json has it")
        streams.append(zip(numbers, found, strict=True))
    data = b"".join(line for _, line in heapq.merge(*streams))
    return data if rows["final_newline"] else data.removesuffix(b"\n")


def _dropped_again(entries: Iterable[Mapping[str, Any]], crlf: set[int]) -> Iterator[tuple[int, bytes]]:
    for entry in entries:
        yield entry["row"], entry["line"].encode() + (b"\r\n" if entry["row"] in crlf else b"\n")
