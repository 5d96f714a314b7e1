"""What a report says in words, beside the numbers. Pure.

sensitivity(result)    "It could not see an effect of the size found: with 3 seeds that differ this much it …"
limits(compared)       ["Intervals of a checkpoint are over items: …", …]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewise.statistics import POWER, Result


def sensitivity(result: Result) -> str:
    """Whether the study could see an effect as large as the one that it found; of secondary ones before Holm."""
    test, only = result.test, result.pairs[0]
    if test.seeds == 1:
        least = "it finds no difference, of any size"
        if only.detectable is not None:
            least = f"it finds a difference of about {100 * only.detectable:.1f} points or more with power {POWER}"
        return (
            "With one seed the study can see no effect of order, however large: how much another seed would differ is "
            f"unknown. Between the two checkpoints of seed {only.seed}, whatever made them differ, McNemar's test can "
            f"see something: {least}."
        )
    if test.p is None:
        return f"How small an effect the study can see is unknown: {test.reason}."
    spread = f"with {test.seeds} seeds that differ this much"
    if test.detectable is None:
        return f"The study could not see an effect of any size: {spread} even 100 points would be missed too often."
    found = f"{spread} it finds about {100 * test.detectable:.1f} points or more with power {POWER}, and the difference"
    if abs(test.mean) < test.detectable:
        return f"The study cannot be relied on to see an effect of this size: {found} here is {_size(test.mean)}."
    return f"The study could see an effect of this size: {found} here is {_size(test.mean)}."


def caveat(baselines: Sequence[str]) -> str:
    """How the sentence of a contrast begins of whose two arms these are no controls."""
    if not baselines:
        return ""
    are = "is a baseline" if len(baselines) == 1 else "are baselines"
    return f"Not order alone, since {' and '.join(baselines)} {are}. "


def _size(share: float) -> str:
    return f"{100 * abs(share):.1f} points"


def _left_out(compared: Mapping[str, Any]) -> str:
    total = len(compared["items"])
    found = [total - each["left_out"] for each in compared["contrasts"].values()]
    return f"{found[0]:,} of {total:,} items are compared" if found else "none is made here"


def limits(compared: Mapping[str, Any]) -> list[str]:
    """What does not follow from the numbers, the general and what this study's record adds."""
    checkpoints = compared["checkpoints"]
    said = [
        f"Everything is about these {len(compared['items']):,} items, this model and these data. A test across seeds "
        "says what other seeds would give on the same items, and nothing of other items.",
        "The interval of one checkpoint is over items: how much that one model would differ on others like them. "
        "Two such intervals that overlap, or do not, are no test of the arms.",
        "Checkpoints of earlier phases have seen different data, whatever their arm, so they are shown and not "
        "compared; flat has one phase, and is compared at the end alone.",
        "Measures of structure are counted from the text alone, and those named lex_… are lexical proxies: words "
        "that tend to go with a behaviour. They are many, and no test is made of them.",
    ]
    if len({each["seed"] for each in checkpoints if each["final"]}) == 1:
        said.insert(0, "One seed: no claim about order, since nothing shows how much another seed would differ.")
    if not all(each["order_alone"] for each in compared["contrasts"].values()):
        said.append("A baseline differs from curriculum in more than order, as listed; so may its result.")
    unscored = round(sum(each["metrics"]["eval/unscored"] for each in checkpoints))
    if unscored:
        said.append(
            f"{unscored:,} answers are unscored, as a comparison took too long. Rates are of the others; a contrast "
            f"leaves such an item out in all arms ({_left_out(compared)})."
        )
    near_ties = round(sum(each["metrics"].get("eval/near_ties", 0) for each in checkpoints))
    if near_ties:
        said.append(f"{near_ties:,} tokens were as likely as another, up to rounding: another batch size may differ.")
    if any(each["weights"] != "verified" for each in checkpoints):
        said.append("Weights unverified: a server answered, and that it had this checkpoint is its word alone.")
    if any("eval/pass_at_1" in each["metrics"] for each in checkpoints):
        said.append("Several answers were drawn for each item: the first is what counts and is shown here.")
    return said
