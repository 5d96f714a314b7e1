"""Encoded stages, kept on this machine under the digest of all that decides them.

    encoded = kept(home / "tokens", {"stages": {"a": "9f3c…"}, "tokenizer": {…}, …}, lambda: encode(…))

    tokens/3b7e…/a.ids.npy  a.positions.npy  a.ends.npy  …  whole.json

Every phase of every arm and seed, in whatever process, trains on the same tokens: they are made once, and mapped into
memory, of which they take what is being read. A file that is damaged is made again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from stagewise.atomic import written
from stagewise.hashing import digest_json, folder_digests
from stagewise.model.templates import Encoded

Stages = dict[str, Encoded]
WHOLE = "whole.json"
ARRAYS = tuple(each.name for each in fields(Encoded) if each.name not in ("dropped", "truncated"))


def kept(folder: Path, decides: Mapping[str, Any], make: Callable[[], Stages]) -> Stages:
    path = folder / digest_json(decides)
    try:
        return load(path)
    except (OSError, ValueError):
        pass  # never made, or not to its end
    made = make()
    save(path, made)
    return made


def save(path: Path, stages: Mapping[str, Encoded]) -> None:
    with written(path) as partial:
        partial.mkdir()
        for name, stage in stages.items():
            for array in ARRAYS:
                np.save(partial / f"{name}.{array}.npy", getattr(stage, array), allow_pickle=False)
        counts = {name: [stage.dropped, stage.truncated] for name, stage in stages.items()}
        told = {"stages": counts, "files": folder_digests(partial)}
        (partial / WHOLE).write_text(json.dumps(told))


def load(path: Path) -> Stages:
    """Raises `OSError` or `ValueError` for what is not whole."""
    told = json.loads((path / WHOLE).read_bytes())
    found = folder_digests(path)
    found.pop(WHOLE)
    if found != told["files"]:
        raise ValueError(f"{path}: does not have the digests that it was written with")
    return {
        name: Encoded(
            **{array: _mapped(path / f"{name}.{array}.npy") for array in ARRAYS}, dropped=dropped, truncated=truncated
        )
        for name, (dropped, truncated) in told["stages"].items()
    }


def _mapped(path: Path) -> Any:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))  # a plain view: a memmap is slow to slice
