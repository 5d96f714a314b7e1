"""A name, or a word that the prompt offers, at the end: `I think it is Paris.`; the one option whose text the last
sentence names (rule 1).

Of listed options it is the last whose letter stands in brackets behind it: `but Canberra (B) is the capital`.
"""

import re

from stagewise.evaluation.scoring.extraction import NAME, Extraction, denied, extraction, option_named
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import options
from stagewise.evaluation.scoring.units import MONTHS

_DAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_IS_NAME = re.compile(
    rf"(?:\b(?:is|was|are|were)|\b(?i:it|that|s?he)'s|\b(?:on|in)(?=\s(?:{_DAY}|{MONTHS})\b))\s"
    rf"({NAME}|no\s[a-z]+(?:\s[a-z]+)?)(?=[.!\s]*\Z)"
)
_IN_BRACKETS = re.compile(r"[A-Za-z]{2}\s\(([A-Z])\)(?!\s(?:is|are)(?:n't|\s(?:not|wrong|incorrect|false)))")
_IS_WORD = re.compile(r"\b(?:is|was|are|were)\s(?:an?\s|the\s)?([a-z]+)(?=[.!\s]*\Z|,?\s(?:because|since|as)\b)")


def named(output: str, prompt: str = "") -> Extraction | None:
    plain = undress(output)
    found = [match.span(1) for match in _IN_BRACKETS.finditer(plain.text) if match[1] in options(prompt)]
    listed = [span for span in found if not denied(plain.text, span[0])] or option_named(plain.text, prompt)
    if listed:
        return extraction("named", output, plain, *listed[-1])
    name = _IS_NAME.search(plain.text)
    word = _IS_WORD.search(plain.text)
    if name is None and word and re.search(rf"\bor\s{word[1]}\b|\b{word[1]}(?:,|\sor\b)", prompt):
        name = word
    return extraction("named", output, plain, *name.span(1)) if name else None
