"""The runs of a record, read from one to the source by the manifests that name them.

chain = Chain(source)
node = chain.walk("5f0c…", expect="9b1e…")       # the tree of findings.py
chain.sealed                                       # {run id: Sealed} of all that could be read
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from stagewise.errors import LineageError
from stagewise.hashing import canonical_json, sha256
from stagewise.record.facts import PipelineFacts
from stagewise.record.frozen import Reference
from stagewise.record.manifest import FILE, OtherRelease, Sealed, check_facts, decode
from stagewise.verification.entries import SEAL
from stagewise.verification.files import listed_files
from stagewise.verification.findings import Finding, Node
from stagewise.verification.views import Absent, Deleted, Owner, RunView, Source

KIND = "stagewise.kind"


@dataclass(slots=True)
class Chain:
    """The runs of a record that could be read, by their id; and of each that is named what is wrong with it."""

    source: Source
    sealed: dict[str, Sealed] = field(default_factory=dict)
    views: dict[str, RunView] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)  # of runs whose manifest another release reads: which

    def walk(self, run_id: str, expect: str | None = None, above: Node | None = None) -> Node:
        """Reads a run and all that it was made from; returns its node. Breadth first, so that each run stands below
        the one nearest to the root that names it."""
        waiting: deque[tuple[str, str | None, Node | None]] = deque([(run_id, expect, above)])
        while waiting:
            found, expected, upper = waiting.popleft()
            if found in self.nodes:
                # Two runs may name the same one; both must mean the same manifest, where it could be read.
                node = self.nodes[found]
                other = _other_manifest(node.digest, str(expected))
                if node.digest and expected not in (None, node.digest) and other not in node.findings:
                    node.findings.append(other)
                continue
            node = self.nodes[found] = self._open(found, expected)
            if upper is not None:
                upper.below.append(node)
            if found in self.sealed:
                for reference in _in_order(self.sealed[found]):
                    waiting.append((reference["run_id"], reference["manifest_sha256"], node))
        return self.nodes[run_id]

    def made_from(self, sealed: Sealed, role: str) -> Sealed:
        """The run that this one names as its `role`. Raises `LineageError` where it names none, or none that is
        readable."""
        reference = sealed.manifest.inputs.runs.get(role)
        if reference is None or reference["run_id"] not in self.sealed:
            raise LineageError(f"run {sealed.run_id}: its {role} cannot be read")
        return self.sealed[reference["run_id"]]

    def of_kind(self, kind: str) -> list[Sealed]:
        return [sealed for sealed in self.sealed.values() if sealed.manifest.kind == kind]

    def maker_of(self, model_id: str) -> Sealed | None:
        """The run that made this model."""
        made = (each for each in self.sealed.values() if each.manifest.outputs.model)
        return next((each for each in made if each.model.model_id == model_id), None)

    def _open(self, run_id: str, expected: str | None) -> Node:
        """Reads a run and its manifest; what is wrong with them stands in its node."""
        try:
            view = self.source.run(run_id)
        except Deleted as error:
            return Node("a run", run_id, findings=[Finding("run", str(error), "a run that is there", checked=False)])
        except Absent:
            return Node("a run", run_id, findings=[Finding("run", "none", f"a run of id {run_id}", "it is missing")])
        self.views[run_id] = view
        node = Node(title(view), run_id)
        owner = Owner("runs", run_id)
        if FILE not in listed_files(self.source, owner):
            expect = f"sha256 {expected or view.tags.get(SEAL)}"
            node.findings.append(Finding(f"artifact {FILE}", "none", expect, "it is missing"))
            return node
        with self.source.fetch(owner, FILE) as path:
            data = path.read_bytes()
        node.digest = sha256(data)
        if expected not in (None, node.digest):
            node.findings.append(_other_manifest(node.digest, str(expected)))
        if view.tags.get(SEAL) != (expected or node.digest):
            node.findings.append(Finding(f"tag {SEAL}", str(view.tags.get(SEAL)), expected or node.digest))
        try:
            manifest = decode(data)
            check_facts(manifest)
            if canonical_json(manifest.json_value()) != data:
                node.findings.append(Finding(f"artifact {FILE}", "other bytes", "its canonical JSON"))
        except LineageError as error:
            other = isinstance(error, OtherRelease)
            expect = "one that this release reads; verify it with that one" if other else "a manifest"
            if other:
                self.others[run_id] = str(error)
            node.findings.append(Finding(f"artifact {FILE}", str(error), expect, checked=not other))
            return node
        fetch = _fetcher(self.source, owner)
        self.sealed[run_id] = Sealed(run_id, view.experiment_id, manifest, node.digest, fetch)
        if view.tags.get(KIND) != manifest.kind:
            node.findings.append(Finding(f"tag {KIND}", str(view.tags.get(KIND)), manifest.kind))
        return node


def title(view: RunView) -> str:
    kind = view.tags.get(KIND, "")
    return view.name if kind in view.name else f"{view.name} {kind}"


def _in_order(sealed: Sealed) -> list[Reference]:
    """What a run was made from: a pipeline's steps as they were done, of another run by name."""
    runs = sealed.manifest.inputs.runs
    if sealed.manifest.kind != "pipeline":
        return list(runs.values())
    steps = sealed.facts(PipelineFacts).steps
    done = [run_id for pair in zip(steps.train, steps.eval, strict=False) for run_id in pair]
    places = {run_id: place for place, run_id in enumerate([steps.split, *done])}
    return sorted(runs.values(), key=lambda reference: places.get(reference["run_id"], len(places)))


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
