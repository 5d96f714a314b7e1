r"""What a prompt asks for: options by their letters, a scale, a unit; and in which ways an answer gives it.

options("Which?\nA) a cat\nB) a dog")                 ->  {"A": "a cat", "B": "a dog"}
letter("**(B)**"), letter("B."), letter("a dog")      ->  "B", "B", None
as_asked("2 dozen", "2", "How many dozen eggs …?")    ->  ["2 dozen", "2 "]
as_asked("72 minutes", "72", "How many hours …?")     ->  []
"""

import re
from functools import lru_cache

from stagewise.evaluation.scoring.forms import Number, same
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.units import contradicts, unit
from stagewise.evaluation.scoring.values import value

_OPTION = re.compile(r"(?:^|(?<=[\s;,]))\(?([A-Z])(?:\)|[.:](?=\s))[ \t]*(?=\S)", re.MULTILINE)
_LETTER = re.compile(
    r"[\s'\"]*(?:(?:the\s)?(?:option|choice|letter|answer|statement|sentence)\s*:?\s*)?[(\[]?\s*([A-Za-z])\s*[)\]]?[\s.,:;!'\"]*",
    re.I,
)
_LETTERED = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Za-z])\)|([A-Z])[.:](?=\s))\s*(\S[^\n]*)\Z")


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


_ASKED_IN = re.compile(
    r"\b(?:how\s+many\s+(?:more\s+|extra\s+|total\s+)?|in\s+(?:the\s+)?)(dozen|hundred|thousand|million|billion|trillion)s?\b",
    re.I,
)


_UNIT_ASKED = re.compile(
    r"\bhow\s+many\s+(?:more\s+|extra\s+|total\s+)?([a-z]+)\b|\bin\s+([a-z]+)(?:\s+per\s+[a-z]+)?\s*\?", re.IGNORECASE
)
_HOW_MUCH = re.compile(r"\bhow\s(?:many|much)\b", re.IGNORECASE)
_AGAIN = re.compile(
    r"≈|\\approx(?![a-z])|,\s(?:or|i\.e\.,?|that\sis,?)\s"
    r"|\s\((?:(?:or|i\.e\.,?|that\sis,?|=|about)\s)?"
)
_SHORT = {"thousand": "kK", "million": "mM", "billion": "bB"}


def accepted(expected: str, prompt: str) -> list[str]:
    """The expected answer; where it is an option, that option's letter and text as well, each alone and both."""
    listed = options(prompt)
    parts = lettered(expected)
    which = parts[0] if parts else letter(expected) or ""
    if which in listed:
        return [expected, which, listed[which], f"{which}) {listed[which]}"]
    if parts and not listed:
        return [expected, which]
    said = [name for name, text in listed.items() if text.strip(" .") == expected.strip(" .")]
    if not said and (right := value(expected)):
        worth = {name: value(text) for name, text in listed.items()}
        said = [name for name, found in worth.items() if found and same(found, right)]
    return [expected, *said] if len(said) == 1 else [expected]


def as_asked(answer: str, expected: str, prompt: str) -> list[str]:
    """An answer in all ways in which it says what was asked: each side of `10/3 ≈ 3.33` and of `3 weeks, or 21 days`;
    of `(C) 12` the letter and the text, where the prompt lists no options; `0` of `none`, where it asks how many;
    where the prompt asks `How many dozen …?` or `in millions`, the number without that word. None that
    is in another unit than asked, where `expected` names none."""
    asked = {word.lower() for word in _ASKED_IN.findall(undress(prompt).text)}
    ways = [answer]
    if (parts := lettered(answer)) and not options(prompt):
        ways += parts
    if answer.strip(" .").lower() in ("none", "nothing") and _HOW_MUCH.search(prompt):
        ways.append("0")
    if _AGAIN.search(answer) and value(answer) is not None:
        first, *again = _AGAIN.split(answer)
        ways += [first, *(way.removesuffix(")") for way in again)]
    if asked:
        letters = "".join(_SHORT[word] for word in sorted(asked & _SHORT.keys()))
        short = rf"|(?<=[0-9])\s?[{letters}]\b" if letters else ""
        without = re.sub(rf"\b(?:{'|'.join(sorted(asked))})s?\b{short}", "", answer, flags=re.IGNORECASE)
        ways += [without] if without != answer else []
    return [way for way in ways if _has_unit(expected) or not _is_in_another_unit(way, prompt)]


def _is_in_another_unit(answer: str, prompt: str) -> bool:
    asked = _UNIT_ASKED.findall(prompt)
    wanted = unit(f" {asked[-1][0] or asked[-1][1]}", 0) if asked else None
    found = value(answer) if wanted else None
    return wanted is not None and isinstance(found, Number) and contradicts(found.unit, wanted[0])


def _has_unit(text: str) -> bool:
    found = value(text)
    return isinstance(found, Number) and found.unit != ""


def letter(text: str) -> str | None:
    """The capital letter that all of a text is, in whatever dress; None where it is more than that."""
    match = _LETTER.fullmatch(undress(text).text)
    return match[1].upper() if match else None


def lettered(text: str) -> tuple[str, str] | None:
    """Letter and text of `B) a dog`."""
    match = _LETTERED.match(undress(text).text)
    return ((match[1] or match[2] or match[3]).upper(), match[4]) if match else None
