r"""Mathematics with symbols in it, as it stands in a plain text.

    run(r"2x + 3 apples", 0)      ->  "2x + 3"
    run(r"3\sqrt{2} cm", 0)       ->  r"3\sqrt{2}"
    canonical(r"3 \sqrt{2}")      ->  r"3\sqrt2"
    bracketed("[2, 5) and", 0)    ->  "[2, 5)"

Every repetition is bounded or possessive, so a match takes time linear in what it matches.
"""

import re

from stagewise.evaluation.scoring.forms import Symbols
from stagewise.evaluation.scoring.numerals import VULGAR

_GROUP = r"\{[^{}\n]{0,80}(?:\{[^{}\n]{0,80}\}[^{}\n]{0,80}){0,4}\}"
_ATOM = (
    rf"(?:[0-9]+(?:[.,'][0-9]+)*|\.[0-9]+|\\[A-Za-z]+(?:\s?{_GROUP}|\[[^\[\]\n]{{0,20}}\])*|{_GROUP}"
    rf"|(?:sqrt|arc(?:sin|cos|tan)|sin|cos|tan|log|ln|exp)(?=[\s(\\0-9])\s?|[A-Za-z](?![A-Za-z])'?|[α-ωΑ-Ω]"
    rf"|[∞√°⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹{VULGAR}%!]|\([^()\n]{{0,80}}(?:\([^()\n]{{0,40}}\)[^()\n]{{0,40}}){{0,3}}\)|\|[^|\n]{{1,40}}\|)"
)
_RUN = rf"[-+±–]?\s?{_ATOM}(?:(?:\s?[-+–±×÷*/^_]\s?|\s(?=[\\√π])|\s:\s|:(?=[0-9]))?{_ATOM})*+"
_BRACKETED = rf"[(\[]\s*{_RUN}(?:\s*[,;]\s*{_RUN}){{1,20}}\s*[)\]]"
_RUNS = re.compile(_RUN)
_SETS = re.compile(rf"{_BRACKETED}(?:\s?(?:∪|∩|\\cup|\\cap)\s?{_BRACKETED}){{0,10}}")
_ALL = re.compile(rf"(?:{_ATOM}|\\[A-Za-z]+|[A-Za-z](?![A-Za-z])|[-+–±×÷*/^_=<>≤≥≠≈,;:|&∪∩()\[\]{{}}'.\s])*+")
_WORD = re.compile(r"(?<![\\A-Za-z])(?!sqrt|arc)[A-Za-z]{4}")  # in brackets: 5 (check: 3 + 2)
_SYMBOL = re.compile(r"\\(?!frac(?![A-Za-z]))|(?<!\\)(?<!\\f)(?<!\\fr)(?<!\\fra)[A-Za-z]|[α-ωΑ-Ω∞√!±_]")
_OPERATES = re.compile(r"[0-9α-ωΑ-Ω√∞\\/^×*+±_=-]")  # a lone letter is a word or a name
_ONE_CHARACTER = re.compile(r"\{(.)\}")


def run(text: str, at: int) -> str:
    """The longest row of numbers, letters, functions and signs between them that stands at `at`; maybe empty."""
    match = _RUNS.match(text, at)
    return match[0] if match else ""


def bracketed(text: str, at: int) -> Symbols | None:
    """The point, interval or union of intervals that stands at `at`."""
    match = _SETS.match(text, at)
    return Symbols(canonical(match[0]), match[0]) if match else None


def symbolic(said: str) -> Symbols | None:
    """What `run` found, if it has symbols; None for mere numbers and signs, and for a single letter."""
    if not _SYMBOL.search(said) or not _OPERATES.search(said):
        return None
    return Symbols(canonical(said), said)


def is_all_mathematics(text: str) -> bool:
    """Whether all of a plain text is numbers, single letters, functions and signs."""
    return _ALL.fullmatch(text) is not None and _WORD.search(text) is None


def canonical(text: str) -> str:
    """Spelled in one way: without white space and needless braces."""
    text = text.replace("√", r"\sqrt").replace("–", "-").replace("*", "×")
    return _ONE_CHARACTER.sub(r"\1", re.sub(r"\s+", "", text))
