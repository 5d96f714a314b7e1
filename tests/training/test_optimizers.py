from typing import Any

import pytest
import torch
from helpers.rounding import UNITS, WRONG, apart
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import Adafactor

from stagewise.config import Training
from stagewise.training import checkpoints, optimizers

pytestmark = pytest.mark.numeric
SHAPES = [(3, 5), (700, 576), (1, 9), (7,), (2, 3, 4)]


def moved(kind: type[Adafactor], **changes: float) -> list[torch.Tensor]:
    """How far each parameter goes in five steps."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = kind(parameters, **({"lr": 1e-2, "scale_parameter": False, "relative_step": False} | changes))
    for _ in range(5):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape) * torch.rand(parameter.shape) ** 3
        optimizer.step()
    return [parameter.detach() - start for parameter, start in zip(parameters, before, strict=True)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adafactor_in_blocks_is_that_of_transformers(weight_decay: float) -> None:
    assert optimizers.BLOCK < 700 * 576  # several blocks
    ours, theirs = (moved(kind, weight_decay=weight_decay) for kind in (optimizers.BlockedAdafactor, Adafactor))
    # Steps of a hundredth are added to weights of up to four, and rounded there: that is 100 units of a step.
    assert all(apart(*pair) < 16 * UNITS < WRONG for pair in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("change", [{"decay_rate": -0.7}, {"clip_threshold": 0.9}, {"lr": 0.0101}])
def test_another_adafactor_is_told_from_it(change: dict[str, float]) -> None:
    ours, other = moved(optimizers.BlockedAdafactor), moved(Adafactor, **change)
    assert all(apart(*pair) > WRONG for pair in zip(ours, other, strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_a_restored_state_lies_where_the_weights_do(optimizer: str) -> None:
    """On a GPU, of which only shapes and devices are told here: what a save holds is on the CPU."""
    settings = Training(batch_size=1, learning_rate=1e-3, optimizer=optimizer)

    def step(stepping: Any, model: torch.nn.Module) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        stepping.step()

    with FakeTensorMode():
        model = torch.nn.Module()
        model.weight, model.bias = (torch.nn.Parameter(torch.empty(s, device="cuda")) for s in ((2, 3), (2,)))
        step(before := optimizers.of(model, settings), model)
        tensors, scalars = checkpoints.optimizer_state(before)
        saved = {name: torch.empty(tensor.shape) for name, tensor in tensors.items()}
        assert {tensor.device.type for tensor in saved.values()} == {"cpu"}
        checkpoints.restore_optimizer(restored := optimizers.of(model, settings), saved, scalars)
        assert {tensor.device.type for tensor in checkpoints.optimizer_state(restored)[0].values()} == {"cuda"}
        assert checkpoints.optimizer_state(restored)[0].keys() == tensors.keys()
        step(restored, model)
