"""1 where the default chain finds an answer."""

from stagewise.evaluation.scoring import find_answer
from stagewise.evaluation.structure.response import Response

KIND = "rate"


def answer_present(response: Response) -> float:
    found = find_answer(response.output, prompt=response.prompt, finish_reason=response.finish_reason)
    return found is not None
