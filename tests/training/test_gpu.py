"""What only a GPU computes: attention in one kernel over a joined row, in bfloat16.

pytest -m gpu tests/training/test_gpu.py
"""

import dataclasses
from typing import Any

import pytest
import torch
from helpers.models import FAMILIES, loaded, model

from stagewise.config import Compute
from stagewise.model.device import repeatable, set_up
from stagewise.model.templates import Example
from stagewise.self_check import check
from stagewise.training import attention, batching
from stagewise.training.batching import Batching

pytestmark = pytest.mark.gpu
VOCABULARY = 40
JOINED = Batching("joined", 10_000, "completion", pad=0, precision="bfloat16")


@pytest.fixture(scope="module")
def accelerator() -> Any:
    return set_up(Compute(device="cuda"))


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(2, VOCABULARY, (length,), generator=generator).tolist() for length in (8, 33, 15, 640, 1500)]
    return [Example(tuple(row), len(row) // 4) for row in rows]


def learned(family: str, chosen: Batching, accelerator: Any) -> tuple[float, torch.Tensor]:
    """The loss, and all gradients in one row."""
    made = model(family, VOCABULARY).to("cuda")
    with repeatable(accelerator.device), attention.attending(made):
        loss, _, _ = batching.backward(made, examples(), chosen, accelerator)
    return float(loss), torch.cat([parameter.grad.flatten() for parameter in made.parameters()])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_joined_row_teaches_what_each_example_teaches_alone(family: str, accelerator: Any) -> None:
    loss, found = learned(family, JOINED, accelerator)
    alone = dataclasses.replace(JOINED, layout="single", precision="float32")
    wanted_loss, wanted = learned(family, alone, accelerator)
    assert loss == pytest.approx(wanted_loss, rel=0.02)
    assert float(torch.cosine_similarity(found, wanted, dim=0)) > 0.99


@pytest.mark.parametrize("family", FAMILIES)
def test_one_example_does_not_change_the_loss_of_another(family: str, accelerator: Any) -> None:
    made = model(family, VOCABULARY).to("cuda")

    def loss(*batch: Example) -> float:
        with attention.attending(made), torch.no_grad():
            return float(batching.summed_loss(made, batch, JOINED, accelerator))

    first, second, *_ = examples()
    assert loss(first, second) == pytest.approx(loss(first) + loss(second), rel=1e-3)
    assert loss(second, first) == pytest.approx(loss(first) + loss(second), rel=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_step_twice_gives_the_same_bits(family: str, accelerator: Any) -> None:
    once, again = (learned(family, JOINED, accelerator) for _ in range(2))
    assert once[0] == again[0]
    assert torch.equal(once[1], again[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_self_check_finds_joined_rows_right(family: str, accelerator: Any) -> None:
    made = loaded(family)
    made.model.to("cuda")
    assert check(made).layouts == ("joined", "padded", "single")
