"""Mean number of words, numbers and signs of a step. Not the model's tokens, so models compare."""

from stagewise.evaluation.scoring.text import tokens
from stagewise.evaluation.structure.response import Response

KIND = "amount"


def step_tokens(response: Response) -> float | None:
    lines = response.steps
    return sum(len(tokens(line)) for line in lines) / len(lines) if lines else None
