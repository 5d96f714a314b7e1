"""Where traces and eval items come from: a path, a Hugging Face dataset, the built-in generator.

    train: {path: ../shared/data/gsm8k/train.jsonl, layout: gsm8k}
    train: {hub: openai/gsm8k, name: main, split: train, revision: <40 hex digits>, layout: gsm8k}
    train: {generate: {seed: 1, count: 5000, families: [addition, reversal]}}

Each becomes the bytes of a JSONL file and goes through the one strict reader, so all give the same rows
with a digest. `base` is the folder that relative paths are meant from, and that a layout of the user's own is imported
from first.
"""

import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from stagewise.config import GenerateSource, HubSource, PathSource, Source
from stagewise.data import generate
from stagewise.data.traces import (
    Dataset,
    Item,
    Reading,
    Trace,
    kept,
    open_file,
    parse_items,
    parse_traces,
    reading_of_traces,
)
from stagewise.errors import DataError
from stagewise.hashing import canonical_json


class Opened(NamedTuple):
    """A source of traces, to be read as often as is needed."""

    file: BinaryIO
    name: str
    layout: str
    base: Path | None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.file.seek(0, os.SEEK_END)

    def traces(self) -> Reading[Trace]:
        self.file.seek(0)
        return reading_of_traces(self.file, self.name, self.layout, self.base)


def open_traces(source: Source, base: Path) -> Opened:
    return Opened(_open(source, base, generate.traces), name_of(source), source.layout, base)


def load_traces(source: Source, base: Path) -> Dataset[Trace]:
    with _open(source, base, generate.traces) as file:
        return parse_traces(file.read(), name_of(source), source.layout, base)


def load_items(source: Source, base: Path) -> Dataset[Item]:
    with _open(source, base, generate.items) as file:
        return parse_items(file.read(), name_of(source), source.layout, base)


def _open(source: Source, base: Path, generated: Callable[..., bytes]) -> BinaryIO:
    """The source's bytes, as a file in which one can go back."""
    if isinstance(source, PathSource):
        return open_file(base / Path(source.path).expanduser())
    if isinstance(source, HubSource):
        return kept(_hub_lines(source, base))
    return BytesIO(generated(**source.generate.model_dump()))


def name_of(source: Source) -> str:
    if isinstance(source, GenerateSource):
        return f"generated-{source.generate.seed}"
    return source.path if isinstance(source, PathSource) else source.hub


def _hub_lines(source: HubSource, base: Path) -> Iterator[bytes]:
    """A dataset that `datasets` can load, a canonical JSON line a row.

    The revision says which version of a hub dataset this is; a local folder has none, its bytes are
    digested like any file's.
    """
    folder = base / Path(source.hub).expanduser()
    where = {"path": str(folder)} if folder.is_dir() else {"path": source.hub, "revision": source.revision}
    for number, row in enumerate(_load(source, where)):
        try:
            yield canonical_json(row) + b"\n"
        except (TypeError, ValueError) as error:
            raise DataError(f"{source.hub}: row {number} is no JSON ({error})") from error


def _load(source: HubSource, where: dict[str, str]) -> Any:
    import datasets  # seconds to import, and only this kind of source needs it

    try:
        return datasets.load_dataset(name=source.name, split=source.split, **where)
    except Exception as error:  # whatever the library and the network below it raise, the remedy is here
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise DataError(
            f"{source.hub}: cannot load split {source.split!r} of this dataset: {reason}; "
            "check hub, name, split and revision and the network (HF_HUB_OFFLINE unset), "
            "or download its JSONL and give it as path"
        ) from error
