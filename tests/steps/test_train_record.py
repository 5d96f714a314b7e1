"""What the train step records of where it ran and of the model that it started from."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from click.testing import CliRunner
from conftest import TINY, Finished, Store, merged
from helpers.models import loaded
from safetensors.torch import load_file

from stagewise.cli import main
from stagewise.commands.verify import check
from stagewise.config import Compute
from stagewise.hashing import folder_digests, weights_digest
from stagewise.model import loading
from stagewise.model.device import DETERMINISM, repeatable, set_up
from stagewise.steps import split, train
from stagewise.steps.common import open_session, perform
from stagewise.tracking.models import fetch_checkpoint
from stagewise.tracking.records import Record, read


def base_of(store: Store, model: dict[str, str]) -> Record:
    """The run of phase 0 of a study that starts from this model."""
    config = store.folder / "config.yaml"
    config.write_text(yaml.safe_dump(TINY | {"model": model}))
    session = open_session(config)
    return perform(session, train.specify(session, perform(session, split.specify(session)), "base", 0, 1, None))


def test_a_folder_that_the_base_model_came_from_is_named_file_by_file(store: Store) -> None:
    loading.save(loaded(), store.folder / "model")
    record = base_of(store, {"path": "model"})
    assert record.manifest.facts["model_source"] == folder_digests(store.folder / "model")
    assert "model.safetensors" in record.manifest.facts["model_source"]


def test_a_gguf_file_that_the_base_model_came_from_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.folder / "gguf").mkdir()
    (store.folder / "gguf" / "small.gguf").write_bytes(b"quantised")
    loading.save(loaded(), store.folder / "model")
    monkeypatch.setattr(loading, "_converted", lambda file, cache: store.folder / "model")
    record = base_of(store, {"gguf": "gguf/small.gguf"})
    assert record.manifest.facts["model_source"] == folder_digests(store.folder / "gguf")


def test_a_run_records_the_switches_that_decide_whether_bits_repeat(finished: Finished) -> None:
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    set_up(Compute(device="cpu", threads=1))
    with repeatable(torch.device("cuda")):
        in_gpu_training = torch.is_deterministic_algorithms_warn_only_enabled()
    recorded = {
        "warn_only_in_gpu_training": in_gpu_training,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill_uninitialized_memory": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    assert recorded == DETERMINISM
    for kind in ("pipeline", "train", "eval"):
        for run in finished.runs(kind):
            assert read(finished.client, run.info.run_id, kind).manifest.machine["determinism"] == recorded


class InBfloat16(NamedTuple):
    """A study whose base model is held in bfloat16, up to its second phase, in a store of its own."""

    folder: Path
    base: Record
    phases: list[Record]

    def weights(self, record: Record, place: Path) -> dict[str, torch.Tensor]:
        return load_file(fetch_checkpoint(None, record, place) / "model.safetensors")


@pytest.fixture(scope="module")
def in_bfloat16(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> Iterator[InBfloat16]:
    store = Store(tmp_path_factory.mktemp("bfloat16"))
    (store.folder / "mlflow.db").write_bytes(fresh_database)
    made = loaded(kind="bpe")
    made.model.to(torch.bfloat16)
    loading.save(made, store.folder / "model")
    config, change = store.folder / "config.yaml", {"learning_rate": 1e-5, "schedule_scope": "continuous"}
    config.write_text(yaml.safe_dump(merged(TINY, {"training": change}) | {"model": {"path": "model"}}))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        session = open_session(config)
        stages = perform(session, split.specify(session))
        chain = [perform(session, train.specify(session, stages, "base", 0, 1, None))]
        for phase in (1, 2):
            chain.append(perform(session, train.specify(session, stages, "curriculum", phase, 1, chain[-1])))
        yield InBfloat16(store.folder, chain[0], chain[1:])


def test_a_base_in_bfloat16_is_recorded_as_it_is_and_trained_from_in_float32(
    in_bfloat16: InBfloat16, tmp_path: Path
) -> None:
    base = in_bfloat16.base
    assert base.model.weights_sha256 == weights_digest(in_bfloat16.folder / "model")
    assert base.manifest.facts["dtypes"] == {"model": "bfloat16", "weights": "bfloat16"}
    before = in_bfloat16.weights(base, tmp_path / "0")
    for number, record in enumerate(in_bfloat16.phases, 1):
        assert record.manifest.facts["dtypes"] == {"model": "bfloat16", "weights": "float32"}
        after = in_bfloat16.weights(record, tmp_path / str(number))
        assert {tensor.dtype for tensor in after.values()} == {torch.float32}
        assert not torch.equal(after["lm_head.weight"], before["lm_head.weight"].float())
        before = after
    assert check(in_bfloat16.phases[-1].run_id).whole


def test_a_trained_checkpoint_is_exported_in_what_its_base_is_held_in(in_bfloat16: InBfloat16, tmp_path: Path) -> None:
    record = in_bfloat16.phases[-1]

    def exported(name: str) -> str:
        options = ["--run-id", record.run_id, "--format", "model", "--out", str(tmp_path / name)]
        done = CliRunner().invoke(main, ["export", *options])
        assert done.exit_code == 0, done.output
        return done.output

    said, digest = exported("one"), weights_digest(tmp_path / "one")
    assert f"✓ model curriculum-2-s1 in bfloat16: {tmp_path / 'one'}, weights sha256 {digest}" in said
    assert f"weights sha256 {record.model.weights_sha256}" in said
    held, rounded = in_bfloat16.weights(record, tmp_path / "record"), load_file(tmp_path / "one" / "model.safetensors")
    assert rounded.keys() == held.keys()
    assert all(torch.equal(rounded[name], held[name].bfloat16()) for name in held)
    assert loading.load(tmp_path / "one").model.dtype == torch.bfloat16
    exported("two")
    assert folder_digests(tmp_path / "two") == folder_digests(tmp_path / "one")


def test_a_run_that_made_no_checkpoint_has_none_to_export(in_bfloat16: InBfloat16) -> None:
    (run_id,) = {in_bfloat16.phases[0].manifest.inputs.runs["split"]["run_id"]}
    done = CliRunner().invoke(main, ["export", "--run-id", run_id, "--format", "model"])
    assert done.exit_code == 2
    assert "found a run of kind split, expected train" in done.output
