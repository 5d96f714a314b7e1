"""What an equation says on one of its sides: the value, and how it is spelled.

of `3 apples × 2 = 6 apples`    Side(value=6, calculates=True, …) and Side(value=6, calculates=False, …)
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Side:
    value: Fraction
    calculates: bool
    multiplies: bool
    divides: bool
    adds: bool
    last_place: Fraction
    """What the last digit of its first number is worth: 1/100 of 10.14."""
    cut: bool
    """Its first number goes on: 0.666…"""
    units: frozenset[str]
    """The words after its numbers, in lower case."""
    rates: frozenset[str]
    """Those that these are divided by: hour, of `60 km per hour`."""
    letters: frozenset[str]
    """Single letters that touch a number, which may be units, scales or variables: `5m`, `5k`."""
    bare: bool
    """One of its numbers has no unit."""
    percents: bool
    hundred: bool
    """100% is one of its numbers."""
    hundredfold: bool
    """It multiplies by 100, as what makes a number of a share does."""
    scale: int
    """1, or the largest of the thousands, millions … that its numbers are in."""
    beside: bool
    """A bracket stands beside a factor, with a space between: `2 (3 + 1)`."""
    paired: bool
    """Two numbers with a space between are read as one: `12 345`, `1 1/2`."""
    doubtful: bool
    """Its spelling can be meant in another way."""
    division: tuple[Fraction, Fraction] | None
    """Dividend and divisor, if it is one division and nothing else."""
    modulus: Fraction | None
    """Of its last operation, if that is `mod`."""
    remainder: Fraction | None
    """What is said to be left over: 1 of `7 remainder 1`."""
