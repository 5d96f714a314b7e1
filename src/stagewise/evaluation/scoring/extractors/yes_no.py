"""`Yes, 7 is prime.`, `The statement is true.`: the last of such verdicts, where the prompt asks for one."""

import re

from stagewise.evaluation.scoring.extraction import Extraction, extraction
from stagewise.evaluation.scoring.plain import undress

_CLOSED = re.compile(
    r"(?:^|[.!?:\n]\s*)(?:is|are|was|were|do|does|did|can|could|will|would|has|have|should)\b[^.?\n]*\?\s*\Z"
    r"|\b(?:true\sor\sfalse|yes\sor\sno)\b",
    re.IGNORECASE,
)
_YES_NO = re.compile(
    r"(?:^|[.!?:]\s+|\n\s*)(?:so,?\s+)?(yes|no|true|false)(?=[,.!;:\s]|\Z)|\b(?:is|are)\s(true|false)\b", re.IGNORECASE
)


def yes_no(output: str, prompt: str = "") -> Extraction | None:
    if not _CLOSED.search(prompt.strip()):
        return None
    plain = undress(output)
    match = next(reversed(list(_YES_NO.finditer(plain.text))), None)
    return extraction("yes_no", output, plain, *match.span(match.lastindex or 0)) if match else None
