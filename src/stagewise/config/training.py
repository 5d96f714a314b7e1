"""How a phase is trained."""

import math
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from stagewise.config.section import Section


class Training(Section):
    batch_size: Annotated[int, Field(strict=True, ge=1)]
    """Examples in an optimizer step. A step never spans phases; a phase's last one may be smaller."""
    micro_batch_tokens: Annotated[int, Field(strict=True, ge=1)] = 4096
    """Tokens, padding included, that go through the model at once. It bounds memory; the loss is the
    mean over the loss tokens of the whole step, whatever it is. A single longer example goes alone."""
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate falls after its warm-up: to zero, linearly or along a cosine, or not at all."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of steps in which the rate rises linearly, rounded up to whole steps as transformers' Trainer does:
    any share above 0 is one step at least. Over a warm-up of n steps the rates are 1/(n+1), 2/(n+1) … n/(n+1) of
    `learning_rate`, so the first update is above zero, and the step after the warm-up has the full rate."""
    schedule_scope: Literal["per_phase", "continuous"] = "per_phase"
    """`per_phase`: schedule and optimizer start afresh in each phase; `continuous`: both go on."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """`adafactor` is transformers', at a fixed rate without its relative steps; on the CPU in blocks, the same up to
    rounding."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """For `adamw` only."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    template: Literal["plain", "gsm8k", "chat"] = "plain"
    """How a trace becomes text: `plain` is prompt, steps, answer, a line each; `gsm8k` ends in
    `#### answer`; `chat` is the tokenizer's own chat template."""
    special_tokens_in_text: Literal["error", "text"] = "error"
    """What happens to a trace or an eval item whose text spells a special token of the tokenizer (`<eos>`,
    `<|im_end|>`), which would become that token: an error that names it, or it is written letter by letter."""
    loss_on: Literal["completion", "all"] = "completion"
    max_length: Annotated[int, Field(strict=True, ge=4)] = 512
    """The longest example, in tokens, EOS included."""
    too_long: Literal["error", "drop", "truncate"] = "error"
    """What happens to a longer one. Dropped and truncated examples are counted; EOS is kept."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the matrix products are computed in (autocast); the weights are float32."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass and do not keep them: less memory, a third more work."""
    torch_compile: bool = False
    """Compile the model before the first step; needs a C++ compiler. How code is made can depend on the shapes
    seen so far, so a phase that was broken off may go on to slightly different weights."""
    processes: Annotated[int, Field(strict=True, ge=1)] = 1
    """Processes that train together, on all machines; each takes its share of every step's examples."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """How they hold the model: a copy each, or a shard each."""
    machines: Annotated[int, Field(strict=True, ge=1)] = 1
    """On each of them the same `stagewise train …` is given; the one whose PET_NODE_RANK is 0 writes the record."""
    rendezvous: str | None = None
    """Where they meet, `host:port` of that one; without it, what PET_RDZV_ENDPOINT says (torchrun's own names)."""
    save_steps: Annotated[int, Field(strict=True, ge=1)] | None = 200
    """A phase saves itself after so many steps, to go on from there after a kill; never, if null."""
    keep: Annotated[int, Field(strict=True, ge=1)] = 2
    """How many of these saves are left on the disk."""
    keep_local: bool = False
    """Leave a finished phase's work folder, with its saves, on this machine; else it is removed once the server
    holds the checkpoint."""
    allow_inexact: bool = False
    """Go on from a save that lost its optimizer or random state. The record shows it."""

    @field_validator("learning_rate")
    @classmethod
    def _finite(cls, rate: float) -> float:
        if not math.isfinite(rate):
            raise ValueError("must be finite")
        return rate

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.batch_size % self.processes:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of processes ({self.processes})")
        if self.processes % self.machines:
            raise ValueError(f"processes {self.processes} must be a multiple of machines ({self.machines})")
        if self.optimizer != "adamw" and self.betas != type(self).model_fields["betas"].default:
            raise ValueError(f"betas apply to optimizer adamw only: leave them out with {self.optimizer}")
        if self.strategy == "fsdp" and self.torch_compile:
            raise ValueError("strategy fsdp does not work with torch_compile; use ddp, or leave torch_compile out")
        return self
