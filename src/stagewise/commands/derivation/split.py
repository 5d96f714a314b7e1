"""The stages and the eval set, from the source that they give back, by the config's rules."""

import json
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stagewise.commands.derivation.expected import Expected, config_of, hold, same
from stagewise.commands.derivation.own import folder_of
from stagewise.config import GenerateSource
from stagewise.curriculum import stage_files
from stagewise.curriculum.signals import CountTokens
from stagewise.data.sources import Opened, load_items, load_traces, name_of
from stagewise.data.traces import parse_items
from stagewise.hashing import sha256
from stagewise.model.special_tokens import counted
from stagewise.record import schemas
from stagewise.record.facts import SplitFacts, TrainFacts
from stagewise.record.manifest import Sealed
from stagewise.steps import split as step
from stagewise.steps.common import ONE_THREAD
from stagewise.steps.inputs import split_part
from stagewise.verification.chain import Chain
from stagewise.verification.findings import Finding
from stagewise.verification.walk import Underivable

STATS = "split_stats.json"


def derive(sealed: Sealed, chain: Chain, memo: dict[Any, Any]) -> Iterator[Finding]:
    config, folder = config_of(sealed), folder_of(sealed, memo)
    rows = sealed.json("rows.json")
    schemas.check(rows, "rows", "rows.json")
    files = {stage.name: sealed.artifact(f"stages/{stage.name}.jsonl") for stage in config.split.stages}
    data = stage_files.rebuilt(rows, files)
    items = parse_items(sealed.artifact("eval.jsonl"), name_of(config.data.eval), config.data.eval.layout, folder)
    opened = Opened(BytesIO(data), name_of(config.data.train), config.data.train.layout, folder)
    source = step.read(config, opened, items, _token_counter(chain))
    for what, extent, asked, load in (
        ("source", source.extent, config.data.train, load_traces),
        ("eval set", items, config.data.eval, load_items),
    ):
        # As many as there are: whoever wrote the record also chose how many to make.
        if isinstance(asked, GenerateSource) and asked.generate.count == extent.count:
            again = load(asked, Path()).sha256
            yield from same(f"the {what}, generated again", extent.sha256, again)
    yield from same("source, rebuilt from the stages", source.extent.sha256, sealed.facts(SplitFacts).source["sha256"])
    with TemporaryDirectory() as made:
        follows, criteria = step.divide(config, source, items, Path(made))
        for name, stage in follows.stages.items():
            yield from same(f"artifact stages/{name}.jsonl", sha256(files[name]), stage["sha256"])
        yield from same("artifact rows.json", rows, _json(Path(made) / "rows.json"))
        yield from same(f"artifact {STATS}", sealed.json(STATS), _json(Path(made) / STATS))
    yield from same(
        "artifact split_criteria.md", sealed.artifact("split_criteria.md").decode(errors="replace"), criteria
    )
    yield from same("manifest.json, machine", sealed.manifest.machine, ONE_THREAD)
    expected = Expected(
        description=step.description(follows, list(follows.stages), criteria),
        facts=follows,
        part=split_part(config),
        artifacts=[
            *(f"stages/{name}.jsonl" for name in follows.stages),
            *("eval.jsonl", "rows.json", STATS, "split_criteria.md", "histogram.png"),
        ],
        inputs=step.inputs_of(source.extent.sha256, items.sha256),
        parameters={"config": None},
        metrics=step.metrics(follows),
        datasets=step.datasets(follows),
    )
    yield from hold(sealed, chain, expected)


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _token_counter(chain: Chain) -> CountTokens:
    """With the tokenizer of the study's base checkpoint, where the record that is walked holds it."""

    @cache
    def tokenizer() -> Any:
        base = next((each for each in chain.of_kind("train") if each.facts(TrainFacts).phase == 0), None)
        if base is None:
            raise Underivable(
                "the stages, which follow from counts of tokens; the tokenizer is in the base checkpoint: verify a run "
                "that was made from it"
            )
        from stagewise.commands.derivation.checkpoint import tokenizer_of  # as in `token_counter`

        return tokenizer_of(chain, base)

    return lambda texts: counted(tokenizer(), texts)
