"""`Option B is correct`, `the correct choice is (B)`, `I choose B`; of options that the prompt lists, `It's B.` and a
line that is or begins with one; not what is denied (`B, not oxygen (A)`).
"""

import re
from collections.abc import Iterator, Mapping

from stagewise.evaluation.scoring.extraction import Extraction, Mark, backwards, denied, extraction
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import options

_CALLED = r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter)"
_RIGHT = (
    r"(?:is\sthe\sonly\b"
    r"|(?:is|was)\s(?:(?:the|our|my)\s)?(?:(?:most|only|[a-z]+ly)\s)?(?:correct|right|best|true|appropriate|answer)\b)"
)
_CAPITAL = r"[(\[]?(?P<{}>[A-Z])[)\]]?(?![\w'])(?!\s*(?:,|and\b|or\b|&)\s*[(\[]?[A-Z]\b)"
_OPTION = re.compile(
    "|".join(
        (
            rf"\b{_CALLED}\s{_CAPITAL.format('a')}(?:[:,][^.\n]{{0,80}},?)?\s{_RIGHT}",
            rf"(?<![\w'])(?:(?<=[(\[])|(?<![(\[])){_CAPITAL.format('b')}\s{_RIGHT}",
            rf"\b(?:correct|right|best|true)\s(?:answer|option|choice|one|statement|response)(?:\sis|\swould\sbe)?:?\s?"
            rf"(?:{_CALLED}\s)?{_CAPITAL.format('c')}",
            r"\b(?:[Cc]hoose|[Ss]elect|[Pp]ick|chose|selected|picked|go\swith|going\swith|opt\sfor)\s"
            rf"(?:{_CALLED}\s)?{_CAPITAL.format('d')}",
            rf"(?:\bit's|\bis|\bbe|:|,)\s(?:the\s)?{_CALLED}\s{_CAPITAL.format('e')}",
            rf"\b{_CALLED}\s?:?\s{_CAPITAL.format('f')}(?=\s*[.!]?\s*(?:\n|\Z))",
        )
    )
)
_OPTION_LINE = re.compile(r"^[ \t]*[(\[]?([A-Z])(?:[)\].:]+|\s[-–—]\s)[ \t]*([^\n]+)$", re.MULTILINE)
_LISTED = re.compile(
    r"^[^\w\n]*(?P<a>[A-Z])[^\w\n]*$|^[(\[]?(?P<c>[A-Z])[)\]]?(?=,?\s(?:because|since|as)\b)"
    r"|(?<=[.!?]\s)[(\[]?(?P<h>[A-Z])[)\]]?(?=[.!\s]*\Z)|\((?P<d>[A-Z])\)(?=[.!\s]*\Z)|(?::|\b(?:no|wait|sorry),?)\s[(\[]?(?P<g>[A-Z])[)\]]?(?=[.!\s]*(?:\n|\Z))"
    r"|\b(?:[Ss]o|[Tt]hus|[Hh]ence|[Tt]herefore),?\s[(\[]?(?P<e>[A-Z])[)\]]?(?=[.!\s]*(?:\n|\Z))"
    r"|\b(?:is|be|[Ii]t's|leaves|leaving)\s(?:only\s)?(?:(?P<b>[A-Z])|[(\[](?P<f>[A-Za-z])[)\]])"
    r"(?=[.!\s]*(?:\n|\Z)|,?\s(?:because|since|as)\b)",
    re.MULTILINE,
)


@Mark
def option(output: str, prompt: str = "") -> Extraction | None:
    plain = undress(output)
    patterns = (_OPTION, _LISTED) if options(prompt) else (_OPTION,)
    last = [
        next(
            (
                found
                for found in backwards(each, plain.text)
                if not denied(plain.text, found.start(str(found.lastgroup)))
            ),
            None,
        )
        for each in patterns
    ]
    spans = [match.span(str(match.lastgroup)) for match in last if match]
    spans += [match.span(1) for match in _lines_of_options(plain.text, options(prompt))]
    return extraction("option", output, plain, *max(spans)) if spans else None


def _lines_of_options(text: str, listed: Mapping[str, str]) -> Iterator[re.Match[str]]:
    """Lines that begin with an option, its letter and its text: `B. Nitrogen`."""
    for match in _OPTION_LINE.finditer(text):
        said = listed.get(match[1])
        if said and re.match(rf"{re.escape(said.strip(' .'))}(?!\w)", match[2], re.IGNORECASE):
            yield match
