"""Draws that are the same on every platform and Python version: sha256 of a key and a counter.

    Draw("7/train/0/0").between(10, 99)  ->  always the same number

`random` promises its bit stream, not what `shuffle`, `choice` or `randrange` make of it. Here number k of
a draw is the first 8 bytes of sha256("<key>:<k>") modulo the range: for ranges below 10⁷ the bias is
under 10⁻¹². Each row has a key of its own, so a longer set starts with the rows of a shorter one.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Draw:
    def __init__(self, key: str):
        self._key = key
        self._count = 0

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        digest = hashlib.sha256(f"{self._key}:{self._count}".encode()).digest()
        self._count += 1
        return low + int.from_bytes(digest[:8], "big") % (high - low + 1)

    def pick(self, values: Sequence[T]) -> T:
        return values[self.between(0, len(values) - 1)]

    def number(self, digits: int) -> int:
        """A number of exactly so many digits, none of them a leading zero."""
        return self.between(10 ** (digits - 1), 10**digits - 1)

    def numbers(self, count: int, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.between(low, high) for _ in range(count))

    def word(self, length: int, alphabet: Sequence[str] = CAPITALS) -> str:
        return "".join(self.pick(alphabet) for _ in range(length))

    def distinct(self, count: int, alphabet: Sequence[str] = CAPITALS) -> list[str]:
        """So many letters, none of them twice."""
        letters: list[str] = []
        while len(letters) < count:
            letters.append(self.pick([letter for letter in alphabet if letter not in letters]))
        return letters
