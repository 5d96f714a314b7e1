"""Tokens that the model generated."""

from stagewise.evaluation.structure.response import Response

KIND = "amount"


def tokens(response: Response) -> float:
    return response.tokens
