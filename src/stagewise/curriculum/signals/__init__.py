"""What difficulty is measured by: a module each, with a function of its name.

    def steps(traces: Sequence[Trace], count_tokens: CountTokens) -> Sequence[float]: …     # a value a trace

A trace is easier than another where its value is lower. `UNIT` says what is counted, as the split's criteria have it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from stagewise.data.rows import Trace
from stagewise.errors import CodeError
from stagewise.registry import Registry, constants, function

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Texts → their lengths in tokens, by the study's tokenizer."""
Signal = Callable[[Sequence[Trace], CountTokens], Sequence[float]]


def _own(reference: str, found: Any) -> Signal:
    signal: Signal = function(reference, found, ("traces", "count_tokens"), _numbers, "a list of finite numbers")

    def checked(traces: Sequence[Trace], count_tokens: CountTokens) -> Sequence[float]:
        values = signal(traces, count_tokens)
        if len(values) != len(traces):
            raise CodeError(f"{reference}: returned {len(values)} values, expected {len(traces)}, one a trace")
        return values

    return checked


def _numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(each, int | float) and not isinstance(each, bool) and math.isfinite(each) for each in value
    )


def unit(name: str) -> str:
    """What a signal counts, in words; of a user's own, its reference."""
    return str(constants("signal", "UNIT").get(name, name))


def said(trace: Trace) -> str:
    """What a model learns to say: the steps and the answer, a line each."""
    return "\n".join([*(step.content for step in trace.steps), trace.final_answer])


SIGNALS: Registry[Signal] = Registry("signal", _own)
