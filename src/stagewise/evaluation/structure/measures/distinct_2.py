"""Distinct pairs of neighbours / all of them ∞: distinct-2 (Li et al. 2016, arXiv:1510.03055)."""

from stagewise.evaluation.structure.ngrams import distinct
from stagewise.evaluation.structure.response import Response

KIND = "share"


def distinct_2(response: Response) -> float | None:
    return distinct(response.words, 2)
