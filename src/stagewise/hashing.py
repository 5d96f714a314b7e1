"""Digests: of bytes, files, folders, canonical JSON and model weights. All are full sha256 in hex.

canonical_json({"b": 1, "a": "é"})  ->  b'{"a":"\\xc3\\xa9","b":1}'
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHUNK = 1 << 20  # bytes read at once: large enough to keep sha256 busy, small enough to stay in cache


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; NaN and infinity are refused (`ValueError`)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest_json(value: Any) -> str:
    return sha256(canonical_json(value))


def digest_lines(lines: Iterable[str]) -> str:
    """sha256 over the lines, each ended by LF: the digest of an ordered list of ids."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def seed_of(*parts: str | int) -> int:
    """A seed of 63 bits made from what it is for: `seed_of("dropout", 42, 1)`. Different parts give different seeds,
    which a sum of them need not."""
    return int(digest_json(parts)[:16], 16) >> 1


def sha256_file(path: Path) -> str:
    """sha256 of a file, read in chunks: memory does not grow with the file."""
    return _sha256_span(Span(path, 0, path.stat().st_size))


def folder_digests(folder: Path) -> dict[str, Any]:
    """`{relative POSIX path: {"sha256", "size"}}` of every file below `folder`, sorted by path.

    Several files are hashed at a time: sha256 releases the interpreter lock.
    """
    spans = [Span(path, 0, path.stat().st_size) for path in sorted(folder.rglob("*")) if path.is_file()]
    digests = _sha256_spans(spans)
    return {
        span.path.relative_to(folder).as_posix(): {"sha256": digest, "size": span.size}
        for span, digest in zip(spans, digests, strict=True)
    }


def weights_digest(folder: Path) -> str:
    """sha256 over name, dtype, shape and bytes of every tensor in the folder's safetensors files.

    Tensors are taken in the order of their names, so another sharding of the same weights has the
    same digest. Raises `ValueError` for a file that is no safetensors file.
    """
    return digest_tensors(tensor for path in folder.glob("*.safetensors") for tensor in tensor_digests(path))


def digest_tensors(tensors: Iterable[Sequence[Any]]) -> str:
    """The weights digest, from what `tensor_digests` gives for each file."""
    return digest_json(sorted(map(list, tensors)))


def tensor_digests(path: Path) -> list[list[Any]]:
    """`[name, dtype, shape, sha256]` of every tensor in a safetensors file; several are hashed at a time.

    Raises `ValueError` for a file that is none, or ends before its header says.
    """
    with _safetensors(path) as (start, header):
        tensors = [(name, entry["dtype"], entry["shape"], *entry["data_offsets"]) for name, entry in header.items()]
        spans = [Span(path, start + first, end - first) for *_, first, end in tensors]
        return [[*tensor[:3], digest] for tensor, digest in zip(tensors, _sha256_spans(spans), strict=True)]


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """The shape of every tensor in a safetensors file, by its name, from the header alone. Raises `ValueError`."""
    with _safetensors(path) as (_, header):
        return {name: [int(size) for size in entry["shape"]] for name, entry in header.items()}


@contextmanager
def _safetensors(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Where the tensors start, and the header. What is wrong with the file, whoever made it, is a `ValueError`."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            header_size = int.from_bytes(file.read(8), "little")
            if header_size > size - 8:
                raise ValueError(f"a header of {header_size} bytes in a file of {size}")
            header = json.loads(file.read(header_size))
        header.pop("__metadata__", None)
        yield 8 + header_size, header
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{path}: no safetensors file: {error}") from error


class Span(NamedTuple):
    """Bytes of a file."""

    path: Path
    start: int
    size: int


def _sha256_spans(spans: Sequence[Span]) -> list[str]:
    """The sha256 of each, several at a time, the largest first: else one core may end with it alone."""
    largest_first = sorted(range(len(spans)), key=lambda index: -spans[index].size)
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        digests = pool.map(_sha256_span, [spans[index] for index in largest_first])
        return [digest for _, digest in sorted(zip(largest_first, digests, strict=True))]


def _sha256_span(span: Span) -> str:
    digest = hashlib.sha256()
    view = memoryview(bytearray(min(CHUNK, span.size)))
    left = span.size
    with open(span.path, "rb", buffering=0) as file:
        file.seek(span.start)
        while left:
            count = file.readinto(view[:left])
            if not count:
                raise OSError(f"{span.path}: ends {left} bytes before its end is said to be")
            digest.update(view[:count])
            left -= count
    return digest.hexdigest()
