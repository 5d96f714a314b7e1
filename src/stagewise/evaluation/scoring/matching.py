r"""Whether an extracted answer is the expected one, by declared rules.

    MATCHERS["normalised"]("The Paris.", "paris")   ->  True
    MATCHERS["number"]("$1,000", "1000.0")          ->  True
    MATCHERS["math_verify"](r"x^2 + 1", "1 + x^2")  ->  True

Each is a pure function of the two texts, and symmetric.
"""

import re
from collections.abc import Callable, Mapping

from stagewise.evaluation.scoring.forms import same
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.prompts import letter, lettered
from stagewise.evaluation.scoring.values import bare, value
from stagewise.evaluation.scoring.verifier import equal_by_math_verify

# An article has a word behind it: the `A` of `vitamin A`, of `A, B` and of `A or B` is none.
_ARTICLES = re.compile(r"(?:^(?:A|An|The)|\b(?:a|an|the))\s+(?=\w\w)(?!(?:and|or|is|was)\b)")
_QUOTES = re.compile(r"[\"'`]")
_STOPS = re.compile(r"[.,;:!?](?=\s|\Z)|(?<=[^\W\d_])[-](?=[^\W\d_]{2})|(?<=\s)[-](?=\s)(?<![\d)]\s-)")
_AROUND_SIGNS = re.compile(r"\s*(?=\\)|\s*([-+*/×÷^=<>≤≥&|,(){}\[\]])\s*")
_WORD = re.compile(r"[^\W\d_]{2}")


def exact(answer: str, expected: str) -> bool:
    """Equal characters, white space around them aside."""
    return answer.strip() == expected.strip()


def normalised(answer: str, expected: str) -> bool:
    """Equal words, without case, dressing, quotes, stops and articles (after SQuAD's normalisation).

    Signs that carry a meaning stay (`-5`, `x < y`, `[2,5)`, `A+`). `(B)` and `B.` are B, and `B. a dog` is `(B) A dog`.
    """
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


def number(answer: str, expected: str) -> bool:
    """Equal values of one form: numbers, and compounds, ranges, times, ratios and lists of them.

    A unit that only one side names is no difference, and 60 % is 60; it is never the share 0.6.
    """
    left, right = value(answer), value(expected)
    return left is not None and right is not None and same(left, right)


MATCHERS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": exact,
    "normalised": normalised,
    "number": number,
    "math_verify": equal_by_math_verify,
}
