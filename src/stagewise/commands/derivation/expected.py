"""What a run of any kind has to record, given what its kind says of it; and how a difference is told.

yield from hold(sealed, chain, Expected(part=…, inputs=…, tags={"arm": "flat"}, facts=…, description="…"))
"""

import itertools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import yaml

from stagewise.config import Config, parse, resolved
from stagewise.data.jsonl import document
from stagewise.errors import DataError, UserError
from stagewise.hashing import canonical_json, digest_json, sha256
from stagewise.record.code import deciding, identity
from stagewise.record.frozen import Frozen
from stagewise.record.manifest import Sealed
from stagewise.steps.common import ARCHIVE, ASKED, COMMIT, DIFF, TREE, code_tags, described, with_own
from stagewise.steps.own import FOLDER as OWN
from stagewise.tracking.datasets import DatasetRef
from stagewise.tracking.runs import FINGERPRINT, KIND, NOTE, PARENT, flatten
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding
from stagewise.verification.registry import RESOLVED

FOLLOWS = "that is what follows from its inputs"
SETUP = (ASKED, RESOLVED, "environment.json")  # how a step was made, in its artifacts
CODE = (COMMIT, TREE, DIFF, ARCHIVE)
NONE = object()  # in the place of what is not there
EXCERPT = 80  # characters of a text
MOST = 100_000  # values in a YAML file
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run of a kind records beside the content of its files, as far as it follows."""

    description: str
    facts: Frozen
    part: Mapping[str, Any]
    """Of the resolved config."""
    artifacts: Sequence[str]
    """By name, besides those of every run."""
    inputs: Any = None
    """Of the fingerprint; None where the run has none."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """The kind of each run that it was made from, by its role."""
    setup: Sequence[str] = SETUP
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    """What MLflow's launcher records of the entry point, where it started the run; None for what anybody may choose."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """`stagewise.<name>`."""
    more_tags: Mapping[str, str] = field(default_factory=dict)
    resumed: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: Sequence[DatasetRef] = ()
    model: Mapping[str, Any] | None = None
    """Name, params and tags."""


def config_of(sealed: Sealed) -> Config:
    return _parsed(sealed.artifact(ASKED))


@lru_cache(maxsize=64)  # the runs of a study have one in common
def _parsed(data: bytes) -> Config:
    check_yaml(data, ASKED)
    return parse(data.decode(), ASKED)


def check_yaml(data: bytes, name: str) -> None:
    """Raises `DataError` for a file that is no YAML, or whose aliases stand for more than anybody would write: a few
    lines can stand for billions of values."""
    try:
        node = yaml.compose(data.decode(), Loader=yaml.SafeLoader)
        if node is not None:
            _count(node, {})
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise DataError(f"{name}: found no YAML that can be read ({' '.join(str(error).split())})") from None


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for. Raises `OverflowError` for too many."""
    if id(node) not in known:
        known[id(node)] = MOST  # of a node within itself
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        inside = [each for pair in pairs for each in pair]
        inside += node.value if isinstance(node, yaml.SequenceNode) else []
        known[id(node)] = 1 + sum(_count(each, known) for each in inside)
    if known[id(node)] >= MOST:
        raise OverflowError("its aliases stand for too many values")
    return known[id(node)]


def same(where: str, recorded: Any, derived: Any, why: str = FOLLOWS) -> Iterator[Finding]:
    """A finding where what is recorded is not what follows; of values with parts, the first part that differs."""
    if canonical_json(recorded) != canonical_json(derived):
        place, found, expected = _first(recorded, derived)
        at = f"{place}: " if place else ""
        yield Finding(where, f"{at}{found}", f"{at}{expected}", why)


def _first(recorded: Any, derived: Any, place: str = "") -> tuple[str, str, str]:
    """Where in two unequal values the first difference is, and both sides of it."""
    if isinstance(recorded, dict) and isinstance(derived, dict):
        for name in sorted(recorded.keys() | derived.keys()):
            one, other = recorded.get(name, NONE), derived.get(name, NONE)
            if _unequal(one, other):
                return _first(one, other, f"{place}.{name}" if place else name)
    if isinstance(recorded, list) and isinstance(derived, list):
        for number, (one, other) in enumerate(itertools.zip_longest(recorded, derived, fillvalue=NONE)):
            if _unequal(one, other):
                return _first(one, other, f"{place}[{number}]")
    if isinstance(recorded, str) and isinstance(derived, str) and max(len(recorded), len(derived)) > EXCERPT:
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(recorded, derived, strict=False))
        start = max(0, sum(1 for _ in alike) - EXCERPT // 4)
        place = f"{place}, from character {start}".removeprefix(", ")
        recorded, derived = (f"…{text[start : start + EXCERPT]}…" for text in (recorded, derived))
    one, other = ("none" if value is NONE else short(value) for value in (recorded, derived))
    return place, one, other


def _unequal(one: Any, other: Any) -> bool:
    return one is NONE or other is NONE or canonical_json(one) != canonical_json(other)


def each_same(where: str, recorded: Mapping[str, Any], derived: Mapping[str, Any]) -> Iterator[Finding]:
    """Of each name in one of them."""
    for name in sorted(recorded.keys() | derived.keys()):
        if name not in derived:
            yield Finding(f"{where}.{name}", short(recorded[name]), "none", "it was added")
        elif name not in recorded:
            yield Finding(f"{where}.{name}", "none", short(derived[name]), FOLLOWS)
        else:
            yield from same(f"{where}.{name}", recorded[name], derived[name])


def short(value: Any) -> str:
    text = canonical_json(value).decode()
    return text if len(text) <= 120 else f"sha256 {digest_json(value)}"


def refused(where: str, check: Callable[[], Any]) -> Iterator[Finding]:
    """A finding where the steps' own check would have refused."""
    try:
        check()
    except UserError as error:
        yield Finding(where, (str(error).splitlines() or [""])[0], "what the step would not have refused")


