"""What a check of `doctor` finds: a mark, and what is said."""

from collections.abc import Iterator

GOOD, WARNING, BAD = "✓", "!", "✗"
INSTALL = "pip install -c constraints.txt ."

Said = Iterator[tuple[str, str]]
"""Marks, and what is said of each."""
