"""100 · matches of a word list / words: a lexical proxy for backtracking (Gandhi et al. 2025, arXiv:2503.01307).

"This approach won't work because": what was tried is given up.
"""

from stagewise.evaluation.structure import lexicon
from stagewise.evaluation.structure.response import Response

KIND = "amount"
WORDS = (
    r"wait",
    r"actually",
    r"oops",
    r"hmm+",
    r"mistake",
    r"instead",
    r"alternatively",
    r"(?:start|try) (?:again|over)",
    r"let(?:'s| me| us) (?:re-?think|reconsider|try (?:a different|another|something else))",
    r"(?:another|a different) (?:approach|way|method)",
    r"(?:doesn't|does not|didn't|did not|won't|will not|can't|cannot) (?:work|be right|be correct)",
    r"(?:is|was)(?: not|n't) (?:right|correct)",
    r"(?:is|was) (?:wrong|incorrect)",
    r"on second thought",
)
_PATTERN = lexicon.pattern(WORDS)


def lex_backtracking(response: Response) -> float:
    return lexicon.rate(_PATTERN, response.once)
