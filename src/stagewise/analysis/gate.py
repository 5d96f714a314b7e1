"""The gate of a promotion: may this checkpoint take the champion's place? Pure.

    decide(rows, champions_rows, config.promotion)
        Decision(holds=True, reason="flexible 61.2% against 60.4% of the present champion, on 250 items of which 7 are
            right for the challenger alone and 5 for the champion alone: +0.8 points, with nominal 97.5 % confidence
            at least -2.4; the margin allows -5.0, which takes 73 items where both answer alike", …)

It is a test of non-inferiority, paired over the items of one eval set: the lower end of Tango's 95 % interval of the
difference must not lie below minus the margin. The first champion has nothing to be held against: there the lower end
of Wilson's 95 % interval of its rate must not lie below `min`. A small eval set therefore refuses more, not less.
97.5 % is nominal; docs/statistics.md has what simulations gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagewise.analysis.paired import items_needed
from stagewise.analysis.scores import paired
from stagewise.analysis.statistics import Pair, pair, wilson
from stagewise.config import Promotion

CONFIDENCE = "with nominal 97.5 % confidence at least"  # one side of a 95 % interval


@dataclass(frozen=True, slots=True)
class Decision:
    holds: bool
    reason: str
    difference: float | None = None
    """Challenger minus champion, as a share of the items; None where there is no champion."""
    low: float | None = None
    """The lower end of the 95 % interval that decides: of the difference; of the rate where there is no champion."""


def decide(
    challenger: Sequence[Mapping[str, Any]], champion: Sequence[Mapping[str, Any]] | None, settings: Promotion
) -> Decision:
    """From the predictions of both on the same items, in the same order; `champion` is None where there is none."""
    mine, *others = paired([challenger] if champion is None else [challenger, champion], settings.metric)
    if not mine:
        return Decision(False, f"no item is scored by {settings.metric}, as comparisons took too long")
    if champion is None:
        return _first(sum(mine), len(mine), settings)
    theirs, left_out = others[0], len(challenger) - len(mine)
    unscored = f" ({left_out} left out, unscored)" if left_out else ""
    found = pair(0, mine, theirs)
    low = found.interval.low
    holds = low >= -settings.margin
    lowest, allowed = _apart(100 * low, -100 * settings.margin, "+")
    reason = (
        f"{settings.metric} {sum(mine) / len(mine):.1%} against {sum(theirs) / len(theirs):.1%} of the present "
        f"{settings.alias}, on {found.items} items{unscored} of which {found.only_a} are right for the challenger "
        f"alone and {found.only_b} for the {settings.alias} alone: {100 * found.difference:+.1f} points, {CONFIDENCE} "
        f"{lowest}; the margin allows {allowed}, which takes {_needed(found, settings.margin, holds)}"
    )
    return Decision(holds, reason, found.difference, low)


def _first(right: float, items: int, settings: Promotion) -> Decision:
    low = wilson(round(right), items).low
    lowest, allowed = _apart(100 * low, 100 * settings.min)
    floor = f"promotion.min asks for {allowed} %" if settings.min else "no floor is set (promotion.min)"
    return Decision(
        low >= settings.min,
        f"{settings.metric} {right / items:.1%} of {items} items, {CONFIDENCE} {lowest} %; there is no "
        f"{settings.alias} yet, and {floor}",
        low=low,
    )


def _needed(found: Pair, margin: float, holds: bool) -> str:
    """How many items the gate takes: where both answer alike, and, if it does not hold, with answers like these."""
    alike = items_needed(0, 0, margin)
    needed = "a challenger that is better" if alike is None else f"{alike:,} items where both answer alike"
    if holds:
        return needed
    these = items_needed(found.only_a / found.items, found.only_b / found.items, margin)
    return f"{needed} and {'more than any number' if these is None else f'about {these:,}'} with answers like these"


def _apart(value: float, limit: float, sign: str = "") -> tuple[str, str]:
    """Both in so many decimals that they look equal only if they are."""
    texts = ((f"{value:{sign}z.{many}f}", f"{limit:{sign}z.{many}f}") for many in range(1, 9))
    return next(((shown, bound) for shown, bound in texts if shown != bound or value == limit))
