"""The aliases that lead to a record's checkpoints, or should: followed before its files are hashed, checked after.

names = Names(chain, gate, Named(version=version, alias="champion"))
root = names.walk(root)        # the runs that aliases lead to are in the chain now, below nodes of their own
names.check()                  # what does not hold stands in the nodes
"""

from collections.abc import Iterator
from typing import NamedTuple

from stagewise.record.manifest import Sealed
from stagewise.verification import registry
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding, Node, add, guarded
from stagewise.verification.views import VersionView


class Named(NamedTuple):
    """By what of a model its run was named."""

    model_id: str | None = None
    version: VersionView | None = None
    alias: str | None = None


class Names:
    """The aliases that lead to the record's checkpoints, or should."""

    def __init__(self, chain: Chain, gate: registry.Gate, named: Named) -> None:
        self.chain, self.gate, self.named = chain, gate, named
        self.leads: list[tuple[Node, Sealed, list[registry.Lead]]] = []
        """Where it is told, whose config names the champion, and what the aliases lead to."""

    def walk(self, root: Node) -> Node:
        """Adds the runs that aliases lead to besides the record's own; returns the root, or the version above it."""
        for sealed in self.chain.of_kind("pipeline"):
            node = self.chain.nodes[sealed.run_id]
            self.leads.append((node, sealed, registry.of_pipeline(self.chain.source, sealed)))
        version, trained = self.named.version, self.chain.sealed.get(root.run_id)
        if version is not None:
            root = Node(f"models:/{version.name}/{version.version}", below=[root])
        if version is not None and self.named.alias and trained is not None:
            champion = registry.champion_of(trained)
            lead = registry.follow(self.chain.source, version.name, self.named.alias, champion)
            self.leads.append((root, trained, [lead] if lead else []))
        for node, _, leads in self.leads:
            for lead in leads:
                beside = Node(f"{lead.what}, version {lead.number}")
                for run_id, digest in lead.runs:
                    self.chain.walk(run_id, digest, beside)
                node.below += [beside] if beside.below else []
        self.root = root
        return root

    def check(self) -> None:
        for node, sealed, leads in self.leads:
            champion = registry.champion_of(sealed)
            if sealed.manifest.kind == "pipeline":
                add(node, guarded("the registry", registry.check_registered(self.chain, sealed, leads)))
            for lead in leads:
                add(node, guarded(lead.what, registry.check_lead(self.chain, lead, champion, self.gate)))
        add(self.root, self._named())

    def _named(self) -> Iterator[Finding]:
        """That the model by which the run was named is the one that it sealed."""
        version, model_id = self.named.version, self.named.model_id
        if version is None and model_id is None:
            return
        run_id = self.root.run_id or self.root.below[0].run_id
        trained = self.chain.sealed.get(run_id)
        model = trained and trained.manifest.outputs.model
        if trained is not None and version is not None and model:
            yield from registry.check_version(self.chain.source, version, trained)
        elif trained is not None and (not model or model_id not in (None, model.model_id)):
            found = f"models:/{model_id}" if model_id else str(version and version.source)
            expected = f"models:/{model.model_id}" if model else "a run that made a model"
            yield Finding("the model that was named", found, expected, "its run sealed no such model")

    def moved(self) -> Iterator[str]:
        for _, sealed, leads in self.leads:
            if sealed.manifest.kind == "pipeline":
                yield from registry.moved(sealed, leads, self.chain.nodes)
