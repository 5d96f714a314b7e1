"""1 where `finish_reason` is `length`."""

from stagewise.evaluation.structure.response import Response

KIND = "rate"


def cap_hit(response: Response) -> float:
    return response.finish_reason == "length"
