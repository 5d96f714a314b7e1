"""What follows from what in a record, reckoned over again by the steps' own functions, without a server.

split      the stages and the eval set, from the source that they give back, by the config's rules
train      the order and multiset of the examples, from the config and the stages; the counters, from the curve
eval       every score and measure, from the outputs; every metric, from the scores
report     every number and sentence, from the predictions and the curves
pipeline   the copies of the report, the final scores, and that all arms of a seed saw the same examples as often
reproduction   the verdict, from the two records
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from stagewise import formatting, modeling, plan, predictions, training
from stagewise import split as core
from stagewise.config import Config, OwnBudget, parse, resolved
from stagewise.data.leakage import overlap
from stagewise.data.traces import parse_items, parse_traces
from stagewise.generation import Answer, Prompt
from stagewise.hashing import canonical_json, digest_json, sha256
from stagewise.manifest import Sealed
from stagewise.pipeline import finals
from stagewise.provenance import code_digest, deciding_versions, environment, normalized
from stagewise.report import figures
from stagewise.reproduction import compare
from stagewise.separations import separations
from stagewise.special_tokens import counted
from stagewise.steps import evaluate, reproduce, split, train
from stagewise.steps import report as report_step
from stagewise.steps.common import ASKED
from stagewise.steps.train import Target
from stagewise.tracking.package import FOLDER, TOKENIZER
from stagewise.tracking.runs import flatten
from stagewise.verification.entries import Points
from stagewise.verification.findings import Finding
from stagewise.verification.views import Owner
from stagewise.verification.walk import Chain, Derived, Underivable

MODULES = {kind: f"steps.{name}" for kind, name in {"split": "split", "train": "train", "eval": "evaluate"}.items()}
MODULES |= {"report": "steps.report", "pipeline": "pipeline", "reproduction": "steps.reproduce"}


class Rules:
    """`verification.walk.Rules` of the steps in this package."""

    def same(self, sealed: Sealed) -> bool:
        manifest, here = sealed.manifest, environment()
        kind, there = manifest["kind"], manifest["environment"]
        packages = normalized(there["packages"])
        return (
            manifest["code"]["step_sha256"] == code_digest(MODULES[kind])
            and all(there.get(name) == here[name] for name in ("python", "zlib"))
            and all(packages.get(name) == version for name, version in deciding_versions(kind).items())
        )

    def curves(self, sealed: Sealed) -> Points:
        if sealed.manifest["kind"] != "train":
            return {}
        points: dict[str, list[tuple[int, float]]] = {}
        for step in _curve(sealed):
            for name, value in train.step_metrics(step).items():
                points.setdefault(name, []).append((step.step, value))
        return points

    def derive(self, sealed: Sealed, chain: Chain) -> Derived:
        said, derive = KINDS[sealed.manifest["kind"]]
        return Derived(said, list(derive(sealed, chain)))


def _config(sealed: Sealed) -> Config:
    return parse(sealed.artifact(ASKED).decode(), ASKED)


def _same(where: str, recorded: Any, derived: Any) -> Iterator[Finding]:
    """A finding where what is recorded is not what follows; long values by their sha256."""
    if canonical_json(recorded) != canonical_json(derived):
        found, expected = (_short(value) for value in (recorded, derived))
        yield Finding(where, found, expected, "that is what follows from its inputs")


def _short(value: Any) -> str:
    text = canonical_json(value).decode()
    return text if len(text) <= 120 else f"sha256 {digest_json(value)}"


def _asked(sealed: Sealed, config: Config, part: Mapping[str, Any]) -> Iterator[Finding]:
    """The manifest's config and the run's params are those of the config file in the record, and what it says of code
    and machine is what the run's file and tags say."""
    manifest, recorded = sealed.manifest, sealed.manifest["config"]
    params = flatten({**part, "machine": manifest["machine"]})
    found = {name: manifest["recorded"]["params"].get(name) for name in params}
    yield from _same("manifest.json, recorded.params", found, params)
    here = json.loads(sealed.artifact("environment.json"))
    yield from _same("artifact environment.json", here, manifest["environment"] | {"machine": manifest["machine"]})
    tag = manifest["recorded"]["tags"].get("stagewise.commit")
    yield from _same("manifest.json, code.commit", manifest["code"]["commit"] or "unknown", tag)
    yield from _same("manifest.json, config.file_sha256", recorded["file_sha256"], sha256(sealed.artifact(ASKED)))
    yield from _same("manifest.json, config.part", recorded["part"], part)
    yield from _same(
        "artifact config/resolved.json", json.loads(sealed.artifact("config/resolved.json")), resolved(config)
    )


