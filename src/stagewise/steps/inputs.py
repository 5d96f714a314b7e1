"""What steps take from those before them: the datasets of a split, and what a train run leaves beside its weights."""

from typing import Any

from stagewise import own_code
from stagewise.config import Config, resolved
from stagewise.errors import LineageError
from stagewise.record.frozen import Stage
from stagewise.record.manifest import Sealed
from stagewise.tracking.datasets import DatasetRef

ORDER = "order.json"
CURVE = "curve.json"
STATE = "state/optimizer.safetensors"


def split_part(config: Config) -> dict[str, Any]:
    """Epochs are the training's: a change of theirs leaves the stages as they are."""
    part = resolved(config)
    stages = [{key: value for key, value in stage.items() if key != "epochs"} for stage in part["split"]["stages"]]
    signal = config.split.quantiles.signal if config.split.quantiles else ""
    by_tokens = signal == "tokens" or own_code.is_reference(signal)
    model = {"model": part["model"]} if by_tokens else {}  # whose tokenizer counts them, or may
    return {"data": part["data"], "split": part["split"] | {"stages": stages}, **model}


def check_split(config: Config, split: Sealed) -> None:
    """Raises `LineageError` where a split run is not the config's own: its record would tell of other data."""
    found, expected = split.manifest.config.part, split_part(config)
    for section in expected:
        if found.get(section) != expected[section]:
            raise LineageError(
                f"run {split.run_id}: found a split of another {section} section, expected the config's; give the "
                "config that it was made with, or split again"
            )


def dataset(name: str, told: Stage, context: str, source: str) -> DatasetRef:
    """An input, as the facts of a split tell of it."""
    return DatasetRef(name, told["sha256"], told["size"], told["rows"], context, source)
