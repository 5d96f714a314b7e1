"""The length of steps and answer in characters."""

from collections.abc import Sequence

from stagewise.curriculum.signals import CountTokens, said
from stagewise.data.rows import Trace

UNIT = "characters in steps and answer"


def characters(traces: Sequence[Trace], count_tokens: CountTokens) -> Sequence[int]:
    return [len(said(trace)) for trace in traces]
