"""`<answer>72</answer>`: the format of DeepSeek-R1's prompt (Guo et al. 2025, arXiv:2501.12948)."""

import re

from stagewise.evaluation.scoring.extraction import Extraction, Mark, region

_TAGGED = re.compile(r"<(answer|final_answer|ans)>\s*(?P<said>(?:[^<]|<(?!/)){1,2000}?)\s*(?:</\1>|\Z)", re.IGNORECASE)


@Mark
def tagged(output: str, prompt: str = "") -> Extraction | None:
    return region("tagged", _TAGGED, output, prompt)
