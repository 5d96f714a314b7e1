"""Lines with a letter or digit: the training template writes a step a line, the answer on the last."""

from stagewise.evaluation.structure.response import Response

KIND = "amount"


def steps(response: Response) -> float:
    return len(response.steps)
