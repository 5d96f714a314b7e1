"""Every file of a record, hashed as it streams by: several at a time, in constant memory, and gone on with
after an interruption.

    hashes = Hashes(source, Known(home / "verify" / f"{key}.jsonl"), advance)
    found = hashes.check_run("5f0c…", {"curve.json": {"sha256": "…", "size": 812}, …})
    found()    [Finding("artifact curve.json", …)]
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stagewise.hashing import digest_tensors, sha256, sha256_file, tensor_digests
from stagewise.record.manifest import FILE, Model
from stagewise.verification.findings import Finding
from stagewise.verification.views import Absent, Owner, Source

Entries = Mapping[str, Mapping[str, Any]]  # {path: {"sha256", "size"}}
AT_ONCE = 4  # files; what is fetched over a network waits more than it computes
AGE = 3600.0  # seconds: what was hashed longer ago is hashed again
TEXT = 64 << 20  # bytes of a file whose line endings may be looked at
WEIGHTS = ".safetensors"
WEIGHTS_FOLDER = "model/"  # of a model, where the weights that count lie


class Known:
    """Digests found by an earlier run of the same check that was interrupted; a line each, removed at the end.

    A digest counts for the same file, by device and inode, of the same size and the same two times of change: the one
    that a program may set back, and the one that the system sets at every change. So it counts for a file that lies
    on this machine, and never for one that is fetched.
    """

    def __init__(self, path: Path | None) -> None:
        """Without a path nothing is kept, and every file is read."""
        self.path, self.lock = path, threading.Lock()
        self.digests: dict[tuple[str, ...], Any] = {}
        self.unread: list[str] = []
        """What an earlier digest stood in for."""
        if path is not None and path.is_file() and time.time() - path.stat().st_mtime < AGE:
            self.digests = dict(filter(None, map(_entry, path.read_text(encoding="utf-8").splitlines())))
        else:
            self.forget()

    def digest(self, owner: Owner, path: str, local: Path, make: Callable[[Path], Any]) -> Any:
        """That of the file `path` of `owner`, which lies at `local`: kept, or made now."""
        status = local.stat()
        times = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        key = (*owner, path, *map(str, times))
        found = self.digests.get(key)
        if found is None:
            found = make(local)
            self._add(key, found)
        else:
            with self.lock:
                self.unread.append(f"{owner.kind.removesuffix('s')} {owner.id}: {path}")
        return found

    def _add(self, key: tuple[str, ...], found: Any) -> None:
        with self.lock:
            self.digests[key] = found
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, found]) + "\n")

    def forget(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _entry(line: str) -> tuple[tuple[str, ...], Any] | None:
    try:
        key, found = json.loads(line)
    except ValueError:
        return None  # the line that the interruption cut
    return tuple(key), found


class Hashes:
    """Hashes the files of many owners at once; `advance` is called after each file."""

    def __init__(self, source: Source, known: Known, advance: Callable[[int], None]) -> None:
        self.source, self.known, self.advance = source, known, advance
        self.pool = ThreadPoolExecutor(AT_ONCE)
        self.files = self.bytes = self.left_out = 0

    def check_run(self, run_id: str, expected: Entries) -> Callable[[], list[Finding]]:
        """Starts hashing the run's artifacts; the call that is returned waits for what was found."""
        owner = Owner("runs", run_id)
        listed = {path: size for path, size in listed_files(self.source, owner).items() if path != FILE}
        tasks = self._start(owner, listed, expected)
        return lambda: list(self._compare(owner, "artifact", listed, expected, _results(tasks)))

    def check_model(self, model: Model) -> Callable[[], list[Finding]]:
        """As `check_run`, of a model: its files, and the digest over its tensors."""
        owner, expected = Owner("models", model.model_id), dict(model.files)
        if not self.source.weights:
            left_out = [path for path in expected if path.endswith(WEIGHTS)]
            self.left_out += len(left_out)
            expected = {path: entry for path, entry in expected.items() if path not in left_out}
        listed = listed_files(self.source, owner)
        tasks = self._start(owner, listed, expected)

        def found() -> list[Finding]:
            digests, what = _results(tasks), f"model {model.name}"
            findings = list(self._compare(owner, f"{what}, file", listed, expected, digests))
            # Where a file differs already, the tensors in it say nothing new.
            if self.source.weights and not findings:
                findings += _weights(what, digests, model.weights_sha256)
            return findings

        return found

    def _start(self, owner: Owner, listed: Mapping[str, int], expected: Entries) -> dict[str, Future[Any]]:
        return {path: self.pool.submit(self._hash, owner, path) for path in listed if path in expected}

    def _hash(self, owner: Owner, path: str) -> Any:
        """`{"sha256", "size"}`, and of weights `tensors`; None for a file that is gone."""
        weights = owner.kind == "models" and path.startswith(WEIGHTS_FOLDER) and path.endswith(WEIGHTS)

        def made(local: Path) -> dict[str, Any]:
            digest: dict[str, Any] = {"sha256": sha256_file(local), "size": local.stat().st_size}
            return digest | ({"tensors": _tensors(local)} if weights else {})

        try:
            with self.source.fetch(owner, path) as local:
                digest = self.known.digest(owner, path, local, made)
        except Absent:
            digest = None
        self.advance(1)
        return digest

    def _compare(
        self, owner: Owner, what: str, listed: Mapping[str, int], expected: Entries, digests: Mapping[str, Any]
    ) -> Iterator[Finding]:
        for path in sorted({*listed, *expected}):
            found, entry = digests.get(path), expected.get(path)
            self.files += found is not None
            self.bytes += found["size"] if found else 0
            if entry is None and owner.kind == "models" and path.startswith("__pycache__/"):
                why = "Python left it where the model was loaded, and runs it from there: remove it"
                yield Finding(f"{what} {path}", "compiled code", "none", why, checked=False)
            elif entry is None:
                yield Finding(f"{what} {path}", f"a file of {listed[path]:,} bytes", "none", "it was added")
            elif found is None:
                yield Finding(f"{what} {path}", "none", f"sha256 {entry['sha256']}", "it is missing")
            elif found["sha256"] != entry["sha256"]:
                why = self._why(owner, path, found, entry)
                yield Finding(f"{what} {path}", f"sha256 {found['sha256']}", f"sha256 {entry['sha256']}", why)
            elif found["size"] != entry["size"]:
                yield Finding(f"manifest.json, size of {what} {path}", f"{entry['size']:,}", f"{found['size']:,}")

    def _why(self, owner: Owner, path: str, found: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
        if found["size"] < TEXT:
            with self.source.fetch(owner, path) as local:
                unix = local.read_bytes().replace(b"\r\n", b"\n")
            if entry["sha256"] in (sha256(unix), sha256(unix.replace(b"\n", b"\r\n"))):
                return "only line endings differ"
        difference = found["size"] - entry["size"]
        return f"{abs(difference):,} bytes {'longer' if difference > 0 else 'shorter'}" if difference else ""


def listed_files(source: Source, owner: Owner) -> Mapping[str, int]:
    """Nothing where there is no such owner."""
    try:
        return source.files(owner)
    except Absent:
        return {}


def _results(tasks: Mapping[str, Future[Any]]) -> dict[str, Any]:
    return {path: task.result() for path, task in tasks.items()}


def _tensors(path: Path) -> list[list[Any]] | None:
    try:
        return tensor_digests(path)
    except ValueError:
        return None  # its bytes are not those of the manifest, and that is found


def _weights(what: str, digests: Mapping[str, Any], expected: str) -> Iterator[Finding]:
    files = [digest["tensors"] for digest in digests.values() if digest and "tensors" in digest]
    found = None if None in files else digest_tensors(tensor for tensors in files for tensor in tensors)
    if found != expected:
        yield Finding(f"{what}, weights", f"sha256 {found}", f"sha256 {expected}")
