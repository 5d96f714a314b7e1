"""The length of steps and answer in tokens of the study's tokenizer, which a model from scratch does not have yet."""

from collections.abc import Sequence

from stagewise.curriculum.signals import CountTokens, said
from stagewise.data.rows import Trace

UNIT = "tokens in steps and answer"


def tokens(traces: Sequence[Trace], count_tokens: CountTokens) -> Sequence[int]:
    return list(count_tokens([said(trace) for trace in traces]))
