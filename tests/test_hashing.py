import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from stagewise import hashing


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert hashing.canonical_json(value) == hashing.canonical_json(backwards)


def test_canonical_json_refuses_what_json_has_not() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        hashing.canonical_json({"loss": float("nan")})


@pytest.mark.parametrize("size", [0, 1, hashing.CHUNK, hashing.CHUNK + 1])
def test_a_file_has_the_sha256_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert hashing.sha256_file(tmp_path / "file") == hashlib.sha256(data[:size]).hexdigest()


def test_a_folder_names_every_file_below_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")
    found = hashing.folder_digests(tmp_path)
    assert list(found) == ["a", "sub/b"]
    assert found["sub/b"] == {"sha256": hashlib.sha256(b"two").hexdigest(), "size": 3}


def test_digests_stand_with_their_files_however_large_each_is(tmp_path: Path) -> None:
    contents = {f"{index}": bytes([index]) * size for index, size in enumerate((3, 3_000_000, 0, 50, hashing.CHUNK))}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    found = hashing.folder_digests(tmp_path)
    assert list(found) == sorted(contents)
    assert {name: entry["sha256"] for name, entry in found.items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in contents.items()
    }


def test_the_digest_of_weights_is_what_it_is_said_to_be(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2, 3])}
    save_file(tensors, tmp_path / "model.safetensors")
    entries = [
        (name, kind, list(tensors[name].shape), hashlib.sha256(tensors[name].numpy().tobytes()).hexdigest())
        for name, kind in (("a", "I64"), ("b", "F32"))
    ]
    assert hashing.weights_digest(tmp_path) == hashing.digest_json(entries)


def test_weights_have_one_digest_however_they_are_sharded(tmp_path: Path) -> None:
    tensors = {"z": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4, dtype=torch.bfloat16)}
    whole, sharded, other = tmp_path / "whole", tmp_path / "sharded", tmp_path / "other"
    for folder in (whole, sharded, other):
        folder.mkdir()
    save_file(tensors, whole / "model.safetensors", metadata={"format": "pt"})
    for index, (name, tensor) in enumerate(tensors.items()):
        save_file({name: tensor}, sharded / f"model-{index}.safetensors")
    assert hashing.weights_digest(whole) == hashing.weights_digest(sharded)
    save_file(tensors | {"a": torch.ones(2, 2, dtype=torch.bfloat16)}, other / "model.safetensors")  # the same bytes
    assert hashing.weights_digest(other) != hashing.weights_digest(whole)


def test_a_cut_weights_file_is_an_error(tmp_path: Path) -> None:
    save_file({"a": torch.ones(100)}, tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-8])
    with pytest.raises(ValueError, match="8 bytes before"):
        hashing.weights_digest(tmp_path)
