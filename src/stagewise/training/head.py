"""Cross entropy of the learned tokens without the whole matrix of their logits.

    with without_head(model) as head:                       # model(...).logits are the last hidden states
        hidden = model(**inputs).logits                      # (tokens, width)
        loss = head.summed_loss(hidden, wanted)              # a float32 scalar

The logits of a long row and a large vocabulary are the largest tensors of a step: 16,000 tokens of 150,000 words take
10 GB in float32, and as much again for their gradient. Here they are computed a chunk of tokens at a time, and each
chunk's gradient at once, so that nothing is computed twice. (The method is that of Liger Kernel's
FusedLinearCrossEntropy, Hsu et al. 2024, arXiv:2410.10989, in plain torch.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear

CHUNK = {"cuda": 2**30, "cpu": 2**24}
"""Elements of the logits that exist at once."""


@dataclass(frozen=True, slots=True)
class Head:
    """The output layer of a model, which the model itself passes over."""

    layer: Any  # torch.nn.Linear

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return linear(hidden, self.layer.weight, self.layer.bias)

    def summed_loss(self, hidden: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Cross entropy summed over tokens, in float32: `hidden` (tokens, width), `wanted` (tokens,) of token ids."""
        summed: torch.Tensor = _SummedLoss.apply(hidden, self.layer.weight, self.layer.bias, wanted)  # type: ignore[no-untyped-call]
        return summed


@contextmanager
def without_head(model: Any) -> Iterator[Head]:
    """The model, whose logits are the input of its output layer for as long as the context lasts."""
    layer = model.get_output_embeddings()
    layer.forward = lambda hidden: hidden
    try:
        yield Head(layer)
    finally:
        del layer.forward


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, wanted: torch.Tensor
    ) -> torch.Tensor:
        learning = any(ctx.needs_input_grad)
        device = hidden.device.type
        narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        ctx.kinds = hidden.dtype, weight.dtype
        hidden, matrix = hidden.to(narrow), weight.to(narrow)
        total = torch.zeros((), device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if learning else None
        weight_gradient = torch.zeros_like(weight) if learning else None
        bias_gradient = torch.zeros_like(bias) if learning and bias is not None else None
        rows = max(1, CHUNK[device] // len(weight))
        for start in range(0, len(hidden), rows):
            part, targets = hidden[start : start + rows], wanted[start : start + rows, None]
            logits = linear(part, matrix, None if bias is None else bias.to(narrow)).float()
            logs = logits.log_softmax(-1)
            total -= logs.gather(-1, targets).sum()
            if hidden_gradient is None or weight_gradient is None:
                continue
            gradient = logs.exp_().scatter_add_(-1, targets, torch.full_like(logs[:, :1], -1.0)).to(narrow)
            torch.mm(gradient, matrix, out=hidden_gradient[start : start + rows])
            if narrow == weight.dtype:
                weight_gradient.addmm_(gradient.T, part)
            else:
                weight_gradient += gradient.T @ part
            if bias_gradient is not None:
                bias_gradient += gradient.sum(0)
        ctx.save_for_backward(hidden_gradient, weight_gradient, bias_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        hidden, weight, bias = ctx.saved_tensors
        hidden_kind, weight_kind = ctx.kinds
        return (
            (hidden * gradient).to(hidden_kind),
            weight.mul_(gradient).to(weight_kind),
            None if bias is None else bias.mul_(gradient),
            None,
        )
