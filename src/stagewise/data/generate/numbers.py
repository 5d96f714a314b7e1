"""Arithmetic by digits, lists of numbers, comparisons.

    What is 502-38?   12-8=4 borrow 1 so 4 · 10-3-1=6 borrow 1 so 64 · 5-0-1=4 so 464   answer 464

A step handles one digit of each number, or one term of a list.
"""

from itertools import pairwise

from stagewise.data.generate.draw import Draw
from stagewise.data.generate.problem import Family, Problem


def columns(a: int, b: int) -> list[tuple[int, int]]:
    """The digits of both numbers, ones first, the shorter filled up with zeros."""
    width = max(len(str(a)), len(str(b)))
    return [(int(x), int(y)) for x, y in zip(f"{a:0{width}}"[::-1], f"{b:0{width}}"[::-1], strict=True)]


def add(a: int, b: int) -> Problem:
    steps, carry, done = [], 0, ""
    *lower, (x, y) = columns(a, b)
    for p, q in lower:
        terms, total = f"{p}+{q}" + "+1" * carry, p + q + carry
        carry, digit = divmod(total, 10)
        done = f"{digit}{done}"
        steps.append(f"{terms}={total} carry {carry} so {done}")
    steps.append(f"{x}+{y}" + "+1" * carry + f"={x + y + carry} so {a + b}")
    return Problem(f"What is {a}+{b}?", steps, str(a + b), ("sum", *sorted((a, b))))


def subtract(a: int, b: int) -> Problem:
    """A negative difference is the other way round, with a minus sign."""
    steps, borrow, done = [], 0, ""
    *lower, (x, y) = columns(max(a, b), min(a, b))
    for p, q in lower:
        owed, borrow = borrow, int(p < q + borrow)
        digit = p + 10 * borrow - q - owed
        done = f"{digit}{done}"
        steps.append(f"{p + 10 * borrow}-{q}" + "-1" * owed + f"={digit} borrow {borrow} so {done}")
    steps.append(f"{x}-{y}" + "-1" * borrow + f"={x - y - borrow} so {a - b}")
    return Problem(f"What is {a}-{b}?", steps, str(a - b), ("difference", *sorted((a, b))))


def multiply(a: int, b: int) -> Problem:
    """`b` is one digit."""
    steps, carry, done = [], 0, ""
    *lower, highest = (int(digit) for digit in reversed(str(a)))
    for digit in lower:
        terms, total = f"{digit}×{b}" + f"+{carry}" * (carry > 0), digit * b + carry
        carry, unit = divmod(total, 10)
        done = f"{unit}{done}"
        steps.append(f"{terms}={total} carry {carry} so {done}")
    steps.append(f"{highest}×{b}" + f"+{carry}" * (carry > 0) + f"={highest * b + carry} so {a * b}")
    return Problem(f"What is {a}×{b}?", steps, str(a * b), ("product", *sorted((a, b))))


def divide(a: int, b: int) -> Problem:
    """`b` is one digit, not zero: the quotient gets a digit a step, the rest goes on."""
    steps, rest, quotient = [], 0, 0
    for digit in str(a):
        part = 10 * rest + int(digit)
        rest = part % b
        quotient = 10 * quotient + part // b
        steps.append(f"{part}={b}×{part // b}+{rest} so {quotient}")
    steps[-1] += f" remainder {rest}"
    return Problem(f"Divide {a} by {b}.", steps, f"{quotient} remainder {rest}", ("quotient", a, b))


def total(*terms: int) -> Problem:
    steps, sum_ = [], terms[0]
    for term in terms[1:]:
        steps.append(f"{sum_}+{term}={sum_ + term}")
        sum_ += term
    return Problem(f"What is {'+'.join(map(str, terms))}?", steps, str(sum_), ("sum", *sorted(terms)))


def digit_sum(digits: str) -> Problem:
    """The same problem as the sum of these numbers, in any order."""
    worked = total(*(int(digit) for digit in digits))
    return worked._replace(prompt=f"Add the digits of {digits}.")


def following(*terms: int) -> Problem:
    """The next term of a sequence whose terms all differ by as much: the last one and the difference decide it."""
    difference = terms[1] - terms[0]
    steps = [f"{b}-{a}={difference}" for a, b in pairwise(terms)]
    answer = terms[-1] + difference
    steps.append(f"{terms[-1]}{difference:+}={answer}")
    same = ("sequence", terms[-1], difference)
    return Problem(f"What comes next: {', '.join(map(str, terms))}?", steps, str(answer), same)


