"""Where a phase stands, on disk: enough to go on to the same bits after a kill at any moment.

    step-00000120/model.safetensors  optimizer.safetensors  rng.safetensors  progress.json  digests.json

A checkpoint is written to a temporary folder, flushed to the disk, `digests.json` last, and renamed; so a
folder with that name and right digests is whole. One that is not is named and skipped.

Where several processes train together, the first one writes and reads, and it holds whole tensors, however
they are sharded: any number of processes can go on from it.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor

from stagewise.atomic import written
from stagewise.errors import DiskError, TrainingError, UserError
from stagewise.hashing import folder_digests

MODEL, OPTIMIZER, RNG, PROGRESS, DIGESTS = (
    "model.safetensors",
    "optimizer.safetensors",
    "rng.safetensors",
    "progress.json",
    "digests.json",
)
NAME = re.compile(r"step-(\d{8})")
T = TypeVar("T")
Progress = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """What `newest` found: the newest whole checkpoint, which newer ones were skipped and why, and which of
    its own state it lost."""

    folder: Path | None
    passed_over: list[str]
    lost: list[str] = field(default_factory=list)


def save(folder: Path, step: int, model: Any, optimizer: Any, progress: Progress, keep: int) -> None:
    """Writes the checkpoint of `step` below `folder` and removes all but the newest `keep`. Every process calls it;
    the first one makes the `progress`.

    Raises `DiskError` where it cannot be written, on a full disk; the ones before are left as they were.
    """
    save_state(folder, step, model, optimizer_state(optimizer), progress, keep)


def save_state(
    folder: Path,
    step: int,
    model: Any,
    state: tuple[dict[str, torch.Tensor], dict[str, Any]],
    progress: Progress,
    keep: int,
) -> None:
    """`save`, with the optimizer's state as `optimizer_state` gives it."""
    weights = {name: _whole(tensor) for name, tensor in _weights(model).items()}
    tensors, scalars = state
    rng = _gathered_rng()

    def write() -> None:
        try:
            _write(folder, step, weights, tensors, rng, {**progress(), "scalars": scalars}, keep)
        except (OSError, SafetensorError) as error:
            raise DiskError(
                f"{folder}: step {step} cannot be saved: {error}; make room, and rerun the same command to "
                "resume from the last save"
            ) from error

    agreed(write)


def _write(
    folder: Path,
    step: int,
    weights: dict[str, torch.Tensor],
    optimizer: dict[str, torch.Tensor],
    rng: dict[str, torch.Tensor],
    progress: Mapping[str, Any],
    keep: int,
) -> None:
    with written(folder / f"step-{step:08d}") as partial:
        partial.mkdir()
        save_file(weights, partial / MODEL)
        save_file(optimizer, partial / OPTIMIZER)
        save_file(rng, partial / RNG)
        (partial / PROGRESS).write_text(json.dumps(progress))
        (partial / DIGESTS).write_text(json.dumps(folder_digests(partial)))
    for old in sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))[:-keep]:
        shutil.rmtree(old)


def newest(folder: Path, allow_inexact: bool, beside: Callable[[Path], str] = lambda path: "") -> Found:
    """The newest whole checkpoint below `folder`; `beside` says what is wrong with what belongs to one that is whole
    in itself, or ''.

    Raises `TrainingError` for one that lacks optimizer or random state, unless `allow_inexact`.
    """
    passed_over = []
    candidates = [path for path in folder.iterdir() if NAME.fullmatch(path.name)] if folder.is_dir() else []
    for path in sorted(candidates, reverse=True):
        fault, missing = _fault(path)
        fault = fault or beside(path)
        if fault:
            passed_over.append(f"{path.name}: {fault}")
        elif missing and not allow_inexact:
            raise TrainingError(
                f"checkpoint {path}: found no {' and no '.join(missing)}, so going on would not give the same result; "
                "remove the folder to start the phase again, or set training.allow_inexact to true"
            )
        else:
            return Found(path, passed_over, [f"{path.name}: no {name}" for name in missing])
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


def progress_of(path: Path) -> dict[str, Any]:
    """The progress that was saved with a checkpoint."""
    return dict(json.loads((path / PROGRESS).read_bytes()))