# --- split --------------------------------------------------------------------------------------


def _split(sealed: Sealed, chain: Chain) -> Iterator[Finding]:
    config, facts = _config(sealed), sealed.facts
    yield from _asked(sealed, config, split.part_of(config))
    rows = json.loads(sealed.artifact("rows.json"))
    files = {name: sealed.artifact(f"stages/{name}.jsonl") for name in rows["stages"]}
    data = core.rebuilt(rows, files)
    yield from _same("source, rebuilt from the stages", sha256(data), facts["source"]["sha256"])
    source = parse_traces(data, facts["source"]["name"], config.data.train.layout)
    items = parse_items(sealed.artifact("eval.jsonl"), facts["eval"]["name"], config.data.eval.layout)
    counter = _token_counter(chain)
    stages = core.assign(source, config.split, config.data.duplicates == "drop", counter)
    for name in stages.traces:
        derived = stages.file(name)
        yield from _same(f"artifact stages/{name}.jsonl", sha256(files.get(name, b"")), sha256(derived))
        stage = split.told_stage(derived, len(stages.traces[name]))
        yield from _same(f"manifest.json, facts.stages.{name}", facts["stages"].get(name), stage)
    yield from _same("artifact rows.json", rows, core.rows(source, stages))
    stats = core.stats(source, items, stages, overlap(source.rows, items.rows))
    yield from _same("artifact split_stats.json", json.loads(sealed.artifact("split_stats.json")), stats)
    criteria = core.criteria(config.split, stages)
    yield from _same("artifact split_criteria.md", sealed.artifact("split_criteria.md").decode(), criteria)
    yield from _same("manifest.json, facts.source", facts["source"], split.told(source))
    yield from _same("manifest.json, facts.eval", facts["eval"], split.told(items))
    datasets = {ref.name: ref.entry for ref in split.datasets(facts)}
    yield from _same("manifest.json, inputs.datasets", sealed.manifest["inputs"]["datasets"], datasets)
    metrics = split.metrics(facts)
    yield from _same("manifest.json, recorded.metrics", sealed.manifest["recorded"]["metrics"], metrics)


def _token_counter(chain: Chain) -> core.CountTokens:
    """With the tokenizer of the study's base checkpoint, where the record that is walked holds it."""

    def count(texts: Sequence[str]) -> list[int]:
        base = next((each for each in chain.of_kind("train") if each.facts["phase"] == 0), None)
        if base is None:
            raise Underivable(
                "the stages, which follow from counts of tokens; the tokenizer is in the base checkpoint: verify a run "
                "that was made from it"
            )
        return counted(_tokenizer(chain, base), texts)

    return count


def _tokenizer(chain: Chain, trained: Sealed) -> Any:
    model_id = trained.manifest["outputs"]["model"]["model_id"]
    with chain.source.fetch(Owner("models", model_id), TOKENIZER) as folder:
        return modeling.load_tokenizer(folder)


# --- train --------------------------------------------------------------------------------------


def _curve(sealed: Sealed) -> list[training.StepReport]:
    return [training.StepReport(**point) for point in json.loads(sealed.artifact(train.CURVE))]


