"""The number of steps."""

from collections.abc import Sequence

from stagewise.curriculum.signals import CountTokens
from stagewise.data.rows import Trace

UNIT = "steps"


def steps(traces: Sequence[Trace], count_tokens: CountTokens) -> Sequence[int]:
    return [len(trace.steps) for trace in traces]
