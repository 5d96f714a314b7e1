"""Digests: of bytes, files, folders, canonical JSON and model weights. All are full sha256 in hex.

canonical_json({"b": 1, "a": "é"})  ->  b'{"a":"\\xc3\\xa9","b":1}'
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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


def sha256_file(path: Path) -> str:
    """sha256 of a file, read in chunks: memory does not grow with the file."""
    digest = hashlib.sha256()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def folder_digests(folder: Path) -> dict[str, dict[str, Any]]:
    """`{relative POSIX path: {"sha256", "size"}}` of every file below `folder`, sorted by path.

    Several files are hashed at a time: sha256 releases the interpreter lock.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        digests = list(pool.map(sha256_file, paths))
    return {
        path.relative_to(folder).as_posix(): {"sha256": digest, "size": path.stat().st_size}
        for path, digest in zip(paths, digests, strict=True)
    }


def weights_digest(folder: Path) -> str:
    """sha256 over name, dtype, shape and bytes of every tensor in the folder's safetensors files.

    Tensors are taken in the order of their names, so another sharding of the same weights has the
    same digest. Each tensor's own sha256 goes in, read straight from the file in chunks.
    """
    entries: list[tuple[str, str, list[int], str]] = []
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            header_size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_size))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                start, end = entry["data_offsets"]
                file.seek(8 + header_size + start)
                entries.append((name, entry["dtype"], entry["shape"], _digest_span(file, end - start)))
    return digest_json(sorted(entries))


def _digest_span(file: Any, size: int) -> str:
    digest = hashlib.sha256()
    while size > 0:
        chunk = file.read(min(CHUNK, size))
        if not chunk:
            raise OSError(f"{file.name}: ends {size} bytes before its header says")
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()