def _train(sealed: Sealed, chain: Chain) -> Iterator[Finding]:
    config, facts, target = _config(sealed), sealed.facts, Target.of(sealed)
    made_of = chain.made_from(sealed, "split")
    yield from _asked(sealed, config, train.part_of(config, made_of, target))
    yield from _same("manifest.json, facts.chain", facts["chain"], train.chain(config, made_of, target))
    yield from _same("manifest.json, facts.source_sha256", facts["source_sha256"], made_of.facts["source"]["sha256"])
    recorded = json.loads(sealed.artifact(train.ORDER))
    consumed = [[plan.Instance(*entry) for entry in phase] for phase in recorded]
    if target.phase:
        positions = _positions(sealed, chain, config, made_of)
        phases, curriculum = (_plan(config, positions, arm, target) for arm in (target.arm, "curriculum"))
        planned = [phase.instances for phase in phases[: target.phase]]
        separated = separations(phases, curriculum, config.training.schedule_scope)
        yield from _same("manifest.json, facts.separations", facts["separations"], separated)
        checked = chain.made_from(sealed, "parent").facts.get("self_check")  # earlier versions made none
        yield from _same("manifest.json, facts.self_check", facts.get("self_check"), checked)
        if checked and facts["layout"] not in checked["layouts"]:
            yield Finding("manifest.json, facts.layout", facts["layout"], f"one of {', '.join(checked['layouts'])}")
    else:
        planned = []
    yield from _same(f"artifact {train.ORDER}", recorded, planned)
    order = plan.order_digest(consumed[-1] if consumed else [])
    yield from _same("manifest.json, facts.order_sha256", facts["order_sha256"], order)
    multiset = plan.multiset_digest([instance for phase in consumed for instance in phase])
    yield from _same("manifest.json, facts.multiset_sha256", facts["multiset_sha256"], multiset)
    yield from _counters(sealed, chain, target, consumed[-1] if consumed else [])
    yield from _dtypes(sealed, chain, target)
    used = sorted({instance.stage for instance in consumed[-1]}) if consumed else []
    datasets = {ref.name: ref.entry for ref in train.datasets(made_of.facts["stages"], used)}
    yield from _same("manifest.json, inputs.datasets", sealed.manifest["inputs"]["datasets"], datasets)


def _positions(sealed: Sealed, chain: Chain, config: Config, made_of: Sealed) -> dict[str, list[int]]:
    """Of each stage the lines that are trained on: all but those that are too long, if these are dropped."""
    positions = {}
    for stage in config.split.stages:
        left_out = sealed.facts["examples_left_out"][stage.name]
        positions[stage.name] = list(range(made_of.facts["stages"][stage.name]["rows"]))
        if left_out["dropped"]:
            layout = config.data.train.layout
            traces = parse_traces(made_of.artifact(f"stages/{stage.name}.jsonl"), stage.name, layout).rows
            tokenizer = _tokenizer(chain, chain.made_from(sealed, "parent"))
            usable = formatting.encode(traces, tokenizer, config.training, stage.name).usable
            positions[stage.name] = [position for _, position in usable]
    return positions


def _plan(config: Config, positions: Mapping[str, Sequence[int]], arm: str, target: Target) -> tuple[plan.Phase, ...]:
    order, size = config.stage_order(arm), config.training.batch_size
    return plan.build(positions, config.epochs(arm), arm, order, target.seed or 0, size)


def _counters(sealed: Sealed, chain: Chain, target: Target, consumed: Sequence[plan.Instance]) -> Iterator[Finding]:
    facts, curve = sealed.facts, _curve(sealed)
    counted = train.totals(curve)
    yield from _same("manifest.json, facts.counted", facts["counted"], counted)
    yield from _same(f"artifact {train.CURVE}, examples", counted["examples"], len(consumed))
    before = chain.made_from(sealed, "parent").facts["counted_so_far"] if target.phase else dict.fromkeys(counted, 0)
    so_far = {key: value + before[key] for key, value in counted.items()}
    yield from _same("manifest.json, facts.counted_so_far", facts["counted_so_far"], so_far)
    metrics = train.metrics(curve)
    yield from _same("manifest.json, recorded.metrics", sealed.manifest["recorded"]["metrics"], metrics)


def _dtypes(sealed: Sealed, chain: Chain, target: Target) -> Iterator[Finding]:
    """The base as its config says, all that is trained from it in float32."""
    model_id = sealed.manifest["outputs"]["model"]["model_id"]
    with chain.source.fetch(Owner("models", model_id), f"{FOLDER}/config.json") as path:
        held = json.loads(path.read_bytes())["dtype"]
    parent = chain.made_from(sealed, "parent") if target.phase else None
    model = parent.facts["dtypes"]["model"] if parent else held
    yield from _same("manifest.json, facts.dtypes", sealed.facts["dtypes"], {"model": model, "weights": held})
    if target.phase:
        yield from _same(f"model file {FOLDER}/config.json, dtype", held, training.WEIGHTS)


# --- eval ---------------------------------------------------------------------------------------


