"""Word lists as lexical proxies for the four cognitive behaviours of Gandhi et al. 2025.

    rate(pattern((r"check(?:s|ed|ing)?",)), "12 × 3 = 36. Let me check: 36 / 3 = 12")  ->  about 8 per 100 words

The paper (*Cognitive Behaviors that Enable Self-Improving Reasoners*, arXiv:2503.01307) has a language
model judge each trace. These lists only count words that tend to go with a behaviour: they are proxies,
they miss a behaviour said in other words, and they fire on a word that is used for something else.
"""

from collections.abc import Sequence

import regex


def pattern(words: Sequence[str]) -> "regex.Pattern[str]":
    return regex.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", regex.IGNORECASE)


def rate(words: "regex.Pattern[str]", text: str) -> float:
    """100 · (places where one of the words stands) / (words of the text); 0 for no text."""
    count = len(regex.findall(r"\w+", text))  # its \w holds the marks on a letter, that of `re` does not
    return 100 * len(words.findall(text)) / count if count else 0.0
