"""The optimizers, as the config names them.

optimizer = of(model, settings)     # of parameters as they lie: whole, or in shards
"""

from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import Adafactor

from stagewise.config import Training


def of(model: Any, settings: Training) -> Any:
    """Weight decay applies to matrices alone, as usual: not to biases and norms."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
    sharded = any(isinstance(parameter, DTensor) for parameter in model.parameters())
    kind = _ShardedAdafactor if sharded else Adafactor
    return kind(groups, lr=settings.learning_rate, scale_parameter=False, relative_step=False)


class _ShardedAdafactor(Adafactor):  # type: ignore[misc]
    """transformers' own needs means over whole rows and columns. So each parameter is gathered for its update, one
    after the other; the state, which is small, is whole on every process."""

    param_groups: list[dict[str, Any]]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        groups = self.param_groups
        try:
            for group in groups:
                for shard in group["params"]:
                    if shard.grad is not None:
                        self._update(shard, group)
        finally:
            self.param_groups = groups

    def _update(self, shard: DTensor, group: dict[str, Any]) -> None:
        whole = shard.full_tensor()
        whole.grad = shard.grad.full_tensor()  # type: ignore[union-attr]
        self.param_groups = [group | {"params": [whole]}]
        # What a checkpoint restored lies as the parameter does.
        self.state[whole] = {key: _gathered(value) for key, value in self.state.pop(shard, {}).items()}
        super().step()
        self.state[shard] = self.state.pop(whole)
        shard.copy_(distribute_tensor(whole, shard.device_mesh, shard.placements, src_data_rank=None))


def _gathered(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value
