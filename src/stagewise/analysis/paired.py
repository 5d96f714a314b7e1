"""The score interval of the difference between two rates on the same items (Tango 1998). Pure.

    paired_interval(only_a=9, only_b=3, items=32)    Interval(low=-0.0271, high=0.3897, level=0.95)
    items_needed(0.0, 0.0, margin=0.05)              73: of so many the lower end is above -0.05, if no answer differs

Of the items that both have right or both have wrong only the number counts. All is as a share of the items: 0.03 is
3 points. docs/statistics.md says how often a gate errs that goes by the lower end.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95
TINY = 1e-12  # far below what one item is worth


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float
    level: float = LEVEL

    def within(self, low: float, high: float) -> "Interval":
        """What of it is possible, for a quantity that lies between `low` and `high`."""
        return Interval(max(low, self.low), min(high, self.high), self.level)


def check_counts(only_a: int, only_b: int, items: int) -> None:
    """ValueError unless these are whole numbers, of discordant items in one direction and the other, and of all."""
    whole = all(isinstance(each, int | np.integer) for each in (only_a, only_b, items))
    if not whole or min(only_a, only_b) < 0 or items < max(1, only_a + only_b):
        raise ValueError(f"found {only_a} and {only_b} discordant of {items} items, expected whole numbers within them")


def check_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}, expected a number between 0 and 1")
    return level


def paired_interval(only_a: int, only_b: int, items: int, level: float = LEVEL) -> Interval:
    """Tango's (1998, Statistics in Medicine 17:891-908) score interval of a minus b.

    `only_a` and `only_b` of the `items` are discordant: right in a alone, and in b alone. It holds the differences
    that a score test does not reject at 1 - `level`, lies within -1 and 1, and needs no special case without a
    discordant item: it is ± z² / (n + z²) then. ValueError for counts that are none, and without an item.
    """
    check_counts(only_a, only_b, items)
    z = _quantile(level)
    return Interval(_lower_end(only_a, only_b, items, z), -_lower_end(only_b, only_a, items, z), level)


def items_needed(share_a: float, share_b: float, margin: float, level: float = LEVEL) -> int | None:
    """The number of items at which the lower end is -`margin`, where such shares of them are discordant.

    None where no number is enough: b is better by the margin or more.
    """
    above = share_a - share_b + margin
    if above <= TINY:
        return None
    return max(1, math.ceil(_quantile(level) ** 2 * _variance(share_a, share_b, -margin) / above**2))


def _quantile(level: float) -> float:
    return float(stats.norm.isf((1 - check_level(level)) / 2))


def _lower_end(only_a: int, only_b: int, items: int, z: float) -> float:
    """The difference that lies z of its own standard errors below the observed one."""
    share_a, share_b = only_a / items, only_b / items
    if share_b == 1:
        return -1.0

    def beyond(difference: float) -> float:
        error = math.sqrt(_variance(share_a, share_b, difference) / items)
        return share_a - share_b - difference - z * error

    # Without a discordant item the difference 0 has no error either: that is no end, so it is left out.
    return float(optimize.brentq(beyond, -1.0, share_a - share_b - TINY, xtol=TINY))


def _variance(share_a: float, share_b: float, difference: float) -> float:
    """Of one item's difference if its mean is `difference`, from the share of items that b alone has right which is
    then the likeliest (Tango 1998; the larger root of a quadratic equation)."""
    linear = (2 - share_a + share_b) * difference - share_a - share_b
    constant = -share_b * difference * (1 - difference)
    only_b = (math.sqrt(max(0.0, linear**2 - 8 * constant)) - linear) / 4
    return max(0.0, 2 * only_b + difference * (1 - difference))
