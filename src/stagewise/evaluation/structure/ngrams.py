"""Runs of n tokens."""

from collections.abc import Sequence


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[index : index + n]) for index in range(len(tokens) - n + 1)]


def distinct(tokens: Sequence[str], n: int) -> float | None:
    """Distinct n-grams / n-grams; None where there is none."""
    found = ngrams(tokens, n)
    return len(set(found)) / len(found) if found else None
