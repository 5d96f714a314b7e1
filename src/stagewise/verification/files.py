"""Every file of a record, hashed as it streams by: several at a time, in constant memory, and gone on with
after an interruption.

    hashes = Hashes(source, Known(home / "verify" / f"{root}.jsonl"))
    findings = hashes.check(Owner("runs", "5f0c…"), {"curve.json": {"sha256": "…", "size": 812}, …})
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stagewise.hashing import folder_digests, sha256, sha256_file, weights_digest
from stagewise.manifest import FILE
from stagewise.verification.findings import Finding
from stagewise.verification.views import Absent, Owner, Source

Entries = Mapping[str, Mapping[str, Any]]  # {path: {"sha256", "size"}}
AT_ONCE = 8  # files; what is fetched over a network waits more than it computes
AGE = 3600.0  # seconds: what was hashed longer ago is hashed again
TEXT = 64 << 20  # bytes of a file whose line endings may be looked at
WEIGHTS = ".safetensors"
WEIGHTS_FOLDER = "model"


class Known:
    """Digests found by an earlier run of the same check that was interrupted; a line each, removed at the end."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self.digests: dict[tuple[str, str, str], Any] = {}
        if path.is_file() and time.time() - path.stat().st_mtime < AGE:
            self.digests = dict(filter(None, map(_entry, path.read_text(encoding="utf-8").splitlines())))
        else:
            self.forget()
        self.count = len(self.digests)

    def or_found(self, owner: Owner, path: str, find: Callable[[], Any]) -> Any:
        key = (*owner, path)
        if key not in self.digests:
            found = find()
            with self.lock:
                self.digests[key] = found
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([*key, found]) + "\n")
        return self.digests[key]

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def _entry(line: str) -> tuple[tuple[str, str, str], Any] | None:
    try:
        kind, owner, path, found = json.loads(line)
    except ValueError:
        return None  # the line that the interruption cut
    return (kind, owner, path), found


class Hashes:
    """Hashes the files of many owners at once; `advance` is called after each file."""

    def __init__(self, source: Source, known: Known, advance: Callable[[int], None]) -> None:
        self.source, self.known, self.advance = source, known, advance
        self.pool = ThreadPoolExecutor(AT_ONCE)
        self.files = self.bytes = self.left_out = 0

    def check_run(self, run_id: str, expected: Entries) -> Callable[[], list[Finding]]:
        """Starts hashing the run's artifacts; the call that is returned waits for what was found."""
        owner = Owner("runs", run_id)
        listed = {path: size for path, size in _listed(self.source, owner).items() if path != FILE}
        tasks = {path: self.pool.submit(self._hash, owner, path) for path in listed if path in expected}

        def found() -> list[Finding]:
            return self._compare(owner, "artifact", listed, expected, {path: _result(tasks[path]) for path in tasks})

        return found

    def check_model(self, model: Mapping[str, Any]) -> Callable[[], list[Finding]]:
        """As `check_run`, of a model: its files, and the digest over its tensors."""
        owner, expected = Owner("models", model["model_id"]), dict(model["files"])
        if not self.source.weights:
            left_out = [path for path in expected if path.endswith(WEIGHTS)]
            self.left_out += len(left_out)
            expected = {path: entry for path, entry in expected.items() if path not in left_out}
        listed = _listed(self.source, owner)
        task = self.pool.submit(self._hash_model, owner) if listed else None

        def found() -> list[Finding]:
            digests, weights = _result(task) if task else ({}, None)
            findings = self._compare(owner, f"model {model['name']}, file", listed, expected, digests)
            # Where a file differs already, the tensors in it say nothing new.
            if weights is not None and weights != model["weights_sha256"] and not findings:
                expect = f"sha256 {model['weights_sha256']}"
                findings.append(Finding(f"model {model['name']}, weights", f"sha256 {weights}", expect))
            return findings

        return found

    def _hash(self, owner: Owner, path: str) -> Any:
        def find() -> Any:
            try:
                with self.source.fetch(owner, path) as local:
                    return {"sha256": sha256_file(local), "size": local.stat().st_size}
            except Absent:
                return None

        digest = self.known.or_found(owner, path, find)
        self.advance(1)
        return digest

    def _hash_model(self, owner: Owner) -> Any:
        def find() -> Any:
            try:
                with self.source.fetch(owner, "") as local:
                    digests = folder_digests(local)
                    return digests, _weights(local / WEIGHTS_FOLDER) if self.source.weights else None
            except Absent:
                return {}, None

        digests, weights = self.known.or_found(owner, "", find)
        self.advance(len(digests))
        return digests, weights

    def _compare(
        self, owner: Owner, what: str, listed: Mapping[str, int], expected: Entries, digests: Mapping[str, Any]
    ) -> list[Finding]:
        findings = []
        for path in sorted({*listed, *expected}):
            found, entry = digests.get(path), expected.get(path)
            self.files += found is not None
            self.bytes += found["size"] if found else 0
            if entry is None:
                findings.append(Finding(f"{what} {path}", f"a file of {listed[path]:,} bytes", "none", "it was added"))
            elif found is None:
                findings.append(Finding(f"{what} {path}", "none", f"sha256 {entry['sha256']}", "it is missing"))
            elif found["sha256"] != entry["sha256"]:
                why = self._why(owner, path, found, entry)
                findings.append(
                    Finding(f"{what} {path}", f"sha256 {found['sha256']}", f"sha256 {entry['sha256']}", why)
                )
        return findings

    def _why(self, owner: Owner, path: str, found: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
        if found["size"] < TEXT:
            with self.source.fetch(owner, path) as local:
                unix = local.read_bytes().replace(b"\r\n", b"\n")
            if entry["sha256"] in (sha256(unix), sha256(unix.replace(b"\n", b"\r\n"))):
                return "only line endings differ"
        difference = found["size"] - entry["size"]
        return f"{abs(difference):,} bytes {'longer' if difference > 0 else 'shorter'}" if difference else ""


def _weights(folder: Path) -> str:
    try:
        return weights_digest(folder)
    except (OSError, ValueError, KeyError) as error:
        return f"of nothing: {error}"


def _listed(source: Source, owner: Owner) -> Mapping[str, int]:
    try:
        return source.files(owner)
    except Absent:
        return {}


def _result(task: Future[Any]) -> Any:
    return task.result()
