"""Mathematics by huggingface/Math-Verify, asked only where both sides are mathematics from end to end and the other
matchers cannot tell. It runs in a child process.
"""

from stagewise.evaluation.scoring.verifier import equal_by_math_verify


def math_verify(answer: str, expected: str) -> bool:
    """Raises `MatchTimeout` where it takes too long."""
    return equal_by_math_verify(answer, expected)