def kept(memo: dict[Any, Any], key: Any, make: Callable[[], T]) -> T:
    """What was made for the key, once for a record."""
    if key not in memo:
        memo[key] = make()
    found: T = memo[key]
    return found


def hold(sealed: Sealed, chain: Chain, expected: Expected) -> Iterator[Finding]:
    """The whole manifest but for what its kind looks at by itself."""
    manifest, runs = sealed.manifest, sealed.manifest.inputs.runs
    kinds = {role: chain.made_from(sealed, role).manifest.kind for role in runs}
    yield from same("manifest.json, inputs.runs", kinds, expected.runs)
    yield from each_same("manifest.json, facts", manifest.facts, expected.facts.json_value())
    yield from same("manifest.json, config.part", manifest.config.part, expected.part)
    yield from _fingerprint(sealed, expected)
    yield from _artifacts(sealed, expected)
    yield from _params(sealed, expected)
    yield from _tags(sealed, chain, expected)
    yield from each_same("manifest.json, recorded.metrics", manifest.recorded.metrics, expected.metrics)
    datasets = {ref.name: ref.entry for ref in expected.datasets}
    yield from same("manifest.json, inputs.datasets", manifest.inputs.datasets, datasets)
    model = manifest.outputs.model
    told = model and model.model_dump(include={"name", "params", "tags"})
    yield from same("manifest.json, outputs.model", told, expected.model)
    if expected.setup:
        yield from _setup(sealed)


def _fingerprint(sealed: Sealed, expected: Expected) -> Iterator[Finding]:
    """Over the parts that stand beside it."""
    manifest, follows = sealed.manifest, None
    if expected.inputs is not None:
        kind, there = manifest.kind, manifest.environment
        versions, code = deciding(kind, there.packages), manifest.code.step_sha256
        part, machine = manifest.config.part, manifest.machine
        inputs = with_own(expected.inputs, manifest.code.own or {})
        follows = digest_json(identity(kind, part, inputs, machine, code, versions, there.python))
    yield from same("manifest.json, fingerprint", manifest.fingerprint, follows)


def _artifacts(sealed: Sealed, expected: Expected) -> Iterator[Finding]:
    found = set(sealed.manifest.outputs.artifacts)
    wanted = {*expected.setup, *expected.artifacts}
    found = {name for name in found if not name.startswith(f"{OWN}/")}  # checked with the code
    for name in sorted((found ^ wanted) - set(CODE)):
        told, follows = ("a file", "none") if name in found else ("none", "a file")
        yield Finding("manifest.json, outputs.artifacts", f"{name}: {told}", f"{name}: {follows}", FOLLOWS)


def _params(sealed: Sealed, expected: Expected) -> Iterator[Finding]:
    recorded: Mapping[str, str] = sealed.manifest.recorded.params
    params = flatten({**expected.part, "machine": sealed.manifest.machine}) if expected.setup else {}
    yield from same("manifest.json, recorded.params", {name: recorded.get(name) for name in params}, params)
    for name in sorted(recorded.keys() - params.keys()):
        where = f"manifest.json, recorded.params.{name}"
        if name not in expected.parameters:
            yield Finding(where, short(recorded[name]), "none", "it was added")
        elif (wanted := expected.parameters[name]) is not None:
            yield from same(where, " ".join(shlex.split(recorded[name])), wanted)


def _tags(sealed: Sealed, chain: Chain, expected: Expected) -> Iterator[Finding]:
    manifest, recorded = sealed.manifest, sealed.manifest.recorded.tags
    parent = recorded.get(PARENT)
    made_from = {role: chain.made_from(sealed, role) for role in manifest.inputs.runs}
    ours = {**expected.tags, **code_tags(manifest.code)}
    tags = {KIND: manifest.kind, **{f"stagewise.{name}": value for name, value in ours.items()}}
    tags |= {PARENT: parent} if parent is not None else {}
    tags |= {FINGERPRINT: manifest.fingerprint} if manifest.fingerprint else {}
    tags |= {NOTE: expected.description, **expected.more_tags}
    if expected.inputs is not None:
        tags[NOTE] = described(expected.description, manifest.experiment_id, parent, made_from)
    if expected.resumed:  # after which run, nothing else tells
        tags["stagewise.resumed_from"] = recorded.get("stagewise.resumed_from", "a run's id")
    yield from each_same("manifest.json, recorded.tags", recorded, tags)


def _setup(sealed: Sealed) -> Iterator[Finding]:
    """The files that say how the run was made, and what the manifest says of them."""
    manifest = sealed.manifest
    here = sealed.json("environment.json")
    yield from same(
        "artifact environment.json", here, manifest.environment.json_value() | {"machine": manifest.machine}
    )
    asked = sealed.artifact(ASKED)
    yield from same("manifest.json, config.file_sha256", manifest.config.file_sha256, sha256(asked))
    yield from same(f"artifact {RESOLVED}", document(sealed.artifact(RESOLVED), RESOLVED), resolved(config_of(sealed)))
