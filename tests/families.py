"""A tiny model of every causal-LM family of the installed transformers, as far as one can be made.

    families()                   # the names in transformers' own mapping, in its order
    model = tiny("gemma2")       # small sizes, one layer of each kind, random weights
    UNMADE["musicgen"]           # why there is none

Most configs name their sizes alike, so SMALL makes them small; what one family needs beside that stands in OWN.
"""

from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 64
SMALL: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1},
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "adapter_in_dim"), 32),
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
UNMADE: dict[str, str] = {}


def families() -> list[str]:
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def config(family: str) -> Any:
    return _small(CONFIG_MAPPING[family], OWN.get(family, {}))


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


def tiny(family: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config(family)).eval()
