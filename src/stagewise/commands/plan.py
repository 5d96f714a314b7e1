"""The plan of a study, before anything is trained or recorded.

    seed  arm         phase  stages  examples  steps   tokens  epochs  order sha256
      42  curriculum      1  a            290     73   12,345       2  5f0c…

Its order digests are those that the train runs will record. `probe` tries the model as well:

    self-check  LlamaForCausalLM: decoding select, training joined
    update      tokens  seconds  tokens/s
    …
    training    about 4 min for 1,204,311 tokens at 5,102 tokens/s, in one process on cpu AVX512
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stagewise import self_check
from stagewise.config import Config, parse
from stagewise.config import read as read_config
from stagewise.curriculum import order
from stagewise.curriculum import stages as core
from stagewise.curriculum.confounds import in_words
from stagewise.data.sources import load_items, load_traces
from stagewise.evaluation.judged import rubric_of
from stagewise.model import loading
from stagewise.model.device import device_kind, set_up
from stagewise.model.templates import Encoded
from stagewise.report import tables
from stagewise.steps import examples
from stagewise.steps.split import token_counter
from stagewise.tracking import store
from stagewise.training import loop
from stagewise.training.job import Job, Saving, Schedule

UPDATES = 3  # that a probe times


class Planned(NamedTuple):
    seed: int
    arm: str
    phases: tuple[order.Phase, ...]
    separations: list[str]


class Probe(NamedTuple):
    ways: self_check.Ways
    phase: int  # of the first arm: the one with the longest updates
    updates: Sequence[loop.StepReport]
    device: str

    @property
    def rate(self) -> float:
        """Tokens a second, without the first update, in which memory is first taken."""
        counted = self.updates[1:] or self.updates
        return sum(each.tokens for each in counted) / sum(each.seconds for each in counted)


def show(config_path: Path, as_json: bool, probe: bool) -> str:
    """The plan as a table and sentences, or as JSON; with a `probe` of the model if that is asked for."""
    config = parse(read_config(config_path), str(config_path))
    loaded, encoded = _encoded(config, config_path.absolute().parent)
    planned = [
        Planned(
            seed, arm, examples.plan_arm(config, encoded, arm, seed), examples.separated(config, encoded, arm, seed)
        )
        for seed in config.seeds
        for arm in config.arms
    ]
    probed = _probe(config, loaded, encoded, planned[0]) if probe else None
    if as_json:
        whole = [_as_json(each, config, encoded) for each in planned]
        return json.dumps({"plan": whole, "probe": _probe_json(probed)} if probed else whole, indent=1)
    header = ["seed", "arm", "phase", "stages", "examples", "steps", "tokens", "epochs", "order sha256"]
    rows = [row for each in planned for row in _rows(each, config, encoded)]
    first = [each for each in planned if each.seed == config.seeds[0]]
    sentences = [in_words(each.arm, each.separations) for each in first]
    lines = [tables.aligned([header, *rows]), "", *sentences]
    if probed:
        total = sum(_counts(phase, config, each.arm, encoded)["tokens"] for each in planned for phase in each.phases)
        lines += ["", *_probe_lines(probed, planned[0].arm, total)]
    return "\n".join(lines)


def _encoded(config: Config, base: Path) -> tuple[loading.Loaded, Mapping[str, Encoded]]:
    rubric_of(config.evaluation, base)
    source = load_traces(config.data.train, base)
    stages = core.assign(
        source, config.split, config.data.duplicates == "drop", token_counter(config, base, store.caches()), base
    )
    texts = examples.texts(config, stages.traces)
    loaded = loading.create(config.model, config.seeds[0], texts, base, store.caches())
    encoded = examples.encode(config, stages.traces, loaded.tokenizer)
    examples.check_data(config, encoded, load_items(config.data.eval, base).rows, loaded)
    return loaded, encoded


def _probe(config: Config, loaded: loading.Loaded, encoded: Mapping[str, Encoded], planned: Planned) -> Probe:
    """The self-check, and up to UPDATES updates of a phase; of what they make nothing is kept."""
    accelerator = set_up(config.compute)
    loaded.model.to(accelerator.device)
    ways = self_check.found(loaded, store.caches(), config.compute.device)
    examples = {key: example for stage in encoded.values() for key, example in stage.usable.items()}

    def longest(phase: order.Phase) -> float:
        return sum(len(examples[instance.example].ids) for instance in phase.instances) / len(phase.steps)

    phase = max(planned.phases, key=longest)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            steps=phase.steps[:UPDATES],
            examples=examples,
            pad=loaded.tokenizer.pad_token_id,
            settings=config.training,
            schedule=Schedule(0, len(phase.steps)),
            seed=planned.seed,
            saving=Saving(Path(folder), None, keep=1, allow_inexact=False),
            layouts=ways.layouts,
        )
        outcome, _ = loop.train(job, loaded.model.float(), accelerator)  # in float32, as it would be trained
    return Probe(ways, phase.index, outcome.curve, device_kind(config.compute.device))


def _probe_lines(probe: Probe, arm: str, total: int) -> list[str]:
    header = ["update", "examples", "tokens", "seconds", "tokens/s"]
    rows = []
    for each in probe.updates:
        numbers = [f"{value:,}" for value in (each.examples, each.tokens)]
        rate = f"{each.tokens / each.seconds:,.0f}"
        rows.append([f"{arm} {probe.phase}.{each.step}", *numbers, f"{each.seconds:.2f}", rate])
    minutes = total / probe.rate / 60
    return [
        f"self-check: {probe.ways.architecture}, {probe.ways.in_words}",
        *(f"! {remark}" for remark in probe.ways.remarks),
        tables.aligned([header, *rows]),
        f"training: about {minutes:,.1f} min for {total:,} tokens at {probe.rate:,.0f} tokens/s, in one process on "
        f"{probe.device}",
    ]


def _probe_json(probe: Probe) -> dict[str, Any]:
    updates = [{"tokens": each.tokens, "seconds": each.seconds} for each in probe.updates]
    return {"self_check": probe.ways.facts, "phase": probe.phase, "updates": updates, "device": probe.device}


def _counts(phase: order.Phase, config: Config, arm: str, encoded: Mapping[str, Encoded]) -> dict[str, Any]:
    lengths = {key: len(example.ids) for stage in encoded.values() for key, example in stage.usable.items()}
    epochs = config.epochs(arm)
    return {
        "phase": phase.index,
        "stages": list(phase.stages),
        "examples": len(phase.instances),
        "steps": len(phase.steps),
        "tokens": sum(lengths[instance.example] for instance in phase.instances),
        "epochs": [epochs[stage] for stage in phase.stages],
        "order_sha256": phase.order_digest,
    }


def _rows(planned: Planned, config: Config, encoded: Mapping[str, Encoded]) -> list[list[str]]:
    rows = []
    for phase in planned.phases:
        counts = _counts(phase, config, planned.arm, encoded)
        names, epochs = ("+".join(map(str, counts[key])) for key in ("stages", "epochs"))
        numbers = [f"{counts[key]:,}" for key in ("examples", "steps", "tokens")]
        digest = f"{counts['order_sha256'][:12]}…"
        rows.append([str(planned.seed), planned.arm, str(phase.index), names, *numbers, epochs, digest])
    return rows


def _as_json(planned: Planned, config: Config, encoded: Mapping[str, Encoded]) -> dict[str, Any]:
    phases = [
        _counts(phase, config, planned.arm, encoded)
        | {"order": [[f"{stage}:{position}" for stage, position, _ in step] for step in phase.steps]}
        for phase in planned.phases
    ]
    return {"seed": planned.seed, "arm": planned.arm, "separations": planned.separations, "phases": phases}
