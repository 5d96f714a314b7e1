"""Repeats within the traces, and prompts that stand in both training and eval data.

    fold("What is...  2 + 2???")  ->  "what is 2+2"
    fold("Is 1,000 > -3.5 ?")     ->  "is 1000>-3.5"

Folding takes away what does not change a question: case, white space, and the punctuation of sentences.
It keeps what does: letters, digits, operators, brackets, %, currency, and a point, colon or exclamation
mark that belongs to a number (`3.5`, `.5`, `10:30`, `5!`). White space goes beside an operator and is one
space elsewhere, so `12` and `1 2` stay apart. Commas that group thousands (`1,000`, `12,345,678`) are
dropped, every other comma separates: `1,2` is the list `1 2`, and a decimal comma is not read as one.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

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

NOT_LETTERS = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz0123456789"))

DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])
PART = 1 << 21  # rows sorted at once, in about 150 MB
CHUNK = 1 << 16  # digests read at once

How = Literal["exact", "folded"]


class Overlap(NamedTuple):
    row: int
    """0-based source row of the trace."""
    item: str
    """Id of the eval item."""
    how: How


def fold(prompt: str) -> str:
    """The prompt without what does not change its question; folding twice changes nothing more."""
    # Canonical caseless matching (Unicode 3.13, D145), composed again so that accents stay on their letters.
    caseless = unicodedata.normalize("NFD", unicodedata.normalize("NFD", prompt).casefold())
    text = SPACE.sub(" ", unicodedata.normalize("NFC", caseless))
    text = THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    text = SPACE.sub(" ", SENTENCE.sub(" ", text))
    return BESIDE_OPERATOR.sub(r"\1", text).strip()


class Asked:
    """The eval items by what they ask."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.by_fold: defaultdict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            self.by_fold[fold(item.prompt)].append(index)
        self.letters = {_letters(folded) for folded in self.by_fold}

    def overlap(self, traces: Iterable[Trace]) -> Iterator[tuple[int, Overlap]]:
        """Each pair of a trace and an eval item with the same prompt, and the item's place among all."""
        for trace in traces:
            # Folding leaves the letters and digits of ASCII as they are, so that most prompts need not be folded.
            if trace.prompt.isascii() and _letters(trace.prompt) not in self.letters:
                continue
            for index in self.by_fold.get(fold(trace.prompt), ()):
                item = self.items[index]
                how: How = "exact" if trace.prompt == item.prompt else "folded"
                yield index, Overlap(trace.row, item.id, how)


def _letters(text: str) -> bytes:
    return text.lower().encode().translate(None, NOT_LETTERS)


def overlap(traces: Iterable[Trace], items: Sequence[Item]) -> list[Overlap]:
    """Each pair of a trace and an eval item with the same prompt, in the order of the items."""
    return in_order(Asked(items).overlap(traces))


def in_order(found: Iterable[tuple[int, Overlap]]) -> list[Overlap]:
    return [pair for _, pair in sorted(found)]


class Repeats:
    """Which traces repeat an earlier one in prompt, steps and answer.

    Of each trace 16 bytes are kept, of the sha256 of what is compared, in a temporary file: two of 10⁹ different traces
    share them with a probability of 10⁻²¹. Memory is that of PART rows, however many there are.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def add(self, traces: Iterable[Trace]) -> None:
        self.file.write(b"".join([_digest(trace) for trace in traces]))

    def rows(self) -> NDArray[np.int64]:
        """The rows that repeat an earlier one, ascending."""
        count = self.file.tell() // DIGEST.itemsize
        parts = -(-count // PART)  # equal digests are in the same part
        found = [self._in_part(part, parts) for part in range(parts)]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)

    def _in_part(self, part: int, parts: int) -> NDArray[np.int64]:
        rows, digests, start = [], [], 0
        self.file.seek(0)
        while data := self.file.read(CHUNK * DIGEST.itemsize):
            chunk = np.frombuffer(data, DIGEST)
            here = np.flatnonzero(chunk["high"] % parts == part)
            rows.append(here + start)
            digests.append(chunk[here])
            start += len(chunk)
        row, digest = np.concatenate(rows), np.concatenate(digests)
        order = np.lexsort((digest["low"], digest["high"]))  # stable: of equal ones the first row stays first
        high, low = digest["high"][order], digest["low"][order]
        again = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        found: NDArray[np.int64] = row[order[1:][again]]
        return found


def _digest(trace: Trace) -> bytes:
    parts = [trace.prompt, trace.final_answer]
    for step in trace.steps:
        parts += step
    return hashlib.sha256(orjson.dumps(parts)).digest()[: DIGEST.itemsize]


def repeats(traces: Iterable[Trace]) -> list[int]:
    """The rows of these traces that repeat an earlier one."""
    with TemporaryFile() as file:
        found = Repeats(file)
        found.add(traces)
        return [int(row) for row in found.rows()]
