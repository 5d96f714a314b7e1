"""100 · matches of a word list / words: a lexical proxy for working backwards (Gandhi et al. 2025, arXiv:2503.01307).

"To reach 75 we need a number divisible by": from the goal to what is given.
"""

from stagewise.evaluation.structure import lexicon
from stagewise.evaluation.structure.response import Response

KIND = "amount"
WORDS = (
    r"(?:work(?:ing|ed)?|go(?:ing)?|reason(?:ing)?) backwards?",
    r"in reverse",
    r"(?:start|starting|begin|beginning) (?:from|with) the (?:end|answer|result|goal|target|total)",
    r"to (?:reach|arrive at|end up with|end with|obtain) (?:\w+ ){0,3}(?:we|I|you) (?:need|must|have)",
    r"undo(?:ing)?",
    r"invers(?:e|es|ely)",
    r"if the (?:answer|result|total) (?:is|was|were)",
)
_PATTERN = lexicon.pattern(WORDS)


def lex_backward(response: Response) -> float:
    return lexicon.rate(_PATTERN, response.once)
