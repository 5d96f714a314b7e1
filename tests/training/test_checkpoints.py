import resource
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from stagewise.errors import DiskError, TrainingError
from stagewise.training import checkpoints


def trained() -> tuple[Any, Any]:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return layer, optimizer


def save(folder: Path, *steps: int, keep: int = 5) -> None:
    layer, optimizer = trained()
    for step in steps:
        checkpoints.save(folder, step, layer, optimizer, partial(dict, steps=[step]), keep)


def newest(folder: Path, allow_inexact: bool = False) -> checkpoints.Found:
    return checkpoints.newest(folder, allow_inexact)


def test_what_is_saved_is_restored(tmp_path: Path) -> None:
    save(tmp_path, 3)
    rng = torch.get_rng_state()
    layer, optimizer = trained()
    fresh = torch.nn.Linear(3, 2)
    fresh_optimizer = torch.optim.AdamW(fresh.parameters())
    torch.manual_seed(123)
    path = newest(tmp_path).folder
    assert path is not None
    assert checkpoints.restore(path, fresh, fresh_optimizer)["steps"] == [3]
    assert torch.equal(fresh.weight, layer.weight)
    ours, theirs = (checkpoints.optimizer_state(each)[0] for each in (fresh_optimizer, optimizer))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(torch.get_rng_state(), rng)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 10, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: flip(path / "model.safetensors"), "model.safetensors does not have the digest"),
        (lambda path: cut(path / "optimizer.safetensors"), "optimizer.safetensors does not have"),
        (lambda path: cut(path / "progress.json"), "progress.json does not have"),
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors does not have"),
        (lambda path: (path / "digests.json").unlink(), "it was never completed"),
        (lambda path: (path / "digests.json").write_text("{"), "it was never completed"),
        (lambda path: [shutil.rmtree(path), path.mkdir()], "it was never completed"),  # type: ignore[func-returns-value]
    ],
)
def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path: Path, damage: Any, reason: str) -> None:
    save(tmp_path, 1, 2)
    damage(tmp_path / "step-00000002")
    found = newest(tmp_path)
    assert found.folder == tmp_path / "step-00000001"
    assert found.passed_over[0].startswith("step-00000002: ")
    assert reason in found.passed_over[0]


@pytest.mark.parametrize("name", ["optimizer.safetensors", "rng.safetensors"])
def test_lost_state_is_refused_unless_allowed(tmp_path: Path, name: str) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / name).unlink()
    with pytest.raises(TrainingError, match=rf"found no {name}(.|\n)*training\.allow_inexact"):
        newest(tmp_path)
    allowed = newest(tmp_path, allow_inexact=True)
    assert allowed.folder == tmp_path / "step-00000002"
    assert allowed.lost == [f"step-00000002: no {name}"]


def test_nothing_saved_is_nothing_found(tmp_path: Path) -> None:
    assert newest(tmp_path / "none") == checkpoints.Found(None, [])


def test_a_save_that_was_cut_off_leaves_no_checkpoint_and_does_not_stand_in_the_way(tmp_path: Path) -> None:
    save(tmp_path, 1)
    partial = tmp_path / "step-00000002.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    assert newest(tmp_path).folder == tmp_path / "step-00000001"
    save(tmp_path, 2)
    assert newest(tmp_path).folder == tmp_path / "step-00000002"


@pytest.mark.parametrize("room", [0, 200, 600])
def test_a_full_disk_inside_a_save_leaves_the_one_before(tmp_path: Path, room: int) -> None:
    """No file may grow beyond `room` bytes: none can be written, the weights can, the optimizer can as well."""
    save(tmp_path, 1)
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        with pytest.raises(DiskError, match=r"step 2 cannot be saved: .*make room, and rerun the same command"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert newest(tmp_path).folder == tmp_path / "step-00000001"
    save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
