"""1 where `finish_reason` is `stop`."""

from stagewise.evaluation.structure.response import Response

KIND = "rate"


def eos(response: Response) -> float:
    return response.finish_reason == "stop"
