"""A tiny model of every causal-LM family of the installed transformers, as far as one can be made.

    families()                   # the names in transformers' own mapping, in its order
    model = tiny("gemma2")       # small sizes, a layer of each kind, random weights
    UNMADE["musicgen"]           # why there is none

`python tests/helpers/families.py` writes docs/models.md, what the self-check finds for each;
tests/self_check/test_families.py holds it.

Most configs name their sizes alike, so SMALL makes them small; what one family needs beside that stands in OWN.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from helpers import models
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from stagewise.errors import ModelError
from stagewise.model.loading import Loaded
from stagewise.self_check import check

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"

VOCABULARY = 64
SMALL: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1},
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim"), 32),
    **dict.fromkeys(("adapter_in_dim", "adapter_out_dim", "adapter_input_size"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size"), 64),
    **dict.fromkeys(("feed_forward_size", "d_inner"), 64),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "num_decoder_attention_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "linear_num_key_heads", "index_n_heads"), 2),
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "d_head"), 8),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_layers", "num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "context_length"), 128),
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "window_size", "attention_window_size"), 8),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"), 32),
    **dict.fromkeys(("expert_ffn_hidden_size", "shared_experts_intermediate_size"), 32),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 16),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size", "mamba_chunk_size", "chunk_size"), 8),
    **{"mamba_d_head": 16, "mamba_n_heads": 4, "mamba_n_groups": 1, "mamba_d_ssm": 64, "mamba_dt_rank": 4},
    **{"time_step_rank": 4, "rotary_dim": 4, "index_topk": 64, "hidden_size_per_layer_input": 8},
}
# One value a layer: their lengths have to fit.
KINDS = ("layer_types", "mlp_layer_types", "layers_block_type", "block_types")
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
AS_DECODER = {"is_decoder": True}
OWN: dict[str, dict[str, Any]] = {
    "blt": {"encoder_hash_byte_group_vocab": 64},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": dict.fromkeys(("sliding_attention", "full_attention"), ROPE),
    },
    "dbrx": {
        "attn_config": {"rope_theta": 10_000.0, "kv_n_heads": 2, "clip_qkv": 8},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 32, "moe_top_k": 2},
        "rope_parameters": ROPE,
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "intermediate_size": [64] * 4,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
        "laurel_rank": 4,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 64,
        "indexer_compress_ratio": 4,
    },
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "attn_layers": ["local", "lsh"]},
    "roc_bert": AS_DECODER | {"shape_embed_dim": 8, "pronunciation_embed_dim": 8, "shape_vocab_size": 64},
    "zamba": {
        "num_hidden_layers": 5,
        "layers_block_type": [*["linear_attention", "hybrid"] * 2, "linear_attention"],
        **{"attn_layer_period": 2, "attn_layer_offset": 1, "attention_hidden_size": 64, "attention_head_dim": 16},
    },
    "rwkv": {"attention_hidden_size": 32},
    "xlstm": {"num_heads": 2, "hidden_size": 128},
    "xmod": AS_DECODER | {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
    "bamba": {"attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    **dict.fromkeys(
        ("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
        AS_DECODER,
    ),
    **dict.fromkeys(("rembert", "roberta", "roberta-prelayernorm", "roformer"), AS_DECODER),
    **dict.fromkeys(("xlm-roberta", "xlm-roberta-xl"), AS_DECODER),
}
UNMADE = {
    "gemma3n": "its image part is made by timm, which is not installed",
    "gemma4_assistant": "it drafts for another model, and needs that model's states",
    "gemma4_unified_assistant": "it drafts for another model, and needs that model's states",
    "musicgen": "it says audio codes, and transformers makes none from its config",
    "musicgen_melody": "it says audio codes, and transformers makes none from its config",
}


def families() -> list[str]:
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny(family: str, seed: int = 0, **own: Any) -> Any:
    torch.manual_seed(seed)
    config = _small(CONFIG_MAPPING[family], OWN.get(family, {}) | own)
    return AutoModelForCausalLM.from_config(config).eval()


def wide(family: str, seed: int = 0, **own: Any) -> Any:
    """As `tiny`, its weights four times as wide: different prompts get different answers."""
    made = tiny(family, seed, **own)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return made


def _small(kind: Any, own: dict[str, Any]) -> Any:
    default = kind()
    values = default.to_dict()
    small = {
        name: value
        for name, value in SMALL.items()
        if name in values and name not in kind.attribute_map and (values[name] is not None or name == "head_dim")
    }
    if "kv_lora_rank" in small:  # of which each head makes its own keys
        small["num_key_value_heads"] = small["num_attention_heads"]
    kinds = {name: list(dict.fromkeys(values[name])) for name in KINDS if isinstance(values.get(name), list)}
    layers = max([2, *map(len, kinds.values())])
    small |= {name: (each * layers)[:layers] for name, each in kinds.items()}
    small |= {name: layers for name in ("num_hidden_layers", "n_layer") if name in small}
    for name in kind.sub_configs or {}:
        if getattr(default, name, None) is not None:
            part = type(getattr(default, name))
            small[name] = _small(part, OWN.get(part.model_type, {})).to_dict()
    return kind(**small | own)


# --- docs/models.md -----------------------------------------------------------------------------

HEAD = """\
# Which models are run, and how

