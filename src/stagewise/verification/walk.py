"""A record walked from one run to the source, and all of it checked.

    verdict = verify(source, "5f0c…", rules, Known(path), progress=bar, expect="9b1e…")
    print(verdict)                       # the tree of findings.py

Bytes are checked against manifests, entries of the database and of the registry against manifests, manifests against
those that name them; and what follows from what (`Rules`, handed in: they are the steps' own functions) is done over
again.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Protocol

from stagewise.errors import LineageError, TrackingError, UserError
from stagewise.record.manifest import FILE, Sealed
from stagewise.verification import registry
from stagewise.verification.chain import KIND, Chain, title
from stagewise.verification.entries import (
    SEAL,
    Points,
    check_metrics_from_outside,
    check_model,
    check_model_metrics,
    check_run,
)
from stagewise.verification.files import Hashes, Known, listed_files
from stagewise.verification.findings import Finding, Node, Verdict, add, guarded, in_a_line
from stagewise.verification.names import Named, Names
from stagewise.verification.views import Absent, Deleted, Owner, RunView, Source

MUTABLE = (
    "This checks the record for internal consistency. It shows any change that was not made everywhere at once; it "
    "cannot show that whoever may write to database and files has rewritten all of it. For that, compare the "
    "manifest's sha256 with one known from elsewhere (a paper, a commit): --expect SHA256."
)
ANCHORED = "It is the record whose digest was given: {} has changed since it was sealed."
AS_RECORDED = (
    "Taken as recorded, since nothing here can tell it again: what the models said, the losses, the weights that "
    "training made, counts of tokens that were generated or padded, times, machine and packages (docs/verify.md)."
)


class Underivable(Exception):
    """What follows cannot be found out with what this record holds; the text says why."""


class Derived(NamedTuple):
    """What follows from a run's inputs, done over again."""

    said: str  # what was done, in words
    findings: list[Finding]


class Rules(Protocol):
    def curves(self, sealed: Sealed) -> Points:
        """The metrics by step, as the run's files tell them."""
        ...

    def code(self, sealed: Sealed) -> Iterator[Finding]:
        """What contradicts itself in what a run says of its code."""
        ...

    def derive(self, sealed: Sealed, chain: Chain) -> Derived: ...

    def remarks(self, sealed: Sealed, source: Source) -> Iterator[str]:
        """What a reader should know of a run that is whole."""
        ...

    def gate(self, promotion: registry.Event, promoted: Sealed, against: Sealed | None) -> Iterator[Finding]: ...

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
    named: Named | None = None,
) -> Verdict:
    """The record of a run; and what the registry says of the version or alias by which it was named, if it was.

    `expect` is the digest of the run's manifest, as known from outside. Raises `LineageError` for a run that is not
    there, not stagewise's, or whose manifest another release reads; `TrackingError` where nobody answers.
    """
    view = _asked(source, run_id)
    if view.status in ("RUNNING", "SCHEDULED"):
        return Verdict(run_id, Node(title(view), run_id), incomplete=True)
    chain = Chain(source)
    root = chain.walk(run_id, expect)
    if run_id in chain.others and not any(finding.checked for finding in root.findings):
        raise LineageError(f"run {run_id}: {chain.others[run_id]}")
    verdict = Verdict(run_id, root, digest=root.digest, expected=expect)
    names = Names(chain, rules.gate, named or Named())
    verdict.root = names.walk(root)
    _check_files(chain, Hashes(source, known, progress.advance), progress, verdict)
    for sealed in chain.sealed.values():
        add(chain.nodes[sealed.run_id], guarded("what is told of it", _entries(chain, sealed, rules)))
    for sealed in chain.sealed.values():
        _derive(chain, sealed, rules)
    names.check()
    verdict.kept = sorted(known.unread)
    known.forget()
    verdict.remarks += _remarks(chain, names, rules, verdict)
    return verdict


def _asked(source: Source, run_id: str) -> RunView:
    try:
        view = source.run(run_id)
    except Deleted as error:
        raise LineageError(str(error)) from None
    except Absent:
        raise LineageError(f"run {run_id!r}: no such run on {source.where}") from None
    if KIND not in view.tags:
        raise LineageError(f"run {run_id}: found a run that stagewise did not make")
    ended = view.status not in ("RUNNING", "SCHEDULED")
    if ended and SEAL not in view.tags and FILE not in listed_files(source, Owner("runs", run_id)):
        raise LineageError(
            f"run {run_id}: found a {view.tags[KIND]} run that is {view.status} and has no manifest, so there is "
            "nothing to hold it against"
        )
    return view


