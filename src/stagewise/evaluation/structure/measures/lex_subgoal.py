"""100 · matches of a word list / words: a lexical proxy for setting subgoals (Gandhi et al. 2025, arXiv:2503.01307).

"To solve this, we first need to": the problem is cut into smaller ones.
"""

from stagewise.evaluation.structure import lexicon
from stagewise.evaluation.structure.response import Response

KIND = "amount"
WORDS = (
    r"first(?:ly)?",
    r"second(?:ly)?",
    r"next",
    r"finally",
    r"after that",
    r"step \d+",
    r"(?:I|we) (?:first |now |will |then )?(?:need|have|want) to",
    r"to (?:find|solve|get|calculate|determine)",
    r"break(?:ing)? (?:it |this |the \w+ )?(?:down|into)",
    r"let(?:'s| us) (?:start|begin)",
)
_PATTERN = lexicon.pattern(WORDS)


def lex_subgoal(response: Response) -> float:
    return lexicon.rate(_PATTERN, response.once)
