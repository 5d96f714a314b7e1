"""Repeats within the traces, and prompts that stand in both training and eval data.

    fold("What is...  2 + 2???")  ->  "what is 2+2"
    fold("Is 1,000 > -3.5 ?")     ->  "is 1000>-3.5"

Folding takes away what does not change a question: case, white space, and the punctuation of sentences.
It keeps what does: letters, digits, operators, brackets, %, currency, and a point, colon or exclamation
mark that belongs to a number (`3.5`, `.5`, `10:30`, `5!`). White space goes beside an operator and is one
space elsewhere, so `12` and `1 2` stay apart. Commas that group thousands (`1,000`, `12,345,678`) are
dropped, every other comma separates: `1,2` is the list `1 2`, and a decimal comma is not read as one.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from stagewise.data.traces import Item, Trace

SPACE = re.compile(r"\s+")
THOUSANDS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
SENTENCE = re.compile(
    r"""\.{2,}|\.(?![0-9])"""  # an ellipsis; a point with no digit after it
    r"""|(?<![0-9)])!"""  # after a digit or a bracket it is a factorial
    r"""|:(?! ?[0-9])|(?<![0-9])(?<![0-9] ):"""  # between digits it is a ratio or a time
    r"""|[,;?"'`“”„‘’‚«»¿¡…—]"""
)
BESIDE_OPERATOR = re.compile(r" ?([-+*/×÷·−–=≠<>≤≥^~|&%$€£¥₹:()\[\]{}]) ?")


class Overlap(NamedTuple):
    row: int
    """0-based source row of the trace."""
    item: str
    """Id of the eval item."""
    how: Literal["exact", "folded"]


def fold(prompt: str) -> str:
    """The prompt without what does not change its question; folding twice changes nothing more."""
    # Canonical caseless matching (Unicode 3.13, D145), composed again so that accents stay on their letters.
    caseless = unicodedata.normalize("NFD", unicodedata.normalize("NFD", prompt).casefold())
    text = SPACE.sub(" ", unicodedata.normalize("NFC", caseless))
    text = THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    text = SPACE.sub(" ", SENTENCE.sub(" ", text))
    return BESIDE_OPERATOR.sub(r"\1", text).strip()


def duplicates(traces: Iterable[Trace]) -> dict[int, tuple[int, ...]]:
    """First row of each repeated trace → the rows that repeat it in prompt, steps and answer."""
    rows: defaultdict[object, list[int]] = defaultdict(list)
    for trace in traces:
        rows[trace.key].append(trace.row)
    return {first: tuple(repeats) for first, *repeats in rows.values() if repeats}


def overlap(traces: Iterable[Trace], items: Iterable[Item]) -> list[Overlap]:
    """Each pair of a trace and an eval item with the same prompt, in the order of the items."""
    rows: defaultdict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        rows[fold(trace.prompt)].append(trace)
    return [
        Overlap(trace.row, item.id, "exact" if trace.prompt == item.prompt else "folded")
        for item in items
        for trace in rows.get(fold(item.prompt), ())
    ]
