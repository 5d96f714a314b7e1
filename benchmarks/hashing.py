"""How fast files and weights are hashed, against hashlib itself, and how much memory a large checkpoint takes.

    python benchmarks/hashing.py                         # 512 MiB files in the temporary folder
    python benchmarks/hashing.py --size 2048 --rounds 7

`folder_digests` and `weights_digest` of one safetensors file are held against one thread that hashes it in pieces of a
MiB; of as many files as there are cores against that many such threads. The ways take turns, and the ratio is the
median of the rounds' ratios: what the machine does besides reaches both. Memory is the peak of a process that does
nothing but hash a sparse file of `--large` GiB.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stagewise import hashing

MIB = 1 << 20
CORES = len(os.sched_getaffinity(0))
TENSORS = 40  # in a file: as many as there are large ones in a small model


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="of a file, in MiB")
    parser.add_argument("--large", type=int, default=5, help="of the sparse file, in GiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", nargs=2, metavar=("FUNCTION", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


def weights(folder: Path, size: int, *, sparse: bool = False) -> Path:
    """A folder with a safetensors file of about `size` bytes: random ones, or none that take room on the disk."""
    folder.mkdir()
    each = size // TENSORS
    header = {
        f"layer.{index}": {"dtype": "U8", "shape": [each], "data_offsets": [index * each, (index + 1) * each]}
        for index in range(TENSORS)
    }
    data = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        if sparse:
            file.truncate(8 + len(data) + TENSORS * each)
        else:
            for _ in range(TENSORS):
                file.write(os.urandom(each))
    return folder


def plain(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def plain_threads(folder: Path) -> list[str]:
    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(plain, sorted(folder.iterdir())))


def seconds(work: Callable[[Path], Any], where: Path) -> float:
    started = time.perf_counter()
    work(where)
    return time.perf_counter() - started


def measured(folder: Path, options: argparse.Namespace) -> list[str]:
    """The rows of the table."""
    size = options.size * MIB
    one, several = weights(folder / "one", size), folder / "several"
    several.mkdir()
    for index in range(CORES):
        (several / f"{index}").write_bytes(os.urandom(size))
    file = one / "model.safetensors"
    ways = {
        "plain, 1 thread, 1 file": (plain, file, 1, ""),
        "folder_digests, 1 file": (hashing.folder_digests, one, 1, "plain, 1 thread, 1 file"),
        "weights_digest, 1 file": (hashing.weights_digest, one, 1, "plain, 1 thread, 1 file"),
        f"plain, {CORES} threads, {CORES} files": (plain_threads, several, CORES, ""),
        f"folder_digests, {CORES} files": (
            hashing.folder_digests,
            several,
            CORES,
            f"plain, {CORES} threads, {CORES} files",
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, (work, where, _, _) in ways.items():
            took = seconds(work, where)
            if number:  # the first round has the files read into the page cache
                times[name].append(took)
    rows = ["| way | MB/s, median | of hashlib's |", "| --- | --- | --- |"]
    for name, (_, _, files, peer) in ways.items():
        rate = files * size / statistics.median(times[name]) / 1e6
        ratios = [theirs / ours for ours, theirs in zip(times[name], times[peer], strict=True)] if peer else []
        rows.append(f"| {name} | {rate:,.0f} | {f'{statistics.median(ratios):.0%}' if ratios else ''} |")
    return rows


def peak(function: str, folder: str) -> None:
    getattr(hashing, function)(Path(folder))
    # Linux's own: getrusage's begins with what the process that started this one had.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    print(int(line.split()[1]) // 1024)


def main() -> None:
    options = arguments()
    if options.peak:
        peak(*options.peak)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("\n".join(measured(folder, options)) + "\n")
        large = weights(folder / "large", options.large << 30, sparse=True)
        for function in ("folder_digests", "weights_digest"):
            command = [sys.executable, __file__, "--peak", function, str(large)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"{function} of a {options.large} GiB file: peak {done.stdout.strip()} MiB")


if __name__ == "__main__":
    main()
