"""A record walked from one run to the source, and all of it checked.

    verdict = verify(source, "5f0c…", rules, Known(path), expect="9b1e…", progress=bar)
    print(verdict)                       # the tree of findings.py

Bytes are checked against manifests, entries of the database against manifests, manifests against those that name
them; and what follows from what (`Rules`, handed in: they are the steps' own functions) is done over again.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from stagewise.errors import LineageError, TrackingError, UserError
from stagewise.hashing import canonical_json, sha256
from stagewise.manifest import FILE, Sealed, decode
from stagewise.verification.entries import (
    SEAL,
    Points,
    check_alias,
    check_model,
    check_model_metrics,
    check_registry,
    check_run,
    check_version,
)
from stagewise.verification.files import Hashes, Known, listed_files
from stagewise.verification.findings import Finding, Node, Verdict
from stagewise.verification.views import Absent, Owner, RunView, Source, VersionView

KIND = "stagewise.kind"
MUTABLE = (
    "This holds the record against itself. It shows any change that was not made everywhere at once; it cannot show "
    "that whoever may write to database and files has rewritten all of it. For that, compare the manifest's sha256 "
    "with one known from elsewhere (a paper, a commit): --expect SHA256."
)
ANCHORED = "It is the record whose digest was given: {} has changed since it was sealed."


class Underivable(Exception):
    """What follows cannot be found out with what this record holds; the text says why."""


@dataclass(slots=True)
class Chain:
    """The runs of a record that could be read, by their id."""

    source: Source
    sealed: dict[str, Sealed] = field(default_factory=dict)
    views: dict[str, RunView] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def made_from(self, sealed: Sealed, role: str) -> Sealed:
        """The run that this one names as its `role`. Raises `LineageError` where it names none, or none that is
        readable."""
        reference = sealed.manifest["inputs"]["runs"].get(role)
        if reference is None or reference["run_id"] not in self.sealed:
            raise LineageError(f"run {sealed.run_id}: its {role} cannot be read")
        return self.sealed[reference["run_id"]]

    def of_kind(self, kind: str) -> list[Sealed]:
        return [sealed for sealed in self.sealed.values() if sealed.manifest["kind"] == kind]


class Derived(NamedTuple):
    """What follows from a run's inputs, done over again."""

    said: str  # what was done, in words
    findings: list[Finding]


class Rules(Protocol):
    def curves(self, sealed: Sealed) -> Points:
        """The metrics by step, as the run's files tell them."""
        ...

    def derive(self, sealed: Sealed, chain: Chain) -> Derived: ...

    def same(self, sealed: Sealed) -> bool:
        """Whether the code and packages here, as far as they decide, are those that made the run."""
        ...


class Progress(Protocol):
    def start(self, files: int) -> None: ...

    def advance(self, files: int) -> None: ...

    def close(self) -> None: ...


def verify(
    source: Source,
    run_id: str,
    rules: Rules,
    known: Known,
    progress: Progress,
    expect: str | None = None,
    version: VersionView | None = None,
    alias: str | None = None,
) -> Verdict:
    """The record of a run; and what the registry says of `version`, if it is by that, or by its alias, that the run was
    named.

    `expect` is the digest of the run's manifest, as known from outside. Raises `LineageError` for a run that is not
    there or not stagewise's, `TrackingError` where nobody answers.
    """
    view = _asked(source, run_id)
    if view.status in ("RUNNING", "SCHEDULED"):
        return Verdict(run_id, Node(_title(view), run_id), incomplete=True)
    chain = _walk(source, run_id, expect)
    root = chain.nodes[run_id]
    verdict = Verdict(run_id, root, root.digest, expect)
    _check_files(chain, Hashes(source, known, progress.advance), progress, verdict)
    for sealed in chain.sealed.values():
        chain.nodes[sealed.run_id].findings += _entries(chain, sealed, rules)
    for sealed in chain.sealed.values():
        _derive(chain, sealed, rules)
    if version is not None:
        verdict.root = _version(chain, version, alias, root)
    if known.count:
        verdict.remarks.append(
            f"{known.count:,} digests come from a check of this record that was interrupted less than an hour ago."
        )
    known.forget()
    if verdict.whole:
        but = " but the weights, which were not looked at," if verdict.left_out else ""
        verdict.remarks.append(ANCHORED.format(f"nothing below it{but}") if expect else MUTABLE)
    return verdict


