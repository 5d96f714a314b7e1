"""`#### 72`; no heading (`#### Step 2: …`). The result line of GSM8K's solutions (openai/grade-school-math)."""

import re

from stagewise.evaluation.scoring.extraction import HEADING, Extraction, Mark, backwards, extraction
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import options
from stagewise.evaluation.scoring.settling import settled
from stagewise.evaluation.scoring.values import value

_HASHES = re.compile(r"(?:^[ \t]*#{1,3}(?!#)|#{4,})[ \t]*(?P<said>[^\n#]*)", re.MULTILINE)


@Mark
def gsm8k(output: str, prompt: str = "") -> Extraction | None:
    plain = undress(output)
    for match in backwards(_HASHES, plain.text):
        start, end = match.span("said")
        said = match["said"].strip()
        if not said:  # the line after it, then
            following = re.compile(r"\s*([^\n]+)").match(plain.text, end)
            start, end = following.span(1) if following and value(following[1]) is not None else (end, end)
            said = plain.text[start:end].strip()
        said = said.rstrip("! ")
        if not said or HEADING.match(said):
            continue
        found = settled(said, bool(options(prompt)))
        start += len(plain.text[start:end]) - len(plain.text[start:end].lstrip())
        if found:
            return extraction("gsm8k", output, plain, start + found[0], start + found[1])
        if not plain.text[end:].strip():  # words are the answer where nothing follows; else they are a heading
            return extraction("gsm8k", output, plain, start, end)
    return None
