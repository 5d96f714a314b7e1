"""100 · matches of a word list / words: a lexical proxy for verification (Gandhi et al. 2025, arXiv:2503.01307).

"Let me check my answer": results are tested.
"""

from stagewise.evaluation.structure import lexicon
from stagewise.evaluation.structure.response import Response

KIND = "amount"
WORDS = (
    r"check(?:s|ed|ing)?",
    r"double[- ]check(?:s|ed|ing)?",
    r"verif(?:y|ies|ied|ying|ication)",
    r"confirm(?:s|ed|ing)?",
    r"make sure",
    r"plug(?:ging)? (?:it |this |that )?back",
    r"substitut(?:e|ing) (?:it |this |that )?back",
    r"this matches",
    r"is (?:indeed )?correct",
)
_PATTERN = lexicon.pattern(WORDS)


def lex_verification(response: Response) -> float:
    return lexicon.rate(_PATTERN, response.once)