def _remarks(chain: Chain, names: "Names", rules: Rules, verdict: Verdict) -> Iterator[str]:
    if verdict.left_out:
        yield f"{verdict.left_out} files of weights were left out of the bundle, and not checked."
    if verdict.kept:
        yield (
            f"{len(verdict.kept):,} files were not read again: a check of this record that was interrupted less than "
            "an hour ago hashed them, and since then neither size nor times nor inode changed; --json names them."
        )
    yield from names.moved()
    if verdict.whole:
        for sealed in chain.sealed.values():
            yield from rules.remarks(sealed, chain.source)
        yield AS_RECORDED
        but = " but the weights, which were not looked at," if verdict.left_out else ""
        yield ANCHORED.format(f"nothing below it{but}") if verdict.expected else MUTABLE


# --- what is checked of each run ----------------------------------------------------------------


def _check_files(chain: Chain, hashes: Hashes, progress: Progress, verdict: Verdict) -> None:
    outputs = {run_id: sealed.manifest.outputs for run_id, sealed in chain.sealed.items()}
    models = [each.model for each in outputs.values() if each.model]
    progress.start(sum(len(each.artifacts) for each in outputs.values()) + sum(len(each.files) for each in models))
    try:
        waiting = {}
        for run_id, each in outputs.items():
            waiting[run_id] = [hashes.check_run(run_id, each.artifacts)]
            if each.model:
                waiting[run_id].append(hashes.check_model(each.model))
        for run_id, calls in waiting.items():
            before = hashes.files
            for found in calls:
                chain.nodes[run_id].findings += found()
            chain.nodes[run_id].held.append(f"{hashes.files - before:,} files")
    finally:
        hashes.pool.shutdown(cancel_futures=True)
        progress.close()
    verdict.files, verdict.bytes, verdict.left_out = hashes.files, hashes.bytes, hashes.left_out


def _entries(chain: Chain, sealed: Sealed, rules: Rules) -> Iterator[Finding]:
    manifest = sealed.manifest
    curves: Points | None
    try:
        curves = rules.curves(sealed)
    except (UserError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, TrackingError):
            raise
        curves = None  # the file that tells them is broken; that is found elsewhere
    models_in = _models_in(chain, sealed)
    yield from check_run(chain.views[sealed.run_id], sealed, curves, models_in)
    if manifest.outputs.model:
        yield from check_model(chain.source, sealed)
        with suppress(Absent):
            view = chain.source.model(manifest.outputs.model.model_id)
            yield from check_metrics_from_outside(chain.source, view, sealed, chain.sealed)
    if manifest.kind == "eval":
        for model_id in models_in or ():
            with suppress(Absent):  # found where the model was made
                yield from check_model_metrics(chain.source.model(model_id), sealed)
    yield from rules.code(sealed)


def _models_in(chain: Chain, sealed: Sealed) -> list[str] | None:
    """The models that a run was made from; None where the run that made one is not there."""
    references = [sealed.manifest.inputs.runs.get(role) for role in ("parent", "train")]
    made_by = [chain.sealed.get(reference["run_id"]) for reference in references if reference]
    models = [each and each.manifest.outputs.model for each in made_by]
    return None if None in models else [model.model_id for model in models if model]


def _derive(chain: Chain, sealed: Sealed, rules: Rules) -> None:
    """Recomputes what the step computed, where the bytes that it starts from are whole."""
    node = chain.nodes[sealed.run_id]
    try:
        derived = rules.derive(sealed, chain)
    except (TrackingError, KeyboardInterrupt, SystemExit):
        raise
    except Underivable as error:
        unknown = Finding("what follows from its inputs", "it was not recomputed", str(error), checked=False)
        derived = Derived("", [unknown])
    except BaseException as error:  # a library in another language panics with one of its own
        # Of a file that was altered, or a run that is not there, nothing can follow; that it was is a finding already.
        broken = any(finding.checked for each in chain.nodes.values() for finding in each.findings)
        broken |= chain.nodes.keys() != chain.sealed.keys()
        unreadable = Finding("what follows from its inputs", in_a_line(error), "its outputs")
        derived = Derived("", [] if broken else [unreadable])
    if derived.said and not derived.findings:
        node.held.append(derived.said)
    same = not derived.findings or rules.same(sealed)
    why = "" if same else "it was made by other code or packages than these, which may be why; verify with those"
    add(node, (replace(each, checked=each.checked and same, why=why or each.why) for each in derived.findings))
