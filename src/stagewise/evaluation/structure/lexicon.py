"""Word lists of the lexical proxies for the four cognitive behaviours of Gandhi et al. 2025.

    rate("verification", "12 × 3 = 36. Let me check: 36 / 3 = 12")  ->  about 8 per 100 words

The paper (*Cognitive Behaviors that Enable Self-Improving Reasoners*, arXiv:2503.01307) has a language
model judge each trace. These lists only count words that tend to go with a behaviour: they are proxies,
they miss a behaviour said in other words, and they fire on a word that is used for something else.
"""

from collections.abc import Mapping

import regex

WORDS: Mapping[str, tuple[str, ...]] = {
    # "Let me check my answer": results are tested.
    "verification": (
        r"check(?:s|ed|ing)?",
        r"double[- ]check(?:s|ed|ing)?",
        r"verif(?:y|ies|ied|ying|ication)",
        r"confirm(?:s|ed|ing)?",
        r"make sure",
        r"plug(?:ging)? (?:it |this |that )?back",
        r"substitut(?:e|ing) (?:it |this |that )?back",
        r"this matches",
        r"is (?:indeed )?correct",
    ),
    # "This approach won't work because": what was tried is given up.
    "backtracking": (
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
    ),
    # "To solve this, we first need to": the problem is cut into smaller ones.
    "subgoal": (
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
    ),
    # "To reach 75 we need a number divisible by": from the goal to what is given.
    "backward": (
        r"(?:work(?:ing|ed)?|go(?:ing)?|reason(?:ing)?) backwards?",
        r"in reverse",
        r"(?:start|starting|begin|beginning) (?:from|with) the (?:end|answer|result|goal|target|total)",
        r"to (?:reach|arrive at|end up with|end with|obtain) (?:\w+ ){0,3}(?:we|I|you) (?:need|must|have)",
        r"undo(?:ing)?",
        r"invers(?:e|es|ely)",
        r"if the (?:answer|result|total) (?:is|was|were)",
    ),
}
_PATTERNS = {
    behaviour: regex.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", regex.IGNORECASE)
    for behaviour, words in WORDS.items()
}


def rate(behaviour: str, text: str) -> float:
    """100 · (places where one of the behaviour's words stands) / (words of the text); 0 for no text."""
    words = len(regex.findall(r"\w+", text))  # its \w holds the marks on a letter, that of `re` does not
    return 100 * len(_PATTERNS[behaviour].findall(text)) / words if words else 0.0
