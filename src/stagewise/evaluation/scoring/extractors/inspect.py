"""`ANSWER: 72`, in capitals, to the end of its line: `answer("line")` of UKGovernmentBEIS/inspect_ai."""

import re

from stagewise.evaluation.scoring.extraction import Extraction, Mark, region

_INSPECT = re.compile(r"\bANSWER[ \t]*:[ \t]*(?P<said>[^\n]{1,400})")


@Mark
def inspect(output: str, prompt: str = "") -> Extraction | None:
    return region("inspect", _INSPECT, output, prompt)
