"""What a report says in words, beside the numbers. Pure.

verdict(result, "curriculum", "shuffled")
    "No effect visible: curriculum minus shuffled is +1.3 points (95 % interval -8.7 to +11.4, p = 0.63, …"
sensitivity(result)    "The study cannot be relied on to see an effect of this size: with 3 seeds that differ …"
limits(compared)       ["Intervals of a checkpoint are over items: …", …]

Whatever is said of one contrast agrees with itself: one p decides, and no rounding hides on which side it lies.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewise.analysis.paired import Interval
from stagewise.analysis.statistics import ALPHA, POWER, Contrast, Result

NOTHING = 1e-9  # as a share of the items: comparison.json rounds to nine digits


def verdict(result: Result, a: str = "a", b: str = "b", adjusted: float | None = None) -> str:
    """One sentence for people; `adjusted` is Holm's p, which then decides, for a secondary contrast."""
    test, seen = result.test, _seen(result.test, adjusted)
    difference = f"{a} minus {b} is {points(test.mean, _decimals(test.mean) if seen else 1)} points"
    if test.seeds == 1:
        return _one_seed(result, difference)
    if test.p is None or test.interval is None:
        return f"No claim: {difference}; {test.reason}."
    found = (
        f"{difference} ({100 * test.interval.level:g} % interval {span(test.interval)}, p = {probability(test.p)}"
        f"{'' if adjusted is None else f', after Holm {probability(adjusted)}'}, d_z = {test.d_z:.2g}, "
        f"{test.seeds} seeds, {result.items} items)"
    )
    least = f"even 100 points are found with power below {POWER}, as seeds differ so much"
    if test.detectable is not None:
        before = "" if adjusted is None else ", before Holm"
        least = f"the minimum detectable effect is about {_size(test.detectable)} (power {POWER}{before})"
    if seen:
        return f"Effect: {found}{'' if _reliable(test) else f'; {least}, so a repeat may miss it'}."
    if test.p < ALPHA:
        return f"No effect visible after Holm's correction: {found}; without it this would be one."
    return f"No effect visible: {found}; {least}."


def _one_seed(result: Result, difference: str) -> str:
    only = result.pairs[0]
    return (
        f"One seed: no claim, since {result.test.reason}; of the two checkpoints of seed {only.seed}, "
        f"{difference} ({only.only_a} items right only in the first, {only.only_b} only in the second, "
        f"of {only.items}; exact McNemar p = {probability(only.p)})."
    )


def sensitivity(result: Result, adjusted: float | None = None) -> str:
    """Whether the study could see an effect as large as the one that it found; `adjusted` as in `verdict`."""
    test = result.test
    if test.seeds == 1:
        return _sensitivity_of_one_seed(result)
    if test.p is None:
        return f"How small an effect the study can see is unknown: {test.reason}."
    spread = f"with {test.seeds} seeds that differ this much"
    if test.detectable is None:
        who = "A repeat may miss the effect" if _seen(test, adjusted) else "The study may have missed an effect"
        return f"{who}, whatever its size: {spread} even 100 points are found with power below {POWER}."
    found = f"{spread} it finds about {_size(test.detectable)} or more with power {POWER}, and the difference here is "
    found += f"{_size(test.mean)}."
    if not _reliable(test):
        who = "A repeat of the study" if _seen(test, adjusted) else "The study"
        return f"{who} cannot be relied on to see an effect of this size: {found}"
    before = "" if _seen(test, adjusted) else "Before Holm's correction, which hides it here, "
    return f"{before}{'the' if before else 'The'} study could see an effect of this size: {found}"


def _sensitivity_of_one_seed(result: Result) -> str:
    only = result.pairs[0]
    least = f"a difference of about {_size(only.detectable or 0)} or more is found with power {POWER}"
    if only.detectable is None:
        least = f"so few items differ that none, however large, is found with power {POWER}"
    return (
        "With one seed the study can see no effect of order, however large: how much another seed would differ is "
        f"unknown. Between the two checkpoints of seed {only.seed}, whatever made them differ, McNemar's test says how "
        f"they compare: {least}."
    )


def _seen(test: Contrast, adjusted: float | None) -> bool:
    p = test.p if adjusted is None else adjusted
    return p is not None and p < ALPHA


def _reliable(test: Contrast) -> bool:
    """Whether such studies find an effect as large as this one's with the power asked for."""
    return test.detectable is not None and abs(test.mean) >= test.detectable


def points(share: float, decimals: int = 1) -> str:
    return f"{100 * share:+z.{decimals}f}"


def span(interval: Interval) -> str:
    """Both ends in points, with as many decimals as show on which side of zero they lie."""
    decimals = max(_decimals(interval.low), _decimals(interval.high))
    return f"{points(interval.low, decimals)} to {points(interval.high, decimals)}"


def _decimals(share: float) -> int:
    """As many as show that it is not zero, if it is not."""
    return 1 if abs(share) < NOTHING else next(many for many in range(1, 9) if float(points(share, many)))


def probability(p: float) -> str:
    """Two digits, and more where these hide on which side of the threshold it lies."""
    return next(text for text in (f"{p:.{many}g}" for many in range(2, 18)) if (float(text) < ALPHA) == (p < ALPHA))


def caveat(baselines: Sequence[str]) -> str:
    """How the sentence of a contrast begins of whose two arms these are no controls."""
    if not baselines:
        return ""
    are = "is a baseline" if len(baselines) == 1 else "are baselines"
    return f"Not only order, since {' and '.join(baselines)} {are}. "


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
        "compared; flat has one phase, and is compared only at the end.",
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
        said.append("Weights unverified: a server answered, and that it had this checkpoint cannot be verified.")
    if any("eval/pass_at_1" in each["metrics"] for each in checkpoints):
        said.append("Several answers were drawn for each item: the first is what counts and is shown here.")
    return said
