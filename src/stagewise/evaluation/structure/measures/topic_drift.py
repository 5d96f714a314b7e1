"""1 where a question that opens a line is not the prompt's, as in scoring."""

from stagewise.evaluation.scoring.questions import drifts
from stagewise.evaluation.structure.response import Response

KIND = "rate"


def topic_drift(response: Response) -> float:
    return drifts(response.output, response.prompt)
