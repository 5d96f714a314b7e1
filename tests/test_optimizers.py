import pytest
import torch
from transformers import Adafactor

from stagewise import optimizers

SHAPES = [(3, 5), (700, 576), (1, 9), (7,), (2, 3, 4)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adafactor_in_blocks_is_that_of_transformers(dtype: torch.dtype, weight_decay: float) -> None:
    def trained(kind: type[Adafactor]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in SHAPES]
        settings = {"lr": 1e-2, "weight_decay": weight_decay, "scale_parameter": False, "relative_step": False}
        optimizer = kind(parameters, **settings)
        for _ in range(5):
            for parameter in parameters:
                parameter.grad = (torch.randn(parameter.shape) * torch.rand(parameter.shape) ** 3).to(dtype)
            optimizer.step()
        return [parameter.detach() for parameter in parameters]

    assert optimizers.BLOCK < 700 * 576  # several blocks
    for ours, theirs in zip(trained(optimizers.BlockedAdafactor), trained(Adafactor), strict=True):
        torch.testing.assert_close(ours, theirs, atol=5e-6 if dtype == torch.float32 else 2e-2, rtol=1e-5)
