"""The characters, white space around them aside."""


def exact(answer: str, expected: str) -> bool:
    return answer.strip() == expected.strip()