def _eval(sealed: Sealed, chain: Chain) -> Iterator[Finding]:
    config = _config(sealed)
    made_of, trained = chain.made_from(sealed, "split"), chain.made_from(sealed, "train")
    target = Target.of(trained)
    yield from _asked(sealed, config, evaluate.part_of(config, target))
    model = trained.manifest["outputs"]["model"]
    settings, weights = config.evaluation, predictions.WEIGHTS[config.evaluation.engine]
    told = {"engine": settings.engine, "weights": weights, "batch_size": settings.batch_size}
    told |= {"decoding": evaluate.decoding(settings, trained)} if "self_check" in trained.facts else {}
    told |= {"checkpoint_sha256": model["weights_sha256"], "items": made_of.facts["eval"]["rows"], **target.facts}
    yield from _same("manifest.json, facts", {name: sealed.facts.get(name) for name in told}, told)
    datasets = {ref.name: ref.entry for ref in evaluate.datasets(made_of.facts)}
    yield from _same("manifest.json, inputs.datasets", sealed.manifest["inputs"]["datasets"], datasets)
    rows = predictions.decode(sealed.artifact("predictions.jsonl"))
    items = parse_items(made_of.artifact("eval.jsonl"), "eval", config.data.eval.layout).rows
    yield from _same("artifact predictions.jsonl, rows", len(rows), len(items))
    chat = config.training.template == "chat"
    tokenizer = _tokenizer(chain, trained) if chat else None  # whose template is the tokenizer's
    rebuilt = [_rescored(config, tokenizer, trained, item, row) for item, row in zip(items, rows, strict=True)]
    for row, again in zip(rows, rebuilt, strict=True):
        yield from _row(row, again)
    # What a comparison that took too long leaves open is taken as recorded: it is unchecked, and breaks nothing else.
    rebuilt = [again | _open(row, again) for row, again in zip(rows, rebuilt, strict=True)]
    metrics = predictions.metrics(rebuilt)
    yield from _same("manifest.json, recorded.metrics", sealed.manifest["recorded"]["metrics"], metrics)
    table = json.loads(sealed.artifact(evaluate.TABLE))
    yield from _same(f"artifact {evaluate.TABLE}", table, predictions.table(rebuilt))