Before phase 0 is recorded, `stagewise` tries the loaded model: how its answers are decoded is held against its own
`generate` at batch size 1, and how its training examples are laid out against each of them alone, in float32. What
differs by more than rounding (1e-4 of the largest logit) is not used. `stagewise plan --probe` shows what it finds for
your model; the record has it under `facts.self_check`.

| decoding | what is done |
| --- | --- |
| `select` | a batch, padded on the left; a row that has ended leaves it |
| `no_select` | a batch whose rows stay until the last one has ended |
| `generate` | the same, in the model's own `generate`: its cache is one of its own |
| `one_by_one` | the model's own `generate`, a prompt at a time: it takes padding on the left for text |

| training | what is done |
| --- | --- |
| `joined` | a batch in one row, each example attending to itself only (CPU, or GPU in bfloat16; else `padded`) |
| `padded` | a row each, padded on the right |
| `single` | one at a time |

A model is refused, in one line, if what it makes of a text changes with what follows (it is not causal), if its
`generate` disagrees with its own forward pass, or if it cannot be run by itself.

Below is what was found for a tiny model, with random weights, of every causal-LM family of transformers {version}
on a CPU. Your model is tried itself, so this table decides nothing. It is written by
`python tests/helpers/families.py`, and `make test-slow` makes it again and compares.
Encoders (BERT and its like) were made with `is_decoder: true`; without
it they are refused as not causal.

{counts}

| family | decoding | training | remark |
| --- | --- | --- | --- |
"""
# The start of a refusal, and what stands of it in the table: the rest has numbers that depend on the machine.
REFUSALS = {
    "what it makes of a text changes": "it is not causal",
    "its own generate disagrees": "its `generate` disagrees with its forward pass",
    "cannot be run by itself": "its `generate` fails",
    "its logits are not finite": "its logits are no numbers",
}


def row(family: str) -> str:
    """The family's line of the table, found by trying a tiny model of it."""
    if family in UNMADE:
        return f"| {family} | not tried | | {UNMADE[family]} |"
    made = Loaded(tiny(family), models.tokenizer())
    try:
        ways = check(made)
    except ModelError as error:
        said = str(error).removeprefix(f"{type(made.model).__name__}: ")
        (remark,) = (remark for start, remark in REFUSALS.items() if said.startswith(start))
        return f"| {family} | refused | | {remark} |"
    return f"| {family} | `{ways.decoding}` | `{ways.layouts[0]}` | |"


def rows(document: str) -> dict[str, str]:
    """The lines of the table by family."""
    _, _, table = document.partition("| family |")
    return {line.split("|")[1].strip(): line for line in table.splitlines()[2:] if line.startswith("|")}


def document(found: Mapping[str, str]) -> str:
    counted = Counter(line.split("|")[2].strip() for line in found.values())
    counts = ", ".join(f"{word} {count}" for word, count in counted.most_common())
    head = HEAD.format(version=transformers.__version__, counts=f"{len(found)} families: {counts}.")
    return head + "".join(f"{line}\n" for line in found.values())


def write() -> None:
    found = {}
    for family in families():
        found[family] = row(family)
        print(found[family], file=sys.stderr, flush=True)
    DOCUMENT.write_text(document(found))


if __name__ == "__main__":
    write()
