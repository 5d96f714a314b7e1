"""What a registry's names lead to, held against the sealed checkpoints that they stand for.

    models:/tiny@curriculum-s1   a version of the last checkpoint of that arm and seed: by its sealed digests
    models:/tiny@champion        a version that `promote` gave the alias to: also by the gate, recomputed

A later study may have moved an alias on. Then the run that made the model it leads to is walked like the record's own.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from stagewise.data.jsonl import document
from stagewise.errors import DataError, LineageError
from stagewise.record import schemas
from stagewise.record.facts import PipelineFacts, TrainFacts
from stagewise.record.manifest import Sealed
from stagewise.verification.chain import Chain
from stagewise.verification.entries import texts
from stagewise.verification.findings import Finding, Node
from stagewise.verification.views import Absent, Source, VersionView

RESOLVED = "config/resolved.json"  # of a run: the config with every default filled in
HISTORY = "stagewise.analysis.gate."  # before the time, in a version's tags: what became of it in promotions
OF_AN_ARM = re.compile(r"-s(\d+|None)$")  # an alias `<arm>-s<seed>`
MODEL = re.compile(r"models:/([0-9A-Za-z_-]{1,100})")


Event = Mapping[str, Any]
"""What a tag tells of a version: that it was promoted, by what gate, or replaced (schemas/promotion.json)."""


class Gate(Protocol):
    def __call__(self, promotion: Event, promoted: Sealed, against: Sealed | None) -> Iterator[Finding]:
        """What does not follow of a promotion from the two eval runs that it names."""
        ...


class Lead(NamedTuple):
    """An alias of a registered model, and what it leads to."""

    name: str
    alias: str
    number: str
    version: VersionView | None  # None: there is none of this number
    made_by: str | None  # the run that made the version's model; None: it is no model of a run here
    promotion: Event | None = None  # the last that is told of it, for the champion
    unreadable: str = ""  # what is wrong with what is told of it

    @property
    def what(self) -> str:
        return f"models:/{self.name}@{self.alias}"

    @property
    def runs(self) -> list[tuple[str, str | None]]:
        """(id, manifest's sha256 where it is told) of the runs by which it is held."""
        named: list[tuple[str, str | None]] = [(self.made_by, None)] if self.made_by else []
        if self.promotion and self.promotion["event"] == "promoted":
            named.append((self.promotion["eval_run"], self.promotion["manifest_sha256"]))
            named += [(run_id, None) for run_id in [self.promotion["against_eval_run"]] if run_id]
        return named


def follow(source: Source, name: str, alias: str, champion: str | None) -> Lead | None:
    """What an alias leads to; None where there is no such alias."""
    number = source.aliases(name).get(alias)
    if number is None:
        return None
    try:
        version = source.version(name, number)
    except Absent:
        return Lead(name, alias, number, None, None)
    lead = Lead(name, alias, number, version, maker(source, version))
    try:
        return lead._replace(promotion=_last_promotion(version, alias)) if alias == champion else lead
    except DataError as error:
        return lead._replace(unreadable=str(error))


def of_pipeline(source: Source, sealed: Sealed) -> list[Lead]:
    """What the aliases of a study, and its champion's, lead to."""
    champion = champion_of(sealed)
    registered = sealed.facts(PipelineFacts).registered
    wanted = {(entry.name, alias) for alias, entry in registered.items()}
    wanted |= {(name, champion) for name in {entry.name for entry in registered.values()} if champion}
    found = (follow(source, name, alias, champion) for name, alias in sorted(wanted))
    return [lead for lead in found if lead is not None]


def champion_of(sealed: Sealed) -> str | None:
    """The alias of the best model, as the run's config has it; None where that cannot be read."""
    with suppress(LineageError, DataError, KeyError, TypeError):
        alias = sealed.json(RESOLVED)["promotion"]["alias"]
        return alias if isinstance(alias, str) else None
    return None


def maker(source: Source, version: VersionView) -> str | None:
    """The run that made a version's model."""
    match = MODEL.fullmatch(version.source)
    if match is None:
        return None
    try:
        return source.model(match[1]).source_run_id
    except Absent:
        return None


def _last_promotion(version: VersionView, alias: str) -> Event | None:
    """The newest of the version's promotion tags for this alias. Raises `DataError` for one that is none."""
    newest = None
    for key in sorted(key for key in version.tags if key.startswith(HISTORY)):
        where = f"models:/{version.name}/{version.version}, tag {key}"
        event = document(version.tags[key].encode(errors="surrogatepass"), where)
        schemas.check(event, "promotion", where)
        newest = event if event["alias"] == alias else newest
    return newest


# --- what is held against what ------------------------------------------------------------------


def check_registered(chain: Chain, sealed: Sealed, leads: list[Lead]) -> Iterator[Finding]:
    """The versions that a pipeline registered, and that their aliases are there."""
    pointed = {(lead.name, lead.alias) for lead in leads}
    for alias, entry in sealed.facts(PipelineFacts).registered.items():
        what, model = f"models:/{entry.name}/{entry.version}", f"models:/{entry.model_id}"
        gone = f"it was removed from the registry, which says nothing of the checkpoint; that is {model}"
        try:
            version = chain.source.version(entry.name, entry.version)
        except Absent:
            yield Finding(what, "no such version", model, gone, checked=False)
            continue
        trained = chain.maker_of(entry.model_id)
        if trained is not None:
            yield from check_version(chain.source, version, trained)
        if (entry.name, alias) not in pointed:
            yield Finding(f"models:/{entry.name}@{alias}", "no such alias", f"one of {what}", gone, checked=False)


def check_version(source: Source, version: VersionView, trained: Sealed) -> Iterator[Finding]:
    """The tags that say which checkpoint a version is, and where its files come from."""
    what = f"models:/{version.name}/{version.version}"
    facts, model = trained.facts(TrainFacts), trained.model
    if version.source != f"models:/{model.model_id}":
        yield Finding(f"{what}, source", version.source, f"models:/{model.model_id}", "it was re-pointed")
    expected = {key: str(getattr(facts, key)) for key in ("arm", "phase", "seed")} | {
        "weights_sha256": model.weights_sha256,
        "manifest_sha256": trained.digest,
        "dataset_sha256": facts.source_sha256,
    }
    yield from texts(f"{what}, tag", version.tags, expected, ())
    if version.run_id != trained.run_id:
        yield Finding(f"{what}, run", version.run_id, trained.run_id)
    with suppress(Absent):  # found where the model was made
        location = source.model(model.model_id).location
        if version.location != location:
            yield Finding(f"{what}, storage location", version.location, location, "it was re-pointed")


def check_lead(chain: Chain, lead: Lead, champion: str | None, gate: Gate) -> Iterator[Finding]:
    """An alias, by the sealed checkpoint that it leads to; the champion also by its promotion."""
    if lead.version is None:
        yield Finding(lead.what, f"version {lead.number}", "a version that is there", "there is none of this number")
        return
    trained = chain.sealed.get(lead.made_by or "")
    if trained is None or trained.manifest.kind != "train":
        found = f"version {lead.number}, whose source is {lead.version.source}"
        yield Finding(lead.what, found, "a checkpoint that a train run sealed", "it was re-pointed")
        return
    yield from check_version(chain.source, lead.version, trained)
    if lead.unreadable:
        yield Finding(lead.what, lead.unreadable, "what `stagewise promote` writes")
        return
    if lead.alias == champion:
        yield from _check_promotion(chain, lead, trained, gate)
        return
    if not OF_AN_ARM.search(lead.alias):
        return  # somebody's own
    facts = trained.facts(TrainFacts)
    leads_to = f"{facts.arm}-s{facts.seed}"
    if leads_to != lead.alias or facts.phase != facts.phases:
        found = f"version {lead.number}, which is {trained.model.name}"
        yield Finding(lead.what, found, f"the last checkpoint of {lead.alias}", "it was re-pointed")


def _check_promotion(chain: Chain, lead: Lead, trained: Sealed, gate: Gate) -> Iterator[Finding]:
    told, version = lead.promotion, f"version {lead.number}"
    if told is None:
        yield Finding(lead.what, f"{version}, set by hand", "a version that `stagewise promote` gave it to")
        return
    if told["event"] == "replaced":
        found = f"{version}, which was replaced by version {told['by']}"
        yield Finding(lead.what, found, f"version {told['by']}, or one promoted since", "it was set back by hand")
        return
    promoted = chain.sealed.get(told["eval_run"])
    if promoted is None or promoted.manifest.inputs.runs.get("train") != trained.reference:
        found = f"eval run {told['eval_run']}"
        yield Finding(f"{lead.what}, promotion", found, f"an eval run of {version}, made by run {trained.run_id}")
        return
    against = chain.sealed.get(told["against_eval_run"] or "")
    if (against is None) != (told["before"] is None):
        found = f"version {told['before']} before, held against eval run {told['against_eval_run']}"
        yield Finding(f"{lead.what}, promotion", found, "an eval run of that version, or neither")
        return
    yield from _check_before(chain, lead, told["before"], against)
    for each in gate(told, promoted, against):
        yield replace(each, where=f"{lead.what}, {each.where}")


def _check_before(chain: Chain, lead: Lead, before: str | None, against: Sealed | None) -> Iterator[Finding]:
    """That the promotion was held against the version that had the alias, as far as that is still there."""
    if before is None or against is None:
        return
    with suppress(Absent):
        expected = maker(chain.source, chain.source.version(lead.name, before))
        of = against.manifest.inputs.runs.get("train")
        found = of and of["run_id"]
        if found != expected:
            where = f"{lead.what}, promotion against version {before}"
            yield Finding(where, f"an eval run of run {found}", f"an eval run of run {expected}")


def moved(sealed: Sealed, leads: list[Lead], nodes: Mapping[str, Node]) -> list[str]:
    """In words the aliases of a study that lead to other checkpoints than its own by now."""
    own = {alias: entry.version for alias, entry in sealed.facts(PipelineFacts).registered.items()}
    said = []
    for lead in leads:
        if own.get(lead.alias, lead.number) != lead.number and lead.made_by in nodes:
            said.append(
                f"{lead.what} has moved on: from version {own[lead.alias]}, of this record, to version {lead.number}, "
                f"which run {lead.made_by} made; that run was checked too."
            )
    return said


def snapshot(source: Source, pipelines: list[Sealed]) -> dict[str, Any]:
    """What a registry says now of the versions and aliases that the checks above look at, for a bundle."""
    aliases: dict[str, dict[str, str]] = {}
    wanted: set[tuple[str, str]] = set()
    for sealed in pipelines:
        wanted |= {(entry.name, entry.version) for entry in sealed.facts(PipelineFacts).registered.values()}
        for lead in of_pipeline(source, sealed):
            aliases.setdefault(lead.name, {})[lead.alias] = lead.number
            wanted.add((lead.name, lead.number))
            if lead.promotion and lead.promotion.get("before"):
                wanted.add((lead.name, lead.promotion["before"]))
    versions = []
    for name, number in sorted(wanted):
        with suppress(Absent):
            versions.append(source.version(name, number))
    return {"aliases": aliases, "versions": versions}
