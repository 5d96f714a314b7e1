"""Tasks on short strings of capital letters, which a tokenizer keeps apart.

    Reverse ABCDE.   ED · CB · A so EDCBA   answer EDCBA

A step handles one or two letters and says what is done or left.
"""

from stagewise.data.generate.draw import Draw
from stagewise.data.generate.problem import Family, Problem


def pairs(word: str) -> list[str]:
    return [word[start : start + 2] for start in range(0, len(word), 2)]


def reverse(word: str) -> Problem:
    """Two letters a step, from the end: each is the left neighbour of the one before."""
    answer = word[::-1]
    steps = pairs(answer)
    steps[-1] += f" so {answer}"
    return Problem(f"Reverse {word}.", steps, answer, ("reverse", word))


def sort(word: str) -> Problem:
    """The first letter of the alphabet that is left, a step each."""
    steps, left = [], word
    while len(left) > 1:
        first = min(left)
        left = left.replace(first, "", 1)
        steps.append(f"take {first} left {left}")
    answer = "".join(sorted(word))
    steps[-1] += f" so {answer}"
    return Problem(f"Sort {word}.", steps, answer, ("sort", answer))


def count(letter: str, word: str) -> Problem:
    """Two letters a step, with the count so far."""
    steps, found = [], 0
    for pair in pairs(word):
        found += pair.count(letter)
        steps.append(f"{pair} so {found}")
    return Problem(f"How many {letter} in {word}?", steps, str(found), ("count", letter, "".join(sorted(word))))


def repeat(word: str, times: int) -> Problem:
    steps = [f"{time} {word * time}" for time in range(1, times + 1)]
    return Problem(f"Repeat {word} {times} times.", steps, word * times, ("repeat", word, times))


def _letter_and_word(draw: Draw, steps: int) -> tuple[str, str]:
    """Every other letter, more or less, is the one to count."""
    letter, other, third = draw.distinct(3)
    return letter, draw.word(draw.between(2 * steps - 1, 2 * steps), [letter, letter, other, third])


def _absent_or_alone(draw: Draw) -> tuple[str, str]:
    letter, other = draw.distinct(2)
    return letter, draw.pick([letter, other, other * 2, letter * 2])


FAMILIES = (
    Family(
        "reversal",
        range(2, 5),
        lambda d, n: ("".join(d.distinct(d.between(2 * n - 1, 2 * n))),),
        lambda d: (d.word(d.between(1, 2)),),
        reverse,
    ),
    Family(
        "sorting",
        range(2, 6),
        lambda d, n: ("".join(d.distinct(n + 1)),),
        lambda d: (d.word(3, d.distinct(2)),),
        sort,
    ),
    Family("letter_count", range(2, 5), _letter_and_word, _absent_or_alone, count),
    Family(
        "repetition",
        range(2, 6),
        lambda d, n: (d.word(d.between(1, 3 if n < 4 else 2)), n),
        lambda d: (d.word(d.between(1, 3)), 1),
        repeat,
    ),
)
