"""A text as tokens, and how a sequence ends in repeats of itself.

    tokens("What is 2.5 × 4?")             ->  ["what", "is", "2.5", "×", "4", "?"]
    repeated_suffix("x 63 63 63".split())  ->  (3, 1): the last 3 words are repeats with period 1

Scoring and structure cut texts in the same way.
"""

import unicodedata
from collections.abc import Sequence

import regex  # unlike `re` it knows marks: vowel signs and accents, which belong to the word they stand on

WORD = r"\p{L}[\p{L}\p{M}\u200c\u200d]*"
"""One word in any script, as a pattern for `regex`: letters, the marks on them, and the joiners between them."""
_TOKEN = regex.compile(rf"\d+(?:\.\d+)?|{WORD}|\S")


def tokens(text: str) -> list[str]:
    """Numbers, words and single signs, in lower case and composed (NFC); all but white space is in one of them."""
    return list(_TOKEN.findall(unicodedata.normalize("NFC", text.lower())))


def repeated_suffix(items: Sequence[object]) -> tuple[int, int]:
    """(length, period) of the longest suffix that holds its period at least twice; (0, 0) without one.

    Linear: borders of the reversed sequence give it: a prefix of length n whose longest border is b has the
    smallest period n - b (Knuth, Morris and Pratt 1977).
    """
    reverse = items[::-1]
    borders, longest, period = [0] * len(reverse), 0, 0
    for index in range(1, len(reverse)):
        border = borders[index - 1]
        while border and reverse[index] != reverse[border]:
            border = borders[border - 1]
        borders[index] = border + (reverse[index] == reverse[border])
        size = index + 1
        if 2 * (size - borders[index]) <= size:
            longest, period = size, size - borders[index]
    return longest, period
