"""The one value in bold on the last line: `After giving away 12 jars, **60** remain.`"""

import re
from bisect import bisect_left

from stagewise.evaluation.scoring.extraction import Extraction, extraction
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.values import value

_BOLD = re.compile(r"\*\*([^*\n]{1,100})\*\*")


def emphasised(output: str, prompt: str = "") -> Extraction | None:
    end = len(output.rstrip())
    start = output.rfind("\n", 0, end) + 1
    bold = [match for match in _BOLD.finditer(output, start, end) if value(match[1]) is not None]
    if len(bold) != 1:
        return None
    plain = undress(output)
    first = bisect_left(plain.starts, bold[0].start(1))
    return extraction("emphasised", output, plain, first, bisect_left(plain.starts, bold[0].end(1)))
