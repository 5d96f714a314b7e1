"""The scores of predictions as plain numbers, without the items that have none."""

from collections.abc import Mapping, Sequence
from typing import Any


def scored(rows: Sequence[Mapping[str, Any]], name: str) -> list[int]:
    """`flexible` or `strict` of the items that are scored, 0 or 1 each."""
    return [int(row[name]) for row in rows if row[name] is not None]


def paired(answers: Sequence[Sequence[Mapping[str, Any]]], name: str) -> list[list[int]]:
    """`flexible` or `strict` of each checkpoint's rows, of the items that are scored for all of them."""
    whole = [items for items in zip(*answers, strict=True) if all(row[name] is not None for row in items)]
    return [[int(items[number][name]) for items in whole] for number in range(len(answers))]
