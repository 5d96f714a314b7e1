"""How far two results lie apart, in units of float32's rounding at the size of what is compared.

    assert apart(found, wanted) < UNITS          # the same, but for the order of summation
    assert apart(broken, wanted) > WRONG         # a fault is not within rounding
    assert astray(model, other, start) < STRAY   # two trainings that do the same

The size is that of the largest value: an element that is nearly zero is a sum whose terms are not. What is compared
below differed by 4 units at most with AVX-512, with AVX2 and without either.
"""

from typing import Any

import torch

UNITS = 32
WRONG = 100 * UNITS  # what a test that breaks the feature on purpose has to pass
STRAY = 1e-4  # six steps of one and two processes: 2e-6 at most


def apart(found: Any, wanted: Any) -> float:
    """Numbers, or tensors of one shape. Infinite where one of them is not finite."""
    one, other = (torch.as_tensor(value, dtype=torch.float64).detach() for value in (found, wanted))
    assert one.shape == other.shape
    difference = (one - other).abs().max() / (torch.finfo(torch.float32).eps * other.abs().max())
    return float(difference) if difference.isfinite() else float("inf")


def astray(found: Any, wanted: Any, start: Any) -> float:
    """How far apart two models ended that were trained from `start`, as a share of the way that one of them went.

    Not units of rounding: AdamW divides by the gradient's size, so that of a gradient near zero the rounding decides.
    """
    one, other, before = (
        torch.cat([parameter.detach().flatten().double() for parameter in model.parameters()])
        for model in (found, wanted, start)
    )
    return float((one - other).norm() / (other - before).norm())
