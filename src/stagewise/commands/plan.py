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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stagewise import self_check
from stagewise.config import Config, parse
from stagewise.config import read as read_config
from stagewise.curriculum import order
from stagewise.curriculum import stages as core
from stagewise.curriculum.confounds import in_words
from stagewise.data.sources import load_items, load_traces
from stagewise.model import loading
from stagewise.model.device import device_kind, set_up
from stagewise.model.templates import Encoded, Examples
from stagewise.report import tables
from stagewise.steps import examples
from stagewise.steps.split import token_counter
from stagewise.tracking import store
from stagewise.training import loop
from stagewise.training.job import Job, Saving, Schedule

FACTS = ("separations", "against", "shares")
UPDATES = 3  # that a probe times


class Planned(NamedTuple):
    seed: int
    arm: str
    phases: tuple[order.Phase, ...]
    facts: Mapping[str, Any]
    """Of `examples.comparable`."""


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
    planned = [_planned(config, encoded, arm, seed) for seed in config.seeds for arm in config.arms]
    probed = _probe(config, loaded, encoded, planned[0]) if probe else None
    if as_json:
        whole = [_as_json(each, config, encoded) for each in planned]
        return json.dumps({"plan": whole, "probe": _probe_json(probed)} if probed else whole, indent=1)
    header = ["seed", "arm", "phase", "stages", "examples", "steps", "tokens", "epochs", "order sha256"]
    rows = [row for each in planned for row in _rows(each, config, encoded)]
    first = [each for each in planned if each.seed == config.seeds[0]]
    sentences = [in_words(each.arm, *(each.facts[name] for name in FACTS)) for each in first]
    lines = [tables.aligned([header, *rows]), "", *sentences]
    if probed:
        total = sum(_counts(phase, encoded)["tokens"] for each in planned for phase in each.phases)
        lines += ["", *_probe_lines(probed, planned[0].arm, total)]
    return "\n".join(lines)


def _planned(config: Config, encoded: Mapping[str, Encoded], arm: str, seed: int) -> Planned:
    phases = examples.plan_arm(config, encoded, arm, seed)
    return Planned(seed, arm, phases, examples.comparable(config, encoded, arm, phases, seed))


def _encoded(config: Config, base: Path) -> tuple[loading.Loaded, Mapping[str, Encoded]]:
    source = load_traces(config.data.train, base)
    stages = core.assign(
        source, config.split, config.data.duplicates == "drop", token_counter(config, base, store.caches())
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
    lengths = _lengths(encoded)

    def longest(phase: order.Phase) -> float:
        return int(lengths(phase.rows).sum()) / len(phase.sizes)

    phase = max(planned.phases, key=longest)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            steps=phase.steps[:UPDATES],
            examples=Examples(list(encoded.values())),
            pad=loaded.tokenizer.pad_token_id,
            settings=config.training,
            schedule=Schedule(0, len(phase.sizes)),
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


def _lengths(encoded: Mapping[str, Encoded]) -> Callable[[order.Rows], order.Numbers]:
    """The tokens of each instance."""
    stages = list(encoded.values())

    def lengths(rows: order.Rows) -> order.Numbers:
        found = np.zeros(len(rows), np.int64)
        for number, stage in enumerate(stages):
            here = rows[:, 0] == number
            found[here] = stage.lengths[stage.of(rows[here, 1])]
        return found

    return lengths


def _counts(phase: order.Phase, encoded: Mapping[str, Encoded]) -> dict[str, Any]:
    uses = np.bincount(phase.rows[:, 0], minlength=len(encoded)) / [len(stage) for stage in encoded.values()]
    epochs = dict(zip(encoded, uses.tolist(), strict=True))
    return {
        "phase": phase.index,
        "stages": list(phase.stages),
        "examples": len(phase.rows),
        "steps": len(phase.sizes),
        "tokens": int(_lengths(encoded)(phase.rows).sum()),
        "epochs": [round(epochs[stage], 2) for stage in phase.stages],
        "order_sha256": order.order_digest(list(encoded), phase.rows),
    }


def _rows(planned: Planned, config: Config, encoded: Mapping[str, Encoded]) -> list[list[str]]:
    rows = []
    for phase in planned.phases:
        counts = _counts(phase, encoded)
        names, epochs = (
            "+".join(map(shown, counts[key])) for key, shown in (("stages", str), ("epochs", "{:g}".format))
        )
        numbers = [f"{counts[key]:,}" for key in ("examples", "steps", "tokens")]
        digest = f"{counts['order_sha256'][:12]}…"
        rows.append([str(planned.seed), planned.arm, str(phase.index), names, *numbers, epochs, digest])
    return rows


def _as_json(planned: Planned, config: Config, encoded: Mapping[str, Encoded]) -> dict[str, Any]:
    names = list(encoded)
    phases = [
        _counts(phase, encoded)
        | {"order": [[f"{names[stage]}:{position}" for stage, position, _ in step.tolist()] for step in phase.steps]}
        for phase in planned.phases
    ]
    return {"seed": planned.seed, "arm": planned.arm, **planned.facts, "phases": phases}
