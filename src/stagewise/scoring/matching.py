r"""Whether an extracted answer is the expected one, by declared rules.

    MATCHERS["normalised"]("The Paris.", "paris")   ->  True
    MATCHERS["number"]("$1,000", "1000.0")          ->  True
    MATCHERS["math_verify"](r"x^2 + 1", "1 + x^2")  ->  True

Each is a pure function of the two texts.
"""

import re
import string
from collections.abc import Callable, Mapping

from stagewise.scoring.values import CURRENCY, is_percent, plain, value
from stagewise.scoring.verifier import equal_by_math_verify

_PUNCTUATION = str.maketrans("", "", string.punctuation + CURRENCY + "’‘“”°")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def exact(answer: str, expected: str) -> bool:
    """Equal characters, white space around them aside."""
    return answer.strip() == expected.strip()


def normalised(answer: str, expected: str) -> bool:
    """Equal words, without case, punctuation, articles (SQuAD's normalisation) and currency signs.

    Beside a digit punctuation says what it is worth (`-5`, `3:15`), so there only what ends the text goes.
    """
    return _words(answer) == _words(expected) != []


def _words(text: str) -> list[str]:
    text = plain(text).lower()
    text = text.strip(" \t\r\n.,;:'\"") if re.search(r"\d", text) else text.translate(_PUNCTUATION)
    return _ARTICLES.sub(" ", text).split()


def number(answer: str, expected: str) -> bool:
    """Equal values. Against a number without a sign, 50 % is 50, and it is the share 0.5.

    A share is at most 1, so 5000 % is not 50.
    """
    left, right = value(answer), value(expected)
    if left is None or right is None:
        return False
    if is_percent(answer) == is_percent(expected):
        return left == right
    share, bare = (left, right) if is_percent(answer) else (right, left)
    return share * 100 == bare or (share == bare and abs(bare) <= 1)


MATCHERS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": exact,
    "normalised": normalised,
    "number": number,
    "math_verify": equal_by_math_verify,
}
