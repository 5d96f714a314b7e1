"""Exact values, and what is beyond them: a root that is no fraction, a number too large to go on with.

exact_root(Fraction(16, 9), 2)    ->  Fraction(4, 3)
exact_root(Fraction(2), 2)        raises `NoValue`
"""

from fractions import Fraction

LONGEST_NUMBER = 60  # characters
LARGEST = 10**LONGEST_NUMBER  # beyond this nothing is checked: powers of powers would take for ever


class NoValue(Exception):
    """What was read is no arithmetic expression."""


def bounded(value: Fraction) -> Fraction:
    if max(abs(value.numerator), value.denominator) > LARGEST:
        raise NoValue
    return value


def exact_root(value: Fraction, degree: int) -> Fraction:
    """Of a fraction whose root is one."""
    if value < 0:
        raise NoValue
    parts = [round(part ** (1 / degree)) for part in value.as_integer_ratio()]
    found = Fraction(*parts) if parts[1] else Fraction(0)
    if found**degree != value:
        raise NoValue
    return found
