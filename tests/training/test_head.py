import pytest
import torch
from helpers.rounding import UNITS, apart
from torch.nn.functional import cross_entropy

from stagewise.training import head
from stagewise.training.head import Head

pytestmark = pytest.mark.numeric
TOKENS, WIDTH, VOCABULARY = 13, 8, 40


def made(bias: bool) -> tuple[torch.nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    layer = torch.nn.Linear(WIDTH, VOCABULARY, bias=bias)
    return layer, torch.randn(TOKENS, WIDTH, requires_grad=True), torch.randint(VOCABULARY, (TOKENS,))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 5, TOKENS, 100])
def test_loss_and_gradients_are_those_of_the_whole_matrix(
    bias: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(head.CHUNK, "cpu", rows * VOCABULARY)
    layer, hidden, wanted = made(bias)
    whole = cross_entropy(layer(hidden), wanted, reduction="sum")
    expected = torch.autograd.grad(whole / 7, [hidden, *layer.parameters()])
    found = Head(layer).summed_loss(hidden, wanted)
    gradients = torch.autograd.grad(found / 7, [hidden, *layer.parameters()])
    assert apart(float(found.detach()), float(whole.detach())) < UNITS
    assert all(apart(*pair) < UNITS for pair in zip(gradients, expected, strict=True))


def test_without_gradients_only_the_loss_is_computed() -> None:
    layer, hidden, wanted = made(bias=False)
    with torch.no_grad():
        found = Head(layer).summed_loss(hidden, wanted)
    assert not found.requires_grad
    assert float(found) == pytest.approx(float(cross_entropy(layer(hidden), wanted, reduction="sum").detach()))


def test_in_bfloat16_the_gradient_of_the_weights_is_in_float32() -> None:
    layer, hidden, wanted = made(bias=False)
    with torch.autocast("cpu", torch.bfloat16):
        Head(layer).summed_loss(hidden, wanted).backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    (expected,) = torch.autograd.grad(cross_entropy(layer(hidden), wanted, reduction="sum"), [layer.weight])
    assert float(torch.cosine_similarity(layer.weight.grad.flatten(), expected.flatten(), dim=0)) > 0.999
