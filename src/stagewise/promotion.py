"""The gate of a promotion: may this checkpoint take the champion's place? Pure.

    decide(rows, champions_rows, config.promotion)
        Decision(holds=True, reason="flexible 61.2 % against the champion's 60.4 %: +0.8 points, at least -2.4 with
                                     97.5 % confidence, and -5.0 is allowed", difference=0.008, low=-0.024)

It is a test of non-inferiority, paired over the items of one eval set: the lower end of the 95 % interval of the
difference must not lie below minus the margin. A small eval set therefore refuses more, not less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagewise.config import Promotion
from stagewise.predictions import paired
from stagewise.statistics import pair


@dataclass(frozen=True, slots=True)
class Decision:
    holds: bool
    reason: str
    difference: float | None = None
    """Challenger minus champion, as a share of the items; None where there is no champion."""
    low: float | None = None
    """The lower end of the difference's 95 % interval."""


def decide(
    challenger: Sequence[Mapping[str, Any]], champion: Sequence[Mapping[str, Any]] | None, settings: Promotion
) -> Decision:
    """From the predictions of both on the same items, in the same order; `champion` is None where there is none."""
    mine, *others = paired([challenger] if champion is None else [challenger, champion], settings.metric)
    if not mine:
        return Decision(False, f"no item is scored by {settings.metric}, as comparisons took too long")
    if champion is None:
        return Decision(True, f"{settings.metric} {sum(mine) / len(mine):.1%}, and there is no {settings.alias} yet")
    theirs, left_out = others[0], len(challenger) - len(mine)
    unscored = f" ({left_out} left out, unscored)" if left_out else ""
    found = pair(0, mine, theirs)
    low = found.difference if found.interval is None else found.interval.low
    holds = low >= -settings.margin
    reason = (
        f"{settings.metric} {sum(mine) / len(mine):.1%} against {sum(theirs) / len(theirs):.1%} of the present "
        f"{settings.alias}, on {found.items} items{unscored}: {100 * found.difference:+.1f} points, with 97.5 % "
        f"confidence at least {100 * low:+.1f}; the margin allows {-100 * settings.margin:+.1f}"
    )
    return Decision(holds, reason, found.difference, low)
