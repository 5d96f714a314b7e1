"""ROUGE-L F1 against the steps and the answer of the item's own solution: 2 · LCS / (tokens of both) (Lin 2004); absent
where the eval set has none.
"""

from collections.abc import Sequence

from stagewise.evaluation.scoring.text import tokens
from stagewise.evaluation.structure.response import Response

KIND = "share"


def reference_rouge_l(response: Response) -> float | None:
    if response.reference is None:
        return None
    left, right = tokens(response.once), tokens("\n".join([*response.reference, response.expected]))
    return 2 * _common_subsequence(left, right) / (len(left) + len(right)) if left or right else 0.0


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Its length, with a bit for each token of `left` (Hyyrö 2004): a row is one step on whole integers."""
    places: dict[str, int] = {}
    for index, token in enumerate(left):
        places[token] = places.get(token, 0) | 1 << index
    everywhere = (1 << len(left)) - 1
    row = everywhere
    for token in right:
        matches = row & places.get(token, 0)
        row = (row + matches | row - matches) & everywhere
    return len(left) - row.bit_count()