def _asked(source: Source, run_id: str) -> RunView:
    try:
        view = source.run(run_id)
    except Absent:
        raise LineageError(f"run {run_id!r}: no such run here") from None
    if KIND not in view.tags:
        raise LineageError(f"run {run_id}: found a run that stagewise did not make")
    ended = view.status not in ("RUNNING", "SCHEDULED")
    if ended and SEAL not in view.tags and FILE not in listed_files(source, Owner("runs", run_id)):
        raise LineageError(
            f"run {run_id}: found a {view.tags[KIND]} run that is {view.status} and has no manifest, so there is "
            "nothing to hold it against"
        )
    return view


def _title(view: RunView) -> str:
    kind = view.tags.get(KIND, "")
    return view.name if kind in view.name else f"{view.name} {kind}"


# --- the chain of manifests ---------------------------------------------------------------------


def _walk(source: Source, run_id: str, expect: str | None) -> Chain:
    """Breadth first, so that each run stands below the one nearest to the root that names it."""
    chain = Chain(source)
    waiting: deque[tuple[str, str | None, Node | None]] = deque([(run_id, expect, None)])
    while waiting:
        found, expected, above = waiting.popleft()
        if found in chain.nodes:
            # Two runs may name the same one; both must mean the same manifest.
            node = chain.nodes[found]
            other = _other_manifest(node.digest, str(expected))
            if expected not in (None, node.digest) and other not in node.findings:
                node.findings.append(other)
            continue
        node = chain.nodes[found] = _open(chain, found, expected)
        if above is not None:
            above.below.append(node)
        if found in chain.sealed:
            for reference in _in_order(chain.sealed[found]):
                waiting.append((reference["run_id"], reference["manifest_sha256"], node))
    return chain


def _in_order(sealed: Sealed) -> list[Mapping[str, str]]:
    """What a run was made from: a pipeline's steps as they were done, of another run by name."""
    runs: Mapping[str, Mapping[str, str]] = sealed.manifest["inputs"]["runs"]
    steps = sealed.facts.get("steps", {}) if sealed.manifest["kind"] == "pipeline" else {}
    done = [run_id for pair in zip(steps.get("train", ()), steps.get("eval", ()), strict=False) for run_id in pair]
    places = {run_id: place for place, run_id in enumerate([steps.get("split"), *done])}
    return sorted(runs.values(), key=lambda reference: places.get(reference["run_id"], len(places)))


def _open(chain: Chain, run_id: str, expected: str | None) -> Node:
    """Reads a run and its manifest into the chain; what is wrong with them stands in its node."""
    try:
        view = chain.source.run(run_id)
    except Absent:
        return Node("a run", run_id, findings=[Finding("run", "none", f"a run of id {run_id}", "it is missing")])
    chain.views[run_id] = view
    node = Node(_title(view), run_id)
    owner = Owner("runs", run_id)
    if FILE not in listed_files(chain.source, owner):
        expect = f"sha256 {expected or view.tags.get(SEAL)}"
        node.findings.append(Finding(f"artifact {FILE}", "none", expect, "it is missing"))
        return node
    with chain.source.fetch(owner, FILE) as path:
        data = path.read_bytes()
    node.digest = sha256(data)
    if expected not in (None, node.digest):
        node.findings.append(_other_manifest(node.digest, str(expected)))
    if view.tags.get(SEAL) != (expected or node.digest):
        node.findings.append(Finding(f"tag {SEAL}", str(view.tags.get(SEAL)), expected or node.digest))
    try:
        manifest = decode(data)
        if canonical_json(manifest) != data:
            node.findings.append(Finding(f"artifact {FILE}", "other bytes", "its canonical JSON"))
    except LineageError as error:
        node.findings.append(Finding(f"artifact {FILE}", str(error), "a manifest"))
        return node
    fetch = _fetcher(chain.source, owner)
    chain.sealed[run_id] = Sealed(run_id, view.experiment_id, manifest, node.digest, fetch)
    if view.tags.get(KIND) != manifest["kind"]:
        node.findings.append(Finding(f"tag {KIND}", str(view.tags.get(KIND)), manifest["kind"]))
    return node


def _other_manifest(found: str, expected: str) -> Finding:
    return Finding(f"artifact {FILE}", f"sha256 {found}", f"sha256 {expected}")


def _fetcher(source: Source, owner: Owner) -> Callable[[str], bytes]:
    def fetch(path: str) -> bytes:
        try:
            with source.fetch(owner, path) as local:
                return local.read_bytes()
        except Absent as error:
            raise LineageError(f"run {owner.id}: artifact {path} is missing") from error

    return fetch


