"""Encoded stages, kept on this machine under the digest of all that decides them.

    encoded = kept(caches / "tokens", {"stages": {"a": "9f3c…"}, "tokenizer": {…}, …}, lambda: encode(…))

Every phase of every arm and seed trains on the same tokens: they are made once. A file that is damaged is
made again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from stagewise.atomic import written
from stagewise.hashing import digest_json, sha256_file
from stagewise.model.templates import Encoded, Example

Stages = dict[str, Encoded]


def kept(folder: Path, decides: Mapping[str, Any], make: Callable[[], Stages]) -> Stages:
    path = folder / f"{digest_json(decides)}.safetensors"
    try:
        if path.with_suffix(".sha256").read_text() == sha256_file(path):
            return _unpacked(safetensors.torch.load_file(path))
    except (OSError, SafetensorError):
        pass  # never made, or not to its end
    made = make()
    with written(path) as partial:
        safetensors.torch.save_file(_packed(made), partial)
        digest = sha256_file(partial)
    path.with_suffix(".sha256").write_text(digest)
    return made


def _packed(stages: Stages) -> dict[str, torch.Tensor]:
    """Of each stage: its tokens end to end; of each example its line, length and prompt; what was left out."""
    tensors = {}
    for name, stage in stages.items():
        rows = [[position, len(each.ids), each.prompt] for (_, position), each in stage.usable.items()]
        tensors[f"{name}.ids"] = torch.tensor([token for each in stage.usable.values() for token in each.ids])
        tensors[f"{name}.rows"] = torch.tensor(rows).reshape(-1, 3)
        tensors[f"{name}.counts"] = torch.tensor([stage.dropped, stage.truncated])
    return tensors


def _unpacked(tensors: Mapping[str, torch.Tensor]) -> Stages:
    stages = {}
    for name in (key.removesuffix(".ids") for key in tensors if key.endswith(".ids")):
        ids, usable, start = tensors[f"{name}.ids"].tolist(), {}, 0
        for position, length, prompt in tensors[f"{name}.rows"].tolist():
            usable[name, position] = Example(tuple(ids[start : start + length]), prompt)
            start += length
        dropped, truncated = tensors[f"{name}.counts"].tolist()
        stages[name] = Encoded(usable, dropped, truncated)
    return stages
