"""What determines a phase: its part of the config, what goes in, and the chain of phases before it."""

from pathlib import Path
from typing import Any

from stagewise import own_code, self_check
from stagewise.config import Config, FolderModel, GGUFModel, ScratchModel, resolved
from stagewise.curriculum.targets import BASE, Target
from stagewise.errors import LineageError, ModelError
from stagewise.hashing import digest_json, folder_digests, sha256_file
from stagewise.model import loading
from stagewise.record.facts import SplitFacts, TrainFacts
from stagewise.record.manifest import Sealed
from stagewise.steps.inputs import STATE
from stagewise.tracking.models import loaded_files

NO_EFFECT = ("save_steps", "keep", "keep_local", "allow_inexact", "rendezvous")


def inputs_of(parent: Sealed | None, source: Any) -> dict[str, Any]:
    """What goes in: for the base the files of a local model, else the parent's files, what its self-check allows, and
    its optimizer's state."""
    if parent is None:
        return {"source": source}
    artifacts = parent.manifest.outputs.artifacts
    state = {"optimizer": artifacts[STATE]} if STATE in artifacts else {}
    return {"parent": loaded_files(parent), "layouts": ways_of(parent).taken["layouts"], **state}


def part_of(config: Config, split: Sealed, wanted: Target) -> dict[str, Any]:
    """What of config and split determines a phase, given its parent: no more, or a change would repeat too much."""
    part = resolved(config)
    # A layout of a user's own may read the same bytes as other traces.
    layout = config.data.train.layout
    read = {"layout": layout} if own_code.is_reference(layout) else {}
    if wanted.phase == 0:
        # The tokenizer of a model from scratch is made from the stages, as the template writes them.
        made = {"stages": split.facts(SplitFacts).stages} if isinstance(config.model, ScratchModel) else {}
        asked = {"template": config.training.template, "max_length": config.training.max_length}
        return {"arm": wanted.facts, "model": part["model"], **asked, **made, **read}
    # How often a phase saves itself changes nothing that it makes.
    settings = {key: value for key, value in part["training"].items() if key not in NO_EFFECT}
    names = [stage.name for stage in config.split.stages]
    order = config.stage_order(wanted.arm)
    if order is not None and config.training.schedule_scope == "per_phase":
        names = [order[wanted.phase - 1]]  # the others are dealt over all phases, or count in their schedule
    epochs = {name: count for name, count in config.epochs(wanted.arm).items() if name in names}
    return {
        "arm": wanted.facts | {"order": order and list(order)},
        "training": settings,
        "stages": {name: split.facts(SplitFacts).stages[name] for name in names},
        "epochs": epochs,
        **read,
    }


def chain(config: Config, split: Sealed, wanted: Target) -> list[str]:
    """A digest for each phase up to this one: what its checkpoint must have been made from."""
    base = wanted._replace(arm=BASE, phase=0, phases=0)
    base = base if isinstance(config.model, ScratchModel) else base._replace(seed=None)
    phases = [base, *(wanted._replace(phase=phase) for phase in range(1, wanted.phase + 1))]
    return [digest_json(part_of(config, split, each)) for each in phases]


def check_parent(config: Config, split: Sealed, parent: Sealed, wanted: Target) -> None:
    """Raises `LineageError` for a run from whose checkpoint this phase does not start."""
    found = parent.facts(TrainFacts)
    expected = {
        "arm": wanted.arm if wanted.phase > 1 else BASE,
        "phase": wanted.phase - 1,
        "seed": None if found.seed is None and found.phase == 0 else wanted.seed,
        "chain": chain(config, split, wanted)[:-1],
    }
    for key, value in expected.items():
        if getattr(found, key) != value:
            name = "model, training or stages" if key == "chain" else key
            raise LineageError(
                f"run {parent.run_id}: cannot be the parent of {wanted.checkpoint}: found {name} "
                f"{getattr(found, key)}, expected {value}"
            )


def ways_of(made: Sealed) -> self_check.Ways:
    """What is right for its base model, and so for every checkpoint that was trained from it."""
    return self_check.Ways.of(made.facts(TrainFacts).self_check.json_value())


def source_files(config: Config, base: Path) -> dict[str, Any] | None:
    """The files of a local model source, by digest; a hub's revision is a digest already, and in the config."""
    if isinstance(config.model, FolderModel):
        folder = base / Path(config.model.path).expanduser()
        if not folder.is_dir():
            raise ModelError(f"model.path: {folder}: no such folder")
        return folder_digests(folder)
    if isinstance(config.model, GGUFModel):
        file = loading.gguf_file(config.model.gguf, base)
        return {file.name: {"sha256": sha256_file(file), "size": file.stat().st_size}}
    return None
