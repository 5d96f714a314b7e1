"""What a run says of its code: that the commit is what its id says, the archive what the commit says, and the package
what the archive and the uncommitted changes give."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stagewise.commands.derivation.expected import kept
from stagewise.credentials import HIDDEN
from stagewise.errors import CodeError
from stagewise.record import checkout, commits, git_objects
from stagewise.record import code as provenance
from stagewise.record.manifest import Code, Sealed
from stagewise.steps.common import ARCHIVE, COMMIT, DIFF, TREE
from stagewise.verification.findings import Finding

MODULES = {kind: f"steps.{name}" for kind, name in {"split": "split", "train": "train", "eval": "evaluate"}.items()}
MODULES |= {"report": "steps.report", "pipeline": "pipeline", "reproduction": "commands.reproduce"}
RULES = "record/code.py"  # by which sources are digested: another one's digests cannot be told here
SEEN: dict[Any, "_Commit"] = {}
"""What was found of a commit, by the digests of all that was looked at: the same in every record."""


def check(sealed: Sealed) -> Iterator[Finding]:
    code, artifacts = sealed.manifest.code, sealed.manifest.outputs.artifacts
    held = {name: name in artifacts for name in (COMMIT, TREE, DIFF, ARCHIVE)}
    committed = code.commit is not None
    for name in ("path", "dirty", "archived"):
        if (getattr(code, name) is not None) != committed:
            found, follows = ("none", "what is so of the commit") if committed else ("a value", "none without a commit")
            yield Finding(f"manifest.json, code.{name}", found, follows)
    expected = {DIFF: bool(code.dirty), ARCHIVE: bool(code.archived)}
    if not code.withheld:
        expected |= {COMMIT: committed, TREE: committed}
    for name, wanted in expected.items():
        if held[name] != wanted:
            found, follows = ("a file", "none") if held[name] else ("none", "a file")
            yield Finding(f"artifact {name}", found, follows, "as manifest.json, code has it")
    if not committed or not (held[COMMIT] and held[TREE]):
        if committed:
            why = f"the record holds neither the commit nor its tree ({code.withheld})"
            yield Finding(
                "manifest.json, code.commit", str(code.commit), "one that can be told again", why, checked=False
            )
        return
    commit = _commit(sealed)
    yield from commit.findings
    yield from _digests(sealed, commit)
    stars = sealed.artifact(DIFF).count(HIDDEN.encode()) if held[DIFF] else 0
    if code.redacted > stars:
        yield Finding("manifest.json, code.redacted", str(code.redacted), f"at most {stars}, as code.diff has it")


def step_digest(sealed: Sealed, kind: str) -> str | None:
    """Of a step of this kind, as the code that the run records gives it; None where it is not here to be digested."""
    code = sealed.manifest.code
    if {COMMIT, TREE} <= sealed.manifest.outputs.artifacts.keys() and (found := _commit(sealed).steps.get(kind)):
        return found
    ours = code.package_sha256 == provenance.package_digest(provenance.PACKAGE)
    return provenance.code_digest(MODULES[kind]) if ours else None


def _commit(sealed: Sealed) -> "_Commit":
    code, artifacts = sealed.manifest.code, sealed.manifest.outputs.artifacts
    entries = {name: artifacts.get(name) for name in (COMMIT, TREE, DIFF, ARCHIVE)}
    held = {name: entry is not None for name, entry in entries.items()}
    digests = (entry and entry["sha256"] for entry in entries.values())
    return kept(SEEN, (*digests, code.commit, code.path, code.redacted), lambda: _Commit(sealed, held))


class _Commit:
    """A commit as a record holds it, looked at once for all runs that hold the same."""

    def __init__(self, sealed: Sealed, held: Mapping[str, bool]) -> None:
        code = sealed.manifest.code
        self.findings: list[Finding] = []
        self.package: str | None = None
        self.steps: dict[str, str] = {}
        path, commit = code.path or "", str(code.commit)
        try:
            self.listing = git_objects.entries(sealed.artifact(TREE))
            mismatches = list(git_objects.check(commit, sealed.artifact(COMMIT), self.listing))
            if held[ARCHIVE]:
                files = commits.tar_files(sealed.artifact(ARCHIVE))
                mismatches += git_objects.check_files(commit, self.listing, files, path)
        except CodeError as error:
            self.listing = {}
            self.findings.append(Finding("its code", str(error), "what git keeps of a commit"))
            return
        self.findings += [Finding(f"artifact {each.what}", each.found, each.expected) for each in mismatches]
        if f"{path}/src/stagewise/__init__.py".lstrip("/") not in self.listing:
            self.findings.append(Finding(f"artifact {TREE}", "a tree without the package", "src/stagewise in it"))
        if held[ARCHIVE] and not mismatches and not code.redacted:
            self._rebuild(sealed, held)

    def _rebuild(self, sealed: Sealed, held: Mapping[str, bool]) -> None:
        """The digests of the package as the archive and the changes give it."""
        diff = sealed.artifact(DIFF) if held[DIFF] else None
        with tempfile.TemporaryDirectory() as folder:
            try:
                code, archive = sealed.manifest.code, sealed.artifact(ARCHIVE)
                package = checkout.archived(code, diff, archive, Path(folder) / "code")
            except CodeError as error:
                self.findings.append(Finding("its code", str(error), "a package that can be rebuilt", checked=False))
                return
            self.package = provenance.package_digest(package)
            ours = (provenance.PACKAGE / RULES).read_bytes()
            if (package / RULES).is_file() and (package / RULES).read_bytes() == ours:
                self.steps = {kind: provenance.code_digest(name, package) for kind, name in MODULES.items()}


def _digests(sealed: Sealed, commit: _Commit) -> Iterator[Finding]:
    code, kind = sealed.manifest.code, sealed.manifest.kind
    why = "that is what the code in the record gives"
    for name, found in (("package_sha256", commit.package), ("step_sha256", commit.steps.get(kind))):
        if found is not None and getattr(code, name) != found:
            yield Finding(f"manifest.json, code.{name}", getattr(code, name), found, why)
    if code.package_sha256 != provenance.package_digest(provenance.PACKAGE):
        return
    ours = provenance.code_digest(MODULES[kind])
    if kind not in commit.steps and code.step_sha256 != ours:
        yield Finding("manifest.json, code.step_sha256", code.step_sha256, ours, "that is what this package gives")
    if commit.package is None and not code.dirty and commit.listing:
        yield from _sources(code, commit.listing)


def _sources(code: Code, listing: Mapping[str, git_objects.Entry]) -> Iterator[Finding]:
    """That the commit holds the very sources that run here, where the package is the recorded one."""
    place = f"{code.path or ''}/src/stagewise/".lstrip("/")
    for path in sorted(provenance.PACKAGE.rglob("*")):
        name = path.relative_to(provenance.PACKAGE).as_posix()
        if path.is_file() and name.endswith(provenance.SOURCES):
            found = git_objects.object_id("blob", path.read_bytes(), str(code.commit))
            entry = listing.get(f"{place}{name}")
            if entry is None or entry.id != found:
                told = f"blob {entry.id}" if entry else "none"
                yield Finding(
                    f"artifact {TREE}, {place}{name}", told, f"blob {found}", "as the recorded package has it"
                )
                return