def restore(path: Path | None, model: Any, optimizer: Any) -> dict[str, Any]:
    """Puts weights, optimizer and random state back; returns the progress that was saved with them.

    Every process calls it; the first one's `path` is read, and the others are sent what it holds.
    """
    progress: dict[str, Any] = shared(progress_of(path) if path and is_first() else None)
    weights = _weights(model)
    with torch.no_grad():
        for name, tensor in _read(path, MODEL):
            weights[name].copy_(_like(weights[name], tensor))
    tensors = dict(_read(path, OPTIMIZER))
    restore_optimizer(optimizer, tensors, progress["scalars"] if tensors else {})  # counters alone are no state
    _restore_rng(dict(_read(path, RNG)))
    return progress


def _read(path: Path | None, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one of the first process's files, one after the other; none where there is no such file."""
    found = load_file(path / name) if path and is_first() and (path / name).is_file() else {}
    for key, shape, dtype in shared([(key, tensor.shape, tensor.dtype) for key, tensor in found.items()]):
        tensor = found[key] if is_first() else torch.empty(shape, dtype=dtype)
        if dist.is_initialized():
            dist.broadcast(tensor, 0)
        yield key, tensor


# --- several processes --------------------------------------------------------------------------


def is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def shared(value: Any) -> Any:
    """The first process's value, on every process."""
    if dist.is_initialized():
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]
    return value


def agreed(make: Callable[[], T]) -> T:
    """What the first process makes, on every process. A mistake that it finds is raised on all of them: none is
    left waiting for one that has ended."""
    made, mistake = None, None
    if is_first():
        try:
            made = make()
        except UserError as error:
            mistake = error
    made, mistake = shared((made, mistake))
    if mistake is not None:
        raise mistake
    return cast(T, made)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).contiguous()


def _like(model: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """`whole`, in shards where `model` is, and then on its device; else what takes it moves it."""
    if isinstance(model, DTensor) and model.shape == whole.shape:
        whole = whole.to(model.device)
        return distribute_tensor(whole, model.device_mesh, model.placements, src_data_rank=None)
    return whole


def _weights(model: Any) -> dict[str, torch.Tensor]:
    """Parameters and buffers under the first of their names: tied weights have several."""
    names = {id(tensor): name for name, tensor in reversed(model.state_dict(keep_vars=True).items())}
    return {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if names[id(tensor)] == name}


# --- optimizer and random state, as tensors -----------------------------------------------------


def optimizer_state(optimizer: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The optimizer's state as named tensors and named plain values: what safetensors and JSON can hold."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            (tensors if isinstance(value, torch.Tensor) else scalars)[f"{index}.{key}"] = value
    return {name: _whole(tensor) for name, tensor in tensors.items()}, scalars


def restore_optimizer(optimizer: Any, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, Any]) -> None:
    """By torch's own path, which puts each value where this optimizer wants it: the step counters of a fused AdamW
    on the weights' device, for one."""
    parameters = _parameters(optimizer)
    state: dict[int, dict[str, Any]] = {}
    for name, value in (*tensors.items(), *scalars.items()):
        index, _, key = name.partition(".")
        lying = _like(parameters[int(index)], value) if isinstance(value, torch.Tensor) else value
        state.setdefault(int(index), {})[key] = lying
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _gathered_rng() -> dict[str, torch.Tensor]:
    """The random states of all processes, named `<process>.<device>`."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    everyones: list[Any] = [states]
    if dist.is_initialized():
        everyones = [None] * dist.get_world_size()
        dist.all_gather_object(everyones, states)
    return {f"{process}.{kind}": state for process, each in enumerate(everyones) for kind, state in each.items()}


def _restore_rng(states: Mapping[str, torch.Tensor]) -> None:
    """This process's own. It has none where more processes go on than there were: it keeps its seed's."""
    process = dist.get_rank() if dist.is_initialized() else 0
    if f"{process}.cpu" in states:
        torch.set_rng_state(states[f"{process}.cpu"])
    if f"{process}.cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[f"{process}.cuda"])
