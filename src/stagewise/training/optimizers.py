"""The optimizers, as the config names them, for weights in float32.

optimizer = of(model, settings)     # of parameters as they lie: whole, or in shards
"""

from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import Adafactor

from stagewise.config import Training

BLOCK = 2**15  # elements: what is made of them stays in a core's cache, and torch takes one thread for so few


def of(model: Any, settings: Training) -> Any:
    """Weight decay applies only to matrices, as usual: not to biases and norms."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
    sharded = any(isinstance(parameter, DTensor) for parameter in model.parameters())
    kind = _ShardedAdafactor if sharded else BlockedAdafactor
    return kind(groups, lr=settings.learning_rate, scale_parameter=False, relative_step=False)


class BlockedAdafactor(Adafactor):  # type: ignore[misc]
    """Adafactor (Shazeer and Stern, 2018, arXiv:1804.04235) as transformers has it, up to rounding, for a fixed rate
    and without momentum. A matrix goes through three passes over blocks of its rows, which stay in the cache; in
    transformers' own each of some twelve operations goes through memory, a third of a small step's time on the CPU.

    torch.optim.Adafactor does not replace it. With `eps=(None, 1.0)`, which switches its scaling by the size of the
    weights off, six steps over 135M parameters end within 0.01 % of transformers' own, as ours do; but on two CPU cores
    a step took it 2.7 s at best, transformers' 5.0 s and this 0.8 s (torch 2.13, beside other work).
    """

    param_groups: list[dict[str, Any]]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        groups = self.param_groups
        for group in groups:
            for parameter in group["params"]:
                if parameter.ndim == 2 and parameter.grad is not None:
                    self._update_matrix(parameter, group)
        try:
            self.param_groups = [g | {"params": [p for p in g["params"] if p.ndim != 2]} for g in groups]
            super().step()
        finally:
            self.param_groups = groups

    def _update_matrix(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state, (rows, columns), gradients = self.state[parameter], parameter.shape, parameter.grad
        assert gradients is not None
        if not state:
            state |= {"step": 0}
            state["exp_avg_sq_row"] = torch.zeros(rows, device=parameter.device)
            state["exp_avg_sq_col"] = torch.zeros(columns, device=parameter.device)
        state["step"] += 1
        size = rows if parameter.is_cuda else max(1, BLOCK // columns)
        blocks = list(zip(torch.split(parameter, size), torch.split(gradients, size), strict=True))

        by_row, by_column = [], torch.zeros(columns, device=parameter.device)
        for _, gradient in blocks:
            squares = gradient.square()
            by_row.append(squares.mean(1))
            by_column += squares.sum(0)
        old = 1.0 - state["step"] ** group["decay_rate"]
        epsilon = group["eps"][0]
        row = state["exp_avg_sq_row"].mul_(old).add_(torch.cat(by_row) + epsilon, alpha=1 - old)
        column = state["exp_avg_sq_col"].mul_(old).add_(by_column / rows + epsilon, alpha=1 - old)

        by_row_factor, by_column_factor = (row / row.mean()).rsqrt(), column.rsqrt()
        weights = by_column_factor.square()
        lengths = torch.cat([gradient.square() @ weights for _, gradient in blocks])
        rms = (lengths @ by_row_factor.square() / parameter.numel()).sqrt()
        by_row_factor *= group["lr"] / (rms / group["clip_threshold"]).clamp(min=1.0)

        for (block, gradient), factor in zip(blocks, by_row_factor.split(size), strict=True):
            block.mul_(1 - group["weight_decay"] * group["lr"])
            block.addcmul_(gradient * by_column_factor, factor.unsqueeze(1), value=-1)


class _ShardedAdafactor(BlockedAdafactor):
    """It needs means over whole rows and columns. So each parameter is gathered for its update, one after the
    other; the state, which is small, is whole on every process."""

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
