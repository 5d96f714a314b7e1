"""What the train step records of where it ran and of the model that it started from."""

import pytest
import torch
import yaml
from conftest import TINY, Finished, Store
from models import loaded

from stagewise import modeling, training
from stagewise.config import Compute
from stagewise.hashing import folder_digests
from stagewise.steps import split, train
from stagewise.steps.common import open_session, perform
from stagewise.tracking.runs import Record, read


def base_of(store: Store, model: dict[str, str]) -> Record:
    """The run of phase 0 of a study that starts from this model."""
    config = store.folder / "config.yaml"
    config.write_text(yaml.safe_dump(TINY | {"model": model}))
    session = open_session(config)
    return perform(session, train.specify(session, perform(session, split.specify(session)), "base", 0, 1, None))


def test_a_folder_that_the_base_model_came_from_is_named_file_by_file(store: Store) -> None:
    modeling.save(loaded(), store.folder / "model")
    record = base_of(store, {"path": "model"})
    assert record.facts["model_source"] == folder_digests(store.folder / "model")
    assert "model.safetensors" in record.facts["model_source"]


def test_a_gguf_file_that_the_base_model_came_from_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.folder / "gguf").mkdir()
    (store.folder / "gguf" / "small.gguf").write_bytes(b"quantised")
    modeling.save(loaded(), store.folder / "model")
    monkeypatch.setattr(modeling, "_converted", lambda file, cache: store.folder / "model")
    record = base_of(store, {"gguf": "gguf/small.gguf"})
    assert record.facts["model_source"] == folder_digests(store.folder / "gguf")


def test_a_run_records_the_switches_that_decide_whether_bits_repeat(finished: Finished) -> None:
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    training.set_up(Compute(device="cpu", threads=1))
    recorded = {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill_uninitialized_memory": torch.utils.deterministic.fill_uninitialized_memory,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    assert recorded == training.DETERMINISM
    for kind in ("pipeline", "train", "eval"):
        for run in finished.runs(kind):
            assert read(finished.client, run.info.run_id, kind).manifest["machine"]["determinism"] == recorded
