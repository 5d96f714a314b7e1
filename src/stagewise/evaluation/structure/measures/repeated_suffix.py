"""Tokens of the longest suffix that holds its period at least twice / tokens ∞; a cut last token is left out. The loops
of Holtzman et al. 2020 (arXiv:1904.09751), found by borders (Knuth, Morris and Pratt 1977).
"""

from stagewise.evaluation.scoring.text import repeated_suffix as longest
from stagewise.evaluation.structure.response import Response

KIND = "share"


def repeated_suffix(response: Response) -> float:
    said = response.words[: -1 if response.finish_reason != "stop" else None]
    return longest(said)[0] / len(said) if said else 0.0
