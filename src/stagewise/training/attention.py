"""Attention for examples laid end to end in one row, each attending to itself only.

    with attending(model):                       # a known family; another one keeps its own
        model(input_ids=row, position_ids=restarting, lengths=[4, 3, 2])                    # example by example
        model(input_ids=row, position_ids=restarting, starts=tensor([0, 4, 7, 9]), longest=4)   # in one kernel

A GPU would spend its time starting many small kernels: there FlashAttention's for variable lengths takes the whole row,
in 16 bits. The CPU, and a GPU in float32, which the self-check computes in, go example by example.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

ATTENTION = "stagewise"
WIDEST = 256  # of a head, in FlashAttention
# Families that mix positions by full causal attention only, and whose logits are their last hidden states times one
# matrix, as tests hold. Another one may carry a state along a row (convolutions, recurrences), attend within a window
# or scale its logits: it keeps its own attention, and padding.
FAMILIES = ("gemma", "gpt2", "llama", "qwen2", "qwen3")


def known(model: Any) -> bool:
    """Whether examples may be laid end to end, if that turns out right."""
    config = model.config
    windowed = getattr(config, "use_sliding_window", False)
    return config.model_type in FAMILIES and not windowed and config._attn_implementation in ("sdpa", ATTENTION)


def in_one_kernel(model: Any) -> bool:
    """Whether the one kernel computes this model's attention: it takes heads of limited width, and drops nothing."""
    config = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    drops = getattr(config, "attention_dropout", 0.0) or getattr(config, "attn_pdrop", 0.0)
    return width <= WIDEST and width % 8 == 0 and not drops


@contextmanager
def attending(model: Any) -> Iterator[None]:
    """A known family with the attention below for as long as the context lasts; another one as it is."""
    before = model.config._attn_implementation
    if known(model):
        model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    lengths: list[int] | None = None,
    starts: torch.Tensor | None = None,
    longest: int = 0,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of (batch, heads, positions, width), in one row within each example. There never is a mask:
    padding is on the right, where nothing looks, and without a mask torch takes its fastest kernel."""
    if starts is not None:
        # The rotation of queries and keys leaves them in the wider type of the residual stream.
        q, k, v = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
        grouped, scale = q.shape[1] != k.shape[1], options.get("scaling")
        found = varlen_attn(
            q, k, v, starts, starts, longest, longest, scale=scale, window_size=(-1, 0), enable_gqa=grouped
        )
        assert isinstance(found, torch.Tensor)
        return found[None], None
    if lengths is None:
        return sdpa_attention_forward(module, query, key, value, None, **options)  # type: ignore[no-any-return]
    parts = zip(*(torch.split(tensor, lengths, dim=2) for tensor in (query, key, value)), strict=True)
    return torch.cat([sdpa_attention_forward(module, *part, None, **options)[0] for part in parts], dim=1), None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, lambda *_, **__: None)
