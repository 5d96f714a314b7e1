"""1 - distinct 4-grams / 4-grams ∞: seq-rep-4 (Welleck et al. 2020, arXiv:1908.04319)."""

from stagewise.evaluation.structure.ngrams import distinct
from stagewise.evaluation.structure.response import Response

KIND = "share"


def rep_4(response: Response) -> float:
    share = distinct(response.words, 4)
    return 0.0 if share is None else 1 - share