def _version(chain: Chain, version: VersionView, alias: str | None, made_by: Node) -> Node:
    """The registered version, above the run that made it."""
    node = Node(f"models:/{version.name}/{version.version}", below=[made_by])
    if alias is not None and re.search(r"-s(\d+|None)$", alias):
        node.findings += check_alias(chain.source, version.name, alias)
    trained = chain.sealed.get(made_by.run_id)
    if trained is not None and trained.manifest["kind"] == "train":
        node.findings += check_version(chain.source, version, trained)
    return node


# --- what is checked of each run ----------------------------------------------------------------


def _check_files(chain: Chain, hashes: Hashes, progress: Progress, verdict: Verdict) -> None:
    outputs = {run_id: sealed.manifest["outputs"] for run_id, sealed in chain.sealed.items()}
    models = [each["model"] for each in outputs.values() if each["model"]]
    progress.start(
        sum(len(each["artifacts"]) for each in outputs.values()) + sum(len(each["files"]) for each in models)
    )
    try:
        waiting = {}
        for run_id, each in outputs.items():
            waiting[run_id] = [hashes.check_run(run_id, each["artifacts"])]
            if each["model"]:
                waiting[run_id].append(hashes.check_model(each["model"]))
        for run_id, calls in waiting.items():
            before = hashes.files
            for found in calls:
                chain.nodes[run_id].findings += found()
            chain.nodes[run_id].held.append(f"{hashes.files - before:,} files")
    finally:
        hashes.pool.shutdown(cancel_futures=True)
        progress.close()
    verdict.files, verdict.bytes, verdict.left_out = hashes.files, hashes.bytes, hashes.left_out
    if hashes.left_out:
        verdict.remarks.append(f"{hashes.left_out} files of weights were left out of the bundle, and not checked.")


def _entries(chain: Chain, sealed: Sealed, rules: Rules) -> Iterator[Finding]:
    manifest = sealed.manifest
    curves: Points | None
    try:
        curves = rules.curves(sealed)
    except TrackingError:
        raise
    except (UserError, ValueError, KeyError, TypeError):
        curves = None  # the file that tells them is broken; that is found elsewhere
    yield from check_run(chain.views[sealed.run_id], sealed, curves, list(_models_in(chain, sealed)))
    if manifest["outputs"]["model"]:
        yield from check_model(chain.source, sealed)
    if manifest["kind"] == "eval":
        for model_id in _models_in(chain, sealed):
            with suppress(Absent):  # found where the model was made
                yield from check_model_metrics(chain.source.model(model_id), sealed)
    if manifest["kind"] == "pipeline":
        made = {each.manifest["outputs"]["model"]["model_id"]: each for each in chain.of_kind("train")}
        yield from check_registry(chain.source, sealed.facts["registered"], made)


def _models_in(chain: Chain, sealed: Sealed) -> Iterator[str]:
    for role in ("parent", "train"):
        reference = sealed.manifest["inputs"]["runs"].get(role)
        made_by = chain.sealed.get(reference["run_id"]) if reference else None
        if made_by is not None and made_by.manifest["outputs"]["model"]:
            yield made_by.manifest["outputs"]["model"]["model_id"]


def _derive(chain: Chain, sealed: Sealed, rules: Rules) -> None:
    """Does the step's own reckoning over again, where the bytes that it starts from are whole."""
    node = chain.nodes[sealed.run_id]
    try:
        derived = rules.derive(sealed, chain)
    except TrackingError:
        raise
    except Underivable as error:
        derived = Derived(
            "", [Finding("what follows from its inputs", "it was not reckoned", str(error), checked=False)]
        )
    except (UserError, ValueError, LookupError, TypeError, AttributeError) as error:  # a file is `Absent` among them
        first = (str(error).splitlines() or [type(error).__name__])[0]
        # Of a file that was altered nothing can follow; that it was is a finding already.
        broken = any(finding.checked for each in chain.nodes.values() for finding in each.findings)
        derived = Derived("", [] if broken else [Finding("what follows from its inputs", first, "its outputs")])
    if derived.said and not derived.findings:
        node.held.append(derived.said)
    same = not derived.findings or rules.same(sealed)
    why = "" if same else "it was made by other code or packages than these, which may be why; verify with those"
    node.findings += [replace(each, checked=each.checked and same, why=why or each.why) for each in derived.findings]
