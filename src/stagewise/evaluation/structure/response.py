"""An output as the measures of structure read it, with what several of them have in common, computed once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from stagewise.evaluation.scoring.scope import without_loop
from stagewise.evaluation.scoring.text import tokens as tokens_of
from stagewise.evaluation.structure.equations import Equation, stated_equations


@dataclass(frozen=True)
class Response:
    output: str
    """As the model gave it."""
    prompt: str
    expected: str
    reference: Sequence[str] | None
    """The steps of the item's own solution, where it has one."""
    tokens: int
    """That the model generated."""
    finish_reason: str
    """`stop` where it ended by itself, else `length`."""

    @cached_property
    def once(self) -> str:
        """The output with a loop's repeats left out."""
        return without_loop(self.output)

    @cached_property
    def words(self) -> list[str]:
        """Words, numbers and single signs of the output as it is, in lower case."""
        return tokens_of(self.output)

    @cached_property
    def steps(self) -> list[str]:
        """Lines of `once` that say something."""
        return [line for line in self.once.splitlines() if re.search(r"\w", line)]

    @cached_property
    def equations(self) -> Sequence[Equation]:
        """The arithmetic equations of `once` that count."""
        return stated_equations(self.once)
