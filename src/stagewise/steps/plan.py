"""The plan of a study, before anything is trained or recorded.

    seed  arm         phase  stages  examples  steps   tokens  epochs  order sha256
      42  curriculum      1  a            290     73   12,345       2  5f0c…

Its order digests are those that the train runs will record.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stagewise import modeling, plan
from stagewise import split as core
from stagewise.config import Config, parse
from stagewise.config import read as read_config
from stagewise.data.sources import load_traces
from stagewise.formatting import Encoded, check_lengths
from stagewise.report import tables
from stagewise.separations import in_words
from stagewise.steps import train
from stagewise.steps.split import token_counter
from stagewise.tracking import store


class Planned(NamedTuple):
    seed: int
    arm: str
    phases: tuple[plan.Phase, ...]
    separations: list[str]


def show(config_path: Path, as_json: bool) -> str:
    """The plan as a table and sentences, or as JSON."""
    config = parse(read_config(config_path), str(config_path))
    encoded = _encoded(config, config_path.absolute().parent)
    planned = [
        Planned(seed, arm, train.plan_arm(config, encoded, arm, seed), train.separated(config, encoded, arm, seed))
        for seed in config.seeds
        for arm in config.arms
    ]
    if as_json:
        return json.dumps([_as_json(each, config, encoded) for each in planned], indent=1)
    header = ["seed", "arm", "phase", "stages", "examples", "steps", "tokens", "epochs", "order sha256"]
    rows = [row for each in planned for row in _rows(each, config, encoded)]
    first = [each for each in planned if each.seed == config.seeds[0]]
    sentences = [in_words(each.arm, each.separations) for each in first]
    return "\n".join([tables.aligned([header, *rows]), "", *sentences])


def _encoded(config: Config, base: Path) -> Mapping[str, Encoded]:
    source = load_traces(config.data.train, base)
    stages = core.assign(
        source, config.split, config.data.duplicates == "drop", token_counter(config, base, store.home())
    )
    texts = train.texts(config, stages.traces)
    model, tokenizer = modeling.create(config.model, config.seeds[0], texts, base, store.home())
    encoded = train.encode(config, stages.traces, tokenizer)
    check_lengths(encoded, modeling.positions(model))
    return encoded


def _counts(phase: plan.Phase, config: Config, arm: str, encoded: Mapping[str, Encoded]) -> dict[str, Any]:
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
