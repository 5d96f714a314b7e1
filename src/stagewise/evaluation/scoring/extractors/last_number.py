"""The last number, unless it is an operand, one of a row, compared or denied: `flexible-extract` of
lm-evaluation-harness's gsm8k task, narrowed by rule 4.

Of several in the last sentence, the one that counts what the prompt asks for comes first: `12 days to read 240 pages`
of `How many days …?`
"""

import re
from collections.abc import Sequence

from stagewise.evaluation.scoring.extraction import Extraction, extraction
from stagewise.evaluation.scoring.forms import Reading, Several
from stagewise.evaluation.scoring.grammar import readings
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.settling import is_operand, sentence

_AFTER = re.compile(r"\b(?:after|before|since|from|until)\s\Z", re.IGNORECASE)
_BETWEEN = 12  # characters that may stand between a number and what it counts: `12 more days`
_HOW_MANY = re.compile(r"\bhow\s+many\s+(?:(?:more|other|extra|total|full|whole)\s+)?([a-z]{3,})", re.IGNORECASE)
_WHEN = re.compile(r"\b(?:when|(?:what|which)(?:\s+is\s+the)?\s+time)\b", re.IGNORECASE)


def last_number(output: str, prompt: str = "") -> Extraction | None:
    plain = undress(output)
    numbers = [each for each in readings(plain.text) if not plain.text[each.start].isalpha()]
    if counted := _counted(plain.text, numbers, prompt):
        return extraction("last_number", output, plain, counted.start, counted.end)
    if not numbers or numbers[-1].value is None or is_operand(plain.text, numbers[-1]):
        return None
    start, end = numbers[-1].start, numbers[-1].end
    is_heading = plain.text.startswith("#", plain.text.rfind("\n", 0, start) + 1)
    return None if is_heading else extraction("last_number", output, plain, start, end)


def _counted(text: str, numbers: Sequence[Reading], prompt: str) -> Reading | None:
    """The one value in the last sentence of the kind asked for: a time, or so many of what `How many …` names."""
    if not numbers:
        return None
    start, _ = sentence(text, numbers[-1])
    said = [each for each in numbers if each.start >= start and each.value is not None and not is_operand(text, each)]
    if _WHEN.search(prompt):
        found = [each for each in said if isinstance(each.value, Several) and each.value.form == "time"]
        found = [each for each in found if not _AFTER.search(text, max(0, each.start - 8), each.start)]
    elif asked := _HOW_MANY.findall(prompt):
        noun = asked[-1].lower()[:-1]  # `day` for `days`
        found = [each for each in said if noun in text[each.start + 1 : each.end + len(noun) + _BETWEEN].lower()]
    else:
        return None
    return found[0] if len(found) == 1 else None
