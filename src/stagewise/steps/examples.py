"""What a phase is trained on: the stages as tokens, and which of them each optimizer step takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stagewise.config import Config
from stagewise.curriculum.confounds import separations
from stagewise.curriculum.order import Phase, build
from stagewise.data.traces import Item, Trace, parse_items, parse_traces
from stagewise.errors import TrainingError
from stagewise.model import loading, templates
from stagewise.record.code import code_digest, deciding_versions
from stagewise.record.facts import SplitFacts
from stagewise.record.manifest import Sealed
from stagewise.steps.common import Session
from stagewise.steps.own import collected
from stagewise.tracking.package import TOKENIZER
from stagewise.tracking.records import Record
from stagewise.training import token_cache
from stagewise.training.job import Schedule

ENCODING = ("template", "special_tokens_in_text", "loss_on", "max_length", "too_long")


def texts(config: Config, stages: Mapping[str, Sequence[Trace]]) -> list[str]:
    """What the tokenizer of a model from scratch is learned from."""
    complete = templates.TEMPLATES[config.training.template].completion
    return [text for traces in stages.values() for trace in traces for text in (f"{trace.prompt}\n", complete(trace))]


def read_stages(config: Config, split: Sealed, folder: Path | None) -> dict[str, tuple[Trace, ...]]:
    """`folder`: what a layout of a user's own is imported from."""
    layout = config.data.train.layout
    names = [stage.name for stage in config.split.stages]
    return {name: parse_traces(split.artifact(f"stages/{name}.jsonl"), name, layout, folder).rows for name in names}


def read_items(config: Config, split: Record, folder: Path) -> tuple[Item, ...]:
    return parse_items(split.artifact("eval.jsonl"), "eval", config.data.eval.layout, folder).rows


def check_data(
    config: Config, encoded: Mapping[str, templates.Encoded], items: Sequence[Item], loaded: loading.Loaded
) -> None:
    """Raises `UserError` for what the model could not be trained on or asked, whichever is done later."""
    positions = loading.positions(loaded.model)
    templates.check_lengths(encoded, positions)
    templates.check_prompts(loaded.tokenizer, config, items, positions)


def encode_stages(session: Session, split: Record, parent: Record, tokenizer: Any) -> dict[str, templates.Encoded]:
    """The stages as tokens, made once on this machine."""
    config, files = session.config, parent.model.files
    decides = {
        "stages": {name: entry["sha256"] for name, entry in split.facts(SplitFacts).stages.items()},
        "layout": config.data.train.layout,
        "tokenizer": {name: entry for name, entry in files.items() if name.startswith(f"{TOKENIZER}/")},
        "settings": {name: getattr(config.training, name) for name in ENCODING},
        "code": code_digest("model.templates"),
        "packages": deciding_versions("train"),
    }
    if own := collected(config, "train", session.base).entries:
        decides["own_code"] = own
    made = token_cache.kept(
        session.caches / "tokens", decides, lambda: encode(config, read_stages(config, split, session.base), tokenizer)
    )
    return {stage.name: made[stage.name] for stage in config.split.stages}  # in the curriculum's order


def encode(config: Config, stages: Mapping[str, Sequence[Trace]], tokenizer: Any) -> dict[str, templates.Encoded]:
    encoded = {name: templates.encode(traces, tokenizer, config.training, name) for name, traces in stages.items()}
    for name, stage in encoded.items():
        if not stage.usable:
            raise TrainingError(
                f"stage {name}: all {stage.dropped} traces are longer than training.max_length "
                f"{config.training.max_length} and dropped; raise it"
            )
    return encoded


def left_out(encoded: Mapping[str, templates.Encoded]) -> dict[str, dict[str, int]]:
    return {name: {"dropped": stage.dropped, "truncated": stage.truncated} for name, stage in encoded.items()}


def plan_arm(config: Config, encoded: Mapping[str, templates.Encoded], arm: str, seed: int) -> tuple[Phase, ...]:
    positions = {name: [position for _, position in stage.usable] for name, stage in encoded.items()}
    return build(positions, config.epochs(arm), arm, config.stage_order(arm), seed, config.training.batch_size)


def separated(config: Config, encoded: Mapping[str, templates.Encoded], arm: str, seed: int) -> list[str]:
    """What separates the arm from `curriculum`, in words."""
    phases, against = (plan_arm(config, encoded, each, seed) for each in (arm, "curriculum"))
    return separations(phases, against, config.training.schedule_scope)


def schedule(config: Config, phases: tuple[Phase, ...], phase: int) -> Schedule:
    counts = [len(each.steps) for each in phases]
    if config.training.schedule_scope == "continuous":
        return Schedule(sum(counts[: phase - 1]), sum(counts))
    return Schedule(0, counts[phase - 1])
