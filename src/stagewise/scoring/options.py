r"""Options of a multiple-choice question, and an answer that is one of their letters.

    options("Which?\nA) a cat\nB) a dog")    ->  {"A": "a cat", "B": "a dog"}
    letter("**(B)**"), letter("B."), letter("a dog")    ->  "B", "B", None
"""

import re
from functools import lru_cache

from stagewise.scoring.plain import undress

_OPTION = re.compile(r"(?:^|(?<=[\s;,]))\(?([A-Z])(?:\)|[.:](?=\s))[ \t]*(?=\S)", re.MULTILINE)
_LETTER = re.compile(r"[\s'\"]*(?:(?:the\s)?(?:option|choice|letter|answer)\s*:?\s*)?[(\[]?\s*([A-Za-z])\s*[)\]]?[\s.,:;!'\"]*", re.I)
_LETTERED = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])\)|([A-Z])[.:](?=\s))\s*\S")


@lru_cache(maxsize=64)
def options(prompt: str) -> dict[str, str]:
    """The options that a prompt lists, by their letters: two at least, from A on without a gap."""
    text = undress(prompt).text
    found: list[re.Match[str]] = []
    for match in _OPTION.finditer(text):
        if not found or ord(match[1]) == ord(found[-1][1]) + 1:
            found.append(match)
        elif match[1] == "A":
            found = [match]
    if len(found) < 2 or found[0][1] != "A":
        return {}
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {match[1]: text[match.end() : end].strip(" \t\n;,") for match, end in zip(found, ends, strict=True)}


_ASKED_IN = re.compile(r"\b(?:how\s+many\s+(?:more\s+|extra\s+|total\s+)?|in\s+(?:the\s+)?)(dozen|hundred|thousand|million|billion|trillion)s?\b", re.I)


def accepted(expected: str, prompt: str) -> list[str]:
    """The expected answer, and where it is an option of the prompt, that option's text or letter."""
    listed = options(prompt)
    which = letter(expected) or lettered(expected)
    if which in listed:
        return [expected, listed[which]]
    said = [name for name, text in listed.items() if text.strip(" .") == expected.strip(" .")]
    return [expected, *said] if len(said) == 1 else [expected]


def as_asked(answer: str, prompt: str) -> list[str]:
    """An answer, and where the prompt asks `How many dozen …?` or `in millions`, the same without that word."""
    asked = _ASKED_IN.findall(undress(prompt).text)
    without = re.sub(rf"\b({'|'.join(asked)})s?\b", "", answer, flags=re.IGNORECASE) if asked else answer
    return [answer] if without == answer else [answer, without]


def letter(text: str) -> str | None:
    """The capital letter that all of a text is, in whatever dress; None where it is more than that."""
    match = _LETTER.fullmatch(undress(text).text)
    return match[1].upper() if match else None


def lettered(text: str) -> str | None:
    """The letter of `B) a dog`."""
    match = _LETTERED.match(undress(text).text)
    return (match[1] or match[2] or match[3]) if match else None