def _rescored(config: Config, tokenizer: Any, trained: Sealed, item: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row that its own outputs give. What only the model could tell again is taken from it: how it ended, and
    how many tokens it took."""
    settings = config.evaluation
    texts, samples = row["resps"][0], row.get("samples", [row])
    answers = [
        Answer(text, sample["output_tokens"], sample["finish_reason"], row["near_ties"])
        for text, sample in zip(texts, samples, strict=True)
    ]
    text = formatting.TEMPLATES[config.training.template].prompt(tokenizer, item.prompt)
    prompt = Prompt(item.id, text, range(row["prompt_tokens"]), 0)
    return evaluate.scored(item, prompt, answers, settings, evaluate.shared_of(config, trained))


def _row(row: Mapping[str, Any], again: Mapping[str, Any]) -> Iterator[Finding]:
    for key in sorted({*row, *again}):
        if row.get(key) != again.get(key):
            found, expected = (_short(each.get(key)) for each in (row, again))
            where = f"artifact predictions.jsonl, item {again['item']}, {key}"
            checked = key not in _open(row, again)
            yield Finding(where, found, expected, "that is what its output gives", checked=checked)


def _open(row: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says that is not known because a comparison took too long, when it was made or now: the next time it
    may not, so that the two may differ says nothing of the record."""
    verdicts = [each for made in (row, again) for each in (made, *made.get("samples", ()))]
    known = [each[name] for each in verdicts for name in predictions.SCORES]
    known += [made["majority"]["flexible"] for made in (row, again) if "majority" in made]
    return {name: row[name] for name in predictions.JUDGED if name in row} if None in known else {}


# --- report and pipeline ------------------------------------------------------------------------


def _report(sealed: Sealed, chain: Chain) -> Iterator[Finding]:
    config = _config(sealed)
    yield from _asked(sealed, config, report_step.part_of(config))
    recorded = json.loads(sealed.artifact("comparison.json"))
    asked = {reference["run_id"] for reference in sealed.manifest["inputs"]["runs"].values()}
    # Their order is the study's; a manifest names them by name.
    order = [entry["eval_run"] for entry in recorded["checkpoints"]]
    yield from _same("artifact comparison.json, eval runs", sorted(order), sorted(asked))
    evaluated = [chain.sealed[run_id] for run_id in order]
    trained = [chain.made_from(each, "train") for each in evaluated]
    checkpoints = report_step.read_checkpoints(trained, evaluated)
    compared = report_step.compare(config, checkpoints)
    yield from _same(f"artifact {report_step.COMPARISON}", recorded, compared)
    # The pictures are taken as they are: another machine's may differ in a pixel that says nothing.
    drawn = {name: (caption, sealed.artifact(name)) for name, caption in figures.captions(compared).items()}
    made_of, server = chain.made_from(evaluated[0], "split"), sealed.facts["server"]
    texts = report_step.written(config, compared, checkpoints, made_of, trained, evaluated, server, drawn)
    yield from _same("manifest.json, facts.files", sealed.facts["files"], [*texts, *drawn])
    for name, text in texts.items():
        yield from _same(f"artifact {name}", sha256(sealed.artifact(name)), sha256(text))


def _pipeline(sealed: Sealed, chain: Chain) -> Iterator[Finding]:
    config, facts, runs = _config(sealed), sealed.facts, sealed.manifest["inputs"]["runs"]
    yield from _asked(sealed, config, resolved(config))
    steps = json.loads(sealed.artifact(report_step.STEPS))
    yield from _same(f"artifact {report_step.STEPS}", steps, facts["steps"])
    named = sorted([steps["split"], *steps["train"], *steps["eval"], runs["report"]["run_id"]])
    yield from _same("manifest.json, inputs.runs", sorted(each["run_id"] for each in runs.values()), named)
    made = chain.made_from(sealed, "report").manifest["outputs"]["artifacts"]
    artifacts = sealed.manifest["outputs"]["artifacts"]
    for name in chain.made_from(sealed, "report").facts["files"]:
        yield from _same(f"artifact report/{name}", artifacts.get(f"report/{name}"), made[name])
    compared = json.loads(sealed.artifact(f"report/{report_step.COMPARISON}"))
    yield from _same("manifest.json, recorded.metrics", sealed.manifest["recorded"]["metrics"], finals(compared))
    trained = [chain.sealed[run_id] for run_id in steps["train"]]
    done = [
        [Target.of(each).checkpoint for each in (checkpoint, chain.made_from(answers, "train"))]
        for checkpoint, answers in zip(trained, (chain.sealed[run_id] for run_id in steps["eval"]), strict=True)
    ]
    planned = list(dict.fromkeys(target.checkpoint for target in train.targets(config)))
    yield from _same("the study's checkpoints, each with an eval run", done, [[name, name] for name in planned])
    yield from _same_examples(config, [each for each in trained if Target.of(each).is_final])


def _same_examples(config: Config, last: Sequence[Sealed]) -> Iterator[Finding]:
    """Order is the only difference: all arms of a seed saw the same examples, as often, in as many steps."""
    first: dict[int | None, Sealed] = {}
    for each in last:
        target = Target.of(each)
        if isinstance(config.arms.get(target.arm), OwnBudget):
            continue
        against = first.setdefault(target.seed, each)
        shared = ("multiset_sha256", *(f"counted_so_far.{name}" for name in ("loss_tokens", "optimizer_steps")))
        for name in shared:
            found, expected = (_at(sealed.facts, name) for sealed in (each, against))
            yield from _same(f"{target.checkpoint}, {name}", found, expected)


def _at(facts: Mapping[str, Any], name: str) -> Any:
    head, _, rest = name.partition(".")
    return facts[head][rest] if rest else facts[head]


def _reproduction(sealed: Sealed, chain: Chain) -> Iterator[Finding]:
    runs = [chain.made_from(sealed, role) for role in ("original", "again")]
    comparison = compare(*(reproduce.made(run, partial(chain.made_from, run)) for run in runs))
    result = json.loads(sealed.artifact(reproduce.RESULT))
    derived = reproduce.told(comparison)
    yield from _same(f"artifact {reproduce.RESULT}", {name: result[name] for name in derived}, derived)
    yield from _same("manifest.json, facts.verdict", sealed.facts["verdict"], comparison.verdict)


KINDS: Mapping[str, tuple[str, Any]] = {
    "split": ("stages follow from the source", _split),
    "train": ("order follows from the plan", _train),
    "eval": ("scores follow from the outputs", _eval),
    "report": ("numbers follow from the predictions", _report),
    "pipeline": ("all arms saw the same examples", _pipeline),
    "reproduction": ("the verdict follows from the two records", _reproduction),
}
