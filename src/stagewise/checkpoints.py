"""Where a phase stands, on disk: enough to go on to the same bits after a kill at any moment.

    step-00000120/model.safetensors  optimizer.safetensors  rng.safetensors  progress.json  digests.json

A checkpoint is written to a temporary folder, flushed to the disk, `digests.json` last, and renamed; so a
folder with that name and right digests is whole. One that is not is named and passed over.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model

from stagewise.errors import TrainingError
from stagewise.hashing import folder_digests

MODEL, OPTIMIZER, RNG, PROGRESS, DIGESTS = (
    "model.safetensors",
    "optimizer.safetensors",
    "rng.safetensors",
    "progress.json",
    "digests.json",
)
NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True, slots=True)
class Found:
    """What `newest` found: the newest whole checkpoint, and which newer ones were passed over and why."""

    folder: Path | None
    passed_over: list[str]


def save(folder: Path, step: int, model: Any, optimizer: Any, progress: Mapping[str, Any], keep: int) -> Path:
    """Writes the checkpoint of `step` below `folder` and removes all but the newest `keep`."""
    final = folder / f"step-{step:08d}"
    partial = folder / f"{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(final, ignore_errors=True)  # an invalid one of the same step
    partial.mkdir(parents=True)
    save_model(model, str(partial / MODEL))
    tensors, scalars = optimizer_state(optimizer)
    save_file(tensors, partial / OPTIMIZER)
    save_file(_rng(), partial / RNG)
    (partial / PROGRESS).write_text(json.dumps({**progress, "scalars": scalars}))
    for path in partial.iterdir():
        _flush(path)
    (partial / DIGESTS).write_text(json.dumps(folder_digests(partial)))
    _flush(partial / DIGESTS)
    _flush(partial)
    os.replace(partial, final)
    _flush(folder)
    for old in sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))[:-keep]:
        shutil.rmtree(old)
    return final


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest(folder: Path, allow_inexact: bool) -> Found:
    """The newest whole checkpoint below `folder`.

    Raises `TrainingError` for one that lacks optimizer or random state, unless `allow_inexact`.
    """
    passed_over = []
    candidates = [path for path in folder.iterdir() if NAME.fullmatch(path.name)] if folder.is_dir() else []
    for path in sorted(candidates, reverse=True):
        fault, missing = _fault(path)
        if fault:
            passed_over.append(f"{path.name}: {fault}")
        elif missing and not allow_inexact:
            raise TrainingError(
                f"checkpoint {path}: found no {' and no '.join(missing)}, so going on would not give the same result; "
                "remove the folder to start the phase again, or set training.allow_inexact to true"
            )
        else:
            return Found(path, passed_over)
    return Found(None, passed_over)


def _fault(path: Path) -> tuple[str, list[str]]:
    """What is wrong with a checkpoint ('' if nothing), and which of its state files are not there."""
    try:
        expected = json.loads((path / DIGESTS).read_bytes())
    except (OSError, ValueError):
        return f"no readable {DIGESTS}: it was never completed", []
    found = folder_digests(path)
    missing = [name for name in (OPTIMIZER, RNG) if name in expected and name not in found]
    for name, entry in expected.items():
        if name not in missing and found.get(name) != entry:
            return f"{name} does not have the digest it was written with", []
    return "", missing


def restore(path: Path, model: Any, optimizer: Any) -> dict[str, Any]:
    """Puts weights, optimizer and random state back; returns the progress that was saved with them."""
    progress: dict[str, Any] = json.loads((path / PROGRESS).read_bytes())
    load_model(model, path / MODEL)
    if (path / OPTIMIZER).is_file():
        restore_optimizer(optimizer, load_file(path / OPTIMIZER), progress["scalars"])
    if (path / RNG).is_file():
        _restore_rng(load_file(path / RNG))
    return progress


# --- optimizer and random state, as tensors -----------------------------------------------------


def optimizer_state(optimizer: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The optimizer's state as named tensors and named plain values: what safetensors and JSON can hold."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            (tensors if isinstance(value, torch.Tensor) else scalars)[f"{index}.{key}"] = value
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, scalars


def restore_optimizer(optimizer: Any, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, Any]) -> None:
    """Not by `load_state_dict`, which would cast a float32 state to the dtype of a bfloat16 parameter."""
    parameters = _parameters(optimizer)
    for name, value in (*tensors.items(), *scalars.items()):
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if isinstance(value, torch.Tensor) and value.ndim:  # counters stay where the optimizer keeps them, on the CPU
            value = value.to(parameter.device)
        optimizer.state[parameter][key] = value


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _rng() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_rng(states: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
