"""What failed and superseded runs left, on the tracking server and in this machine's work folders.

server  4f0c… c2 s42 train · curriculum   killed        12.3 MB
local   9c1e… work folder                 a step that was broken off could go on   4.1 MB
local   caches/0.1.9                      cache    of stagewise 0.1.9, not read by this   88.0 MB
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from stagewise.report import tables
from stagewise.tracking import leftovers, store

UNVERSIONED = ("gguf", "selfcheck", "tokens")  # caches of stagewise 0.1.0, which had them in the home folder itself


def collect(remove: bool) -> str:
    """Lists what was left, and removes it where asked to; returns what to print."""
    client = store.connect()
    rows, total = [], 0
    for leftover in leftovers.find(client):
        name = leftover.run.info.run_name or ""
        rows.append(["server", leftover.run.info.run_id, name, leftover.why, _size(leftover.bytes)])
        total += leftover.bytes
        if remove:
            leftovers.remove(client, leftover)
    for folder, size in _work_folders(store.home() / "work", remove):
        rows.append(["local", folder.name[:32], "work folder", "a step that was broken off could go on", _size(size)])
        total += size
    for folder, made_by in other_caches(store.home()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        rows.append(
            ["local", str(folder.relative_to(store.home())), "cache", f"of {made_by}, not read by this", _size(size)]
        )
        total += size
        if remove:
            shutil.rmtree(folder)
    if not rows:
        return "Nothing is left over."
    done = "removed" if remove else "left over; --remove removes it"
    return f"{tables.aligned([['where', 'what', 'name', 'why', 'size'], *rows])}\n\n{_size(total)} {done}"


def _work_folders(work: Path, remove: bool) -> Iterator[tuple[Path, int]]:
    """Folders that no living process works in, and their sizes. Each is locked while it is removed; its lock goes
    with it, and so do the locks of folders that are gone."""
    for name in sorted({path.name.removesuffix(".lock") for path in work.glob("*")}):
        folder, lock = work / name, work / f"{name}.lock"
        left = folder.is_dir()
        try:
            with FileLock(lock, timeout=0):
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                if remove:
                    if left:
                        shutil.rmtree(folder)
                    lock.unlink()  # filelock looks whether what it holds is still the file of that name
        except Timeout:
            continue
        if left:
            yield folder, size


def other_caches(home: Path) -> Iterator[tuple[Path, str]]:
    """Folders of what other releases could make again, and which release that is."""
    for folder in sorted((home / store.CACHES).glob("*/")):
        if folder != store.caches():
            yield folder, f"stagewise {folder.name}"
    for name in UNVERSIONED:
        if (home / name).is_dir():
            yield home / name, "stagewise 0.1.0"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
