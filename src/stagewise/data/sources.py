"""Where traces and eval items come from: a path, a Hugging Face dataset, the built-in generator.

    train: {path: ../shared/data/gsm8k/train.jsonl, layout: gsm8k}
    train: {hub: openai/gsm8k, name: main, split: train, revision: <40 hex digits>, layout: gsm8k}
    train: {generate: {seed: 1, count: 5000, families: [addition, reversal]}}

Each becomes the bytes of a JSONL file and goes through the one strict reader, so all give the same rows
with a digest. `base` is the folder that relative paths are meant from, and that a layout of the user's own is imported
from first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stagewise.config import GenerateSource, HubSource, PathSource, Source
from stagewise.data import generate
from stagewise.data.traces import Dataset, Item, Trace, parse_items, parse_traces, read_bytes
from stagewise.errors import DataError
from stagewise.hashing import canonical_json


def load_traces(source: Source, base: Path) -> Dataset[Trace]:
    return parse_traces(*_content(source, base, generate.traces), base)


def load_items(source: Source, base: Path) -> Dataset[Item]:
    return parse_items(*_content(source, base, generate.items), base)


def _content(source: Source, base: Path, generated: Callable[..., bytes]) -> tuple[bytes, str, str]:
    """The source's bytes, what to call them, and how they are laid out."""
    if isinstance(source, PathSource):
        data = read_bytes(base / Path(source.path).expanduser())
    elif isinstance(source, HubSource):
        data = _hub_lines(source, base)
    else:
        data = generated(**source.generate.model_dump())
    return data, name_of(source), source.layout


def name_of(source: Source) -> str:
    if isinstance(source, GenerateSource):
        return f"generated-{source.generate.seed}"
    return source.path if isinstance(source, PathSource) else source.hub


def _hub_lines(source: HubSource, base: Path) -> bytes:
    """A dataset that `datasets` can load, a canonical JSON line a row.

    The revision says which version of a hub dataset this is; a local folder has none, its bytes are
    digested like any file's.
    """
    folder = base / Path(source.hub).expanduser()
    where = {"path": str(folder)} if folder.is_dir() else {"path": source.hub, "revision": source.revision}
    rows = _load(source, where)
    lines = []
    for number, row in enumerate(rows):
        try:
            lines.append(canonical_json(row) + b"\n")
        except (TypeError, ValueError) as error:
            raise DataError(f"{source.hub}: row {number} is no JSON ({error})") from error
    return b"".join(lines)


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
