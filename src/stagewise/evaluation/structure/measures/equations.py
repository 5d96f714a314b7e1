"""Equations that count (below); a chain `a = b = c` is two."""

from stagewise.evaluation.structure.response import Response

KIND = "amount"


def equations(response: Response) -> float:
    return len(response.equations)
