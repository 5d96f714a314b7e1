"""Tokens inside a run of 3 or more that also stands in the prompt / tokens: the coverage of extractive fragments
(Grusky et al. 2018, arXiv:1804.11283).
"""

from stagewise.evaluation.scoring.text import tokens
from stagewise.evaluation.structure.ngrams import ngrams
from stagewise.evaluation.structure.response import Response

KIND = "share"
COPIED = 3  # tokens in a row; fewer are shared by chance


def prompt_copy(response: Response) -> float:
    said, shared = tokens(response.once), set(ngrams(tokens(response.prompt), COPIED))
    copied = {
        index + offset
        for index, ngram in enumerate(ngrams(said, COPIED))
        if ngram in shared
        for offset in range(COPIED)
    }
    return len(copied) / len(said) if said else 0.0
