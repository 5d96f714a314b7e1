"""Tiny models of a few families, and a tokenizer, for tests that need real ones."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from stagewise.config import Tokenizer
from stagewise.model.loading import Loaded, build_tokenizer

FAMILIES = ("llama", "gemma", "gpt2", "qwen2", "qwen3")
TEXT = ["What is 12+30?\n2+0=2\n42", "Sort DCBA.\nABCD", "abcdefghijklmnopqrstuvwxyz 0123456789 ?.=+#[]"]


def tokenizer(kind: str = "characters") -> Any:
    return build_tokenizer(Tokenizer(kind=kind, vocab_size=300), TEXT)


def model(family: str, vocabulary: int, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": vocabulary}
    ends = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
    if family == "gpt2":
        config = GPT2Config(
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=256,
            vocab_size=vocabulary,
            **ends,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
        made: Any = GPT2LMHeadModel(config)
    elif family == "gemma":
        made = GemmaForCausalLM(GemmaConfig(**shape, intermediate_size=64, num_key_value_heads=1, head_dim=16, **ends))
    elif family == "qwen2":
        made = Qwen2ForCausalLM(Qwen2Config(**shape, intermediate_size=64, num_key_value_heads=1, **ends))
    elif family == "qwen3":
        made = Qwen3ForCausalLM(Qwen3Config(**shape, intermediate_size=64, num_key_value_heads=1, head_dim=16, **ends))
    else:
        made = LlamaForCausalLM(LlamaConfig(**shape, intermediate_size=64, **ends))
    # Random weights say nearly the same everywhere; wider ones make different inputs matter.
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return made.eval()


def loaded(family: str = "llama", kind: str = "characters", seed: int = 0) -> Loaded:
    words = tokenizer(kind)
    return Loaded(model(family, len(words), seed), words)


# --- what a folder of a model may have wrong ----------------------------------------------------


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_pickle_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def with_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')


def without_eos(folder: Path) -> None:
    words = tokenizer()
    words.eos_token = None
    for path in folder.glob("token*"):
        path.unlink()
    words.save_pretrained(folder)


def with_more_tokens(folder: Path) -> None:
    words = tokenizer()
    words.add_tokens([f"token{index}" for index in range(50)])
    words.save_pretrained(folder)


def with_code(folder: Path) -> None:
    """A class of the folder's own, which must not be run."""
    (folder / "mine.py").write_text("raise SystemExit('code of the folder was run')\n")
    classes = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": classes}))
