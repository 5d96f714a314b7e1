"""Lines as a tree.

split: run 7a1b…
├─ code: commit 3f2a…
│  ✗ tree: found 9e0c…, expected 77c0…
└─ dataset a: 8,012 rows
"""

from collections.abc import Iterator
from typing import NamedTuple


class Node(NamedTuple):
    text: str
    below: "list[Node]"
    remarks: tuple[str, ...] = ()  # lines of its own, between its text and what is below it


def drawn(node: Node, first: str = "", rest: str = "") -> Iterator[str]:
    """The lines of a node; its first begins with `first`, the others with `rest`."""
    yield f"{first}{node.text}"
    for remark in node.remarks:
        yield f"{rest}{'│  ' if node.below else '   '}{remark}"
    for index, each in enumerate(node.below):
        last = index == len(node.below) - 1
        yield from drawn(each, f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}")
