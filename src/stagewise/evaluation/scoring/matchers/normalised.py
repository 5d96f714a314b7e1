"""The words, without case, dressing, quotes, stops and articles (after SQuAD's normalisation). A lone capital is a
letter, no article: `A`, `(A)` and `**A.**` are option A, `vitamin A` is not. Signs that carry a meaning stay: `-5`,
`x < y`, `A+`.
"""

import re

from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import letter, lettered
from stagewise.evaluation.scoring.values import bare

# An article has a word behind it: the `A` of `vitamin A`, of `A, B` and of `A or B` is none.
_ARTICLES = re.compile(r"(?:^(?:A|An|The)|\b(?:a|an|the))\s+(?=\w\w)(?!(?:and|or|is|was)\b)")
_QUOTES = re.compile(r"[\"'`]")
_STOPS = re.compile(r"[.,;:!?](?=\s|\Z)|(?<=[^\W\d_])[-](?=[^\W\d_]{2})|(?<=\s)[-](?=\s)(?<![\d)]\s-)")
_AROUND_SIGNS = re.compile(r"\s*(?=\\)|\s*([-+*/×÷^=<>≤≥&|,(){}\[\]])\s*")
_WORD = re.compile(r"[^\W\d_]{2}")


def normalised(answer: str, expected: str) -> bool:
    """`(B)` and `B.` are B, and `B. a dog` is `(B) A dog`."""
    left, right = letter(answer), letter(expected)
    if left or right:
        return left == right
    option, expected_option = lettered(answer), lettered(expected)
    if option and expected_option:
        return option[0] == expected_option[0] and _words(option[1]) == _words(expected_option[1])
    words = _words(answer)
    return words == _words(expected) != ""


def _words(text: str) -> str:
    text = bare(undress(text).text)
    if _WORD.search(text):
        text = _ARTICLES.sub("", _STOPS.sub(" ", _QUOTES.sub("", text)))
    return " ".join(_AROUND_SIGNS.sub(r"\1", text).casefold().split())