def parity(*terms: int) -> Problem:
    steps, so_far = [], 0
    for place, term in enumerate(terms):
        so_far += term
        steps.append(f"{term} is {_parity(term)}" + f" sum {_parity(so_far)}" * (place > 0))
    same = ("parity", *sorted(terms))
    return Problem(f"Is {'+'.join(map(str, terms))} even or odd?", steps, _parity(so_far), same)


def _parity(number: int) -> str:
    return "odd" if number % 2 else "even"


def compare(a: int, b: int) -> Problem:
    """Digit by digit from the left; negative numbers and equal ones at a glance."""
    answer = "equal" if a == b else str(max(a, b))
    pairs = [(a, b)] if min(a, b) < 0 else columns(a, b)[::-1]
    steps = []
    for x, y in pairs:
        steps.append(f"{x}{_sign(x, y)}{y}")
        if x != y:
            break
    steps[-1] += f" so {answer}"
    return Problem(f"Which is larger, {a} or {b}?", steps, answer, ("largest", *sorted((a, b))))


def _sign(a: int, b: int) -> str:
    return "<" if a < b else ">" if a > b else "="


def extreme(which: str, *numbers: int) -> Problem:
    """`which`: largest or smallest."""
    choose, best, steps = {"largest": max, "smallest": min}[which], numbers[0], []
    for number in numbers[1:]:
        sign = _sign(best, number)
        steps.append(f"{best}{sign}{number} so {choose(best, number)}")
        best = choose(best, number)
    same = (which, *sorted(numbers))
    return Problem(f"Which is {which}: {', '.join(map(str, numbers))}?", steps, str(best), same)


def _differing_at(draw: Draw, place: int) -> tuple[int, int]:
    """Two numbers of one digit more than `place` that first differ there."""
    same = str(draw.number(place - 1)) if place > 1 else ""
    a, b = draw.distinct(2, "123456789")
    return int(same + a + draw.word(1, "0123456789")), int(same + b + draw.word(1, "0123456789"))


def _sequence(draw: Draw, length: int) -> tuple[int, ...]:
    start, difference = draw.numbers(2, 2, 40)
    return tuple(start + difference * place for place in range(length))


def _level_or_falling(draw: Draw) -> tuple[int, int]:
    start = draw.between(0, 20)
    return start, start - draw.between(0, 20)


def _zero_first_or_last(draw: Draw) -> tuple[int, int]:
    number = draw.between(0, 99)
    return draw.pick([(number, 0), (0, number)])


def _nothing_left(draw: Draw) -> tuple[int, int]:
    """A dividend that leaves no remainder, zero among them, or is smaller than its divisor."""
    divisor = draw.between(2, 9)
    return draw.pick([divisor * draw.between(0, 11), draw.between(0, divisor - 1)]), divisor


FAMILIES = (
    Family("addition", range(2, 7), lambda d, n: (d.number(n), d.number(n)), _zero_first_or_last, add),
    Family(
        "subtraction",
        range(2, 7),
        lambda d, n: tuple(sorted((d.number(n), d.number(n)), reverse=True)),
        lambda d: tuple(sorted(d.numbers(2, 0, 99))),
        subtract,
    ),
    Family(
        "multiplication",
        range(2, 6),
        lambda d, n: (d.number(n), d.between(2, 9)),
        lambda d: (d.between(0, 99), d.between(0, 1)),
        multiply,
    ),
    Family("division", range(2, 6), lambda d, n: (d.number(n), d.between(2, 9)), _nothing_left, divide),
    Family(
        "running_sum",
        range(2, 7),
        lambda d, n: d.numbers(n + 1, 1, 9),
        lambda d: (0, d.between(-9, 9), d.between(0, 9)),
        total,
    ),
    Family(
        "digit_sum",
        range(2, 6),
        lambda d, n: (str(d.number(n + 1)),),
        lambda d: (f"0{d.between(0, 9)}{d.pick(['', str(d.between(0, 9))])}",),
        digit_sum,
    ),
    Family("sequence", range(2, 6), _sequence, _level_or_falling, following),
    Family(
        "parity",
        range(1, 6),
        lambda d, n: d.numbers(n, 10, 999 if n == 1 else 99),
        lambda d: (d.between(-99, 0),),
        parity,
    ),
    Family("comparison", range(1, 6), _differing_at, lambda d: d.numbers(2, -9, 9), compare),
    Family(
        "extremes",
        range(2, 7),
        lambda d, n: (d.pick(["largest", "smallest"]), *d.numbers(n + 1, 10, 99)),
        lambda d: (d.pick(["largest", "smallest"]), *d.numbers(2, -9, 9)),
        extreme,
    ),
)
