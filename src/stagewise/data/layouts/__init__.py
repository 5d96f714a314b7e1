"""How a dataset's lines are laid out: a module each, whose `Layout` has the module's name.

    gsm8k = Layout(trace=_trace, item=_item)      # in gsm8k.py; `data: {train: {path: …, layout: gsm8k}}` finds it

A layout refuses what it does not understand (`Row.refuse`), and guesses nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stagewise.data.rows import Item, Row, Step, Trace
from stagewise.errors import CodeError
from stagewise.registry import Registry, function

__all__ = ["LAYOUTS", "Item", "Layout", "Row", "Step", "Trace"]


@dataclass(frozen=True, slots=True)
class Layout:
    trace: Callable[[Row], Trace]
    """A line to train on."""
    item: Callable[[Row], Item]
    """A line of an eval set. That its id stands only once is checked for every layout alike."""


def _own(reference: str, found: Any) -> Layout:
    if not isinstance(found, Layout):
        raise CodeError(f"{reference}: found {type(found).__name__}, expected a Layout(trace=…, item=…)")
    return Layout(
        trace=function(reference, found.trace, ("row",), lambda value: isinstance(value, Trace), "a Trace"),
        item=function(reference, found.item, ("row",), lambda value: isinstance(value, Item), "an Item"),
    )


LAYOUTS: Registry[Layout] = Registry("layout", _own)
