"""What a task family is made of.

A family draws operands and works a problem out from them. Number of steps is its measure of difficulty:

    addition, 2 steps:  What is 47+38?
      7+8=15 carry 1 so 5
      4+3+1=8 so 85
    answer: 85

A step does one small thing with what stands right before it, says what is true so far, and is short:
small models learn it from few tokens. Every `=`, `<` and `>` in a step is true, and the last step ends in
the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from stagewise.data.generate.draw import Draw


class Problem(NamedTuple):
    prompt: str
    """Starts with a word and ends in `.` or `?`: categories put words before it or change its end."""
    steps: list[str]
    answer: str
    same: tuple[Any, ...]
    """Equal for problems that are one in other words: the operands without what changes nothing, such as their order,
    or the things that are bought. An answer to one of them is an answer to all."""


@dataclass(frozen=True)
class Family:
    name: str
    steps: range
    """Numbers of steps its problems can take; 2 is among them."""
    operands: Callable[[Draw, int], tuple[Any, ...]]
    """Draws what a problem of so many steps is about."""
    edges: Callable[[Draw], tuple[Any, ...]]
    """Draws an edge case: a zero, a negative number, one letter, nothing to do; one or two steps."""
    solve: Callable[..., Problem]
    """The problem about these operands, worked out."""
