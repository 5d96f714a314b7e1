"""What can be concluded about two arms from their right and wrong answers on one fixed eval set. Pure.

    curriculum = {42: np.array([1, 1, 0, 1, …]), 43: …, 44: …}     a seed → one 0 or 1 per eval item
    result = contrast(curriculum, shuffled)                        the other arm likewise
    result.test       Contrast(seeds=3, mean=0.0133, sd=0.0404, interval=Interval(-0.087, 0.114, 0.95), …)
    result.pairs[0]   Pair(seed=42, items=100, only_a=5, only_b=3, interval=Interval(-0.041, 0.085, 0.95), …)

Every difference is a minus b, as a share of the items: 0.03 is 3 points. Whatever cannot be said is None,
never NaN, so that a result goes into JSON as it stands, and what is no number is an error. docs/statistics.md
says which test answers what, and how each did in simulations.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from stagewise.analysis.paired import LEVEL, Interval, check_counts, check_level, paired_interval
from stagewise.errors import DataError

ALPHA, POWER = 0.05, 0.8
DRAWS = 10_000  # of a bootstrap: the ends of a 95 % interval then move by about 1 % of its width
FLIPS = 2**15  # sign patterns: all of them up to 15 seeds, as many at random above
SAME = 1e-12  # differences closer than this are equal: one item is a far larger step, rounding a smaller


@dataclass(frozen=True, slots=True)
class Contrast:
    """The test across seeds: does the mean difference of such seeds on this eval set differ from zero?"""

    seeds: int
    mean: float
    sd: float | None = None
    """Standard deviation of the differences between seeds (n - 1); None with one seed."""
    interval: Interval | None = None
    """Within -1 to 1 in a `Result`: no share of the items differs by more."""
    t: float | None = None
    p: float | None = None
    """Two-sided."""
    d_z: float | None = None
    """Effect size: mean / sd (Cohen 1988, for paired data)."""
    detectable: float | None = None
    """The smallest difference found with power 0.8; None where it is unknown or beyond 1."""
    reason: str | None = None
    """Why there is no test; None where there is one."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two checkpoints of one seed on the same items. It says nothing of any other seed."""

    seed: int
    items: int
    only_a: int
    """Discordant items that a alone answered rightly."""
    only_b: int
    difference: float
    p: float
    """Exact McNemar, two-sided."""
    interval: Interval
    """Tango's, over the items."""
    detectable: float | None
    """The smallest difference McNemar finds with power 0.8 at this discordance; None: it finds none."""


@dataclass(frozen=True, slots=True)
class Result:
    """All that is known of one contrast."""

    items: int
    test: Contrast
    pairs: tuple[Pair, ...]
    """By rising seed."""
    bootstrap: Interval | None
    """Hierarchical, seeds and items: a description, too narrow where seeds differ, or few items do. None with one
    seed."""
    sign_flip: float | None
    """Description likewise: n seeds cannot give less than 2 / 2^n. None with one seed."""


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's (1927) score interval for a rate; ValueError unless 0 <= successes <= n and n >= 1."""
    limits = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(float(limits.low), float(limits.high), level)


def mean_interval(values: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Student's (1908) t interval for the mean of a measure over items, shape (items,); ValueError if not finite.

    None for fewer than two values and where all are equal: a few equal values are no certainty.
    """
    data = _finite("values", values)
    if len(data) < 2 or np.ptp(data) < SAME:
        return None
    limits = stats.ttest_1samp(data, 0.0).confidence_interval(check_level(level))
    return Interval(float(limits.low), float(limits.high), level)


def _finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=float)
    if data.ndim != 1 or not np.isfinite(data).all():
        raise ValueError(f"{name}: found {values!r}, expected a row of finite numbers")
    return data


# --- across seeds -------------------------------------------------------------------------------


def paired_t(differences: ArrayLike, level: float = LEVEL) -> Contrast:
    """Student's (1908) paired t over the differences, one per seed, shape (seeds,); ValueError if not finite, or none.

    One seed gives no test. Neither do differences that are all equal: t is then infinite or 0 / 0, and a few
    equal counts are no certainty. Both say so in `reason`.
    """
    values = _finite("differences", differences)
    if not values.size:
        raise ValueError("differences: found none, expected one per seed")
    seeds, mean = len(values), float(values.mean())
    if seeds == 1:
        return Contrast(1, mean, reason="nothing shows how much another seed would differ")
    if np.ptp(values) < SAME:
        reason = f"the difference is equal in all {seeds} seeds: there is no spread to test against"
        return Contrast(seeds, mean, 0.0, reason=reason)
    test = stats.ttest_1samp(values, 0.0)
    limits = test.confidence_interval(check_level(level))
    sd = float(values.std(ddof=1))
    return Contrast(
        seeds,
        mean,
        sd,
        Interval(float(limits.low), float(limits.high), level),
        float(test.statistic),
        float(test.pvalue),
        mean / sd,
        detectable_by_seeds(sd, seeds),
    )


def sign_flip(differences: ArrayLike) -> float:
    """Fisher's (1935, §21) two-sided p of the mean under random signs, shape (seeds >= 2,); exact to 15 seeds.

    ValueError if not finite.
    """
    data = (_finite("differences", differences),)
    test = stats.permutation_test(data, np.mean, permutation_type="samples", n_resamples=FLIPS, rng=0)
    return float(test.pvalue)


def detectable_by_seeds(sd: float, seeds: int, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """The smallest mean difference that a paired t over `seeds` >= 2 finds; None where it is beyond 1.

    `sd` is that of the differences between seeds. Such a test rejects with `power` where the noncentral t has
    that much above the critical value (Cohen 1988, §2.3; G*Power does the same); the far tail is left out.
    ValueError for one seed, and for an sd that is none.
    """
    if seeds < 2 or not 0 <= sd < math.inf:
        raise ValueError(f"seeds {seeds}, sd {sd}: expected two seeds at least, and a finite sd of 0 or more")
    critical = stats.t.isf(alpha / 2, seeds - 1)
    # statsmodels' TTestPower fails here at 73, 87, 92 … seeds: it searches through the NaNs of scipy's nct.
    effect = sd * float(special.nctdtrinc(seeds - 1, 1 - power, critical)) / math.sqrt(seeds)
    return effect if effect <= 1 else None


# --- within one seed ----------------------------------------------------------------------------


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's (1947) test, exact: under the null the discordant items are fair coins.

    ValueError for a count that is none.
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact  # pandas comes with it: a second

    check_counts(only_a, only_b, max(1, only_a + only_b))
    return float(exact([[0, only_a], [only_b, 0]], exact=True).pvalue)


def bootstrap(discordant: ArrayLike, items: int, level: float = LEVEL, rng: int = 0) -> Interval | None:
    """Percentile interval of the mean difference; `discordant`: (only_a, only_b) per seed, shape (seeds, 2).

    Seeds are drawn with replacement, then the items of each (Davison & Hinkley 1997, §3.8). As an item's
    difference is +1, -1 or 0, drawing all items is one multinomial draw of these three counts. None without a
    discordant item: a bootstrap of zeros is a point. ValueError for counts that are none, and without an item.
    """
    counts = np.asarray(discordant)
    if counts.ndim != 2 or counts.shape[1] != 2 or not len(counts):
        raise ValueError(f"discordant: found {discordant!r}, expected two counts per seed, and a seed at least")
    for only_a, only_b in counts:
        check_counts(only_a, only_b, items)
    if not counts.any():
        return None
    shares = np.column_stack([counts, items - counts.sum(axis=1)]) / items
    generator = np.random.default_rng(rng)
    seeds = generator.integers(len(counts), size=(DRAWS, len(counts)))
    drawn = generator.multinomial(items, shares[seeds])
    means = (drawn[..., 0] - drawn[..., 1]).mean(axis=1) / items
    low, high = np.quantile(means, [(1 - check_level(level)) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def detectable_by_items(share: float, items: int, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """The smallest difference that exact McNemar finds, given the share of items that are discordant.

    Its unconditional power (Duffy 1984) is the power at each number of discordant items, weighted by that
    number's binomial probability. None where even a difference of `share` is not found. ValueError for a share
    outside 0 to 1, and without an item.
    """
    if items < 1 or not 0 <= share <= 1:
        raise ValueError(f"share {share} of {items} items: expected a share of 0 to 1, and an item at least")
    if not share:
        return None
    number = stats.binom(items, share)
    counts = np.arange(number.ppf(1e-12), number.isf(1e-12) + 1)
    critical = stats.binom.ppf(alpha / 2, counts, 0.5)
    critical -= stats.binom.cdf(critical, counts, 0.5) > alpha / 2

    def surplus(difference: float) -> float:
        to_a = (1 + difference / share) / 2
        found = stats.binom.cdf(critical, counts, to_a) + stats.binom.cdf(critical, counts, 1 - to_a)
        return float(number.pmf(counts) @ found) - power

    if surplus(share) < 0:
        return None
    return float(optimize.brentq(surplus, 0.0, share))


def pair(seed: int, a: ArrayLike, b: ArrayLike) -> Pair:
    """Two checkpoints of one seed; 0 or 1 per item in the same order, shape (items,). DataError otherwise."""
    right_a, right_b = _right(seed, a), _right(seed, b)
    if len(right_a) != len(right_b):
        raise DataError(f"seed {seed}: {len(right_a)} items against {len(right_b)}, expected the same items")
    items = len(right_a)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return Pair(
        seed,
        items,
        only_a,
        only_b,
        (only_a - only_b) / items,
        mcnemar(only_a, only_b),
        paired_interval(only_a, only_b, items),
        detectable_by_items((only_a + only_b) / items, items),
    )


def _right(seed: int, scores: ArrayLike) -> NDArray[np.bool_]:
    values = np.asarray(scores)
    if values.ndim != 1 or not values.size or not np.isin(values, (0, 1)).all():
        found = f"{values.dtype} of shape {values.shape}"
        raise DataError(f"seed {seed}: found {found}, expected a row of 0 and 1, one per item")
    return values.astype(bool)


# --- a contrast, and many -----------------------------------------------------------------------


def contrast(a: Mapping[int, ArrayLike], b: Mapping[int, ArrayLike]) -> Result:
    """Arm a against arm b: for each seed, 0 or 1 per item of the one eval set, shape (items,), in one order.

    DataError where the arms have other seeds, a seed other items, or a score is neither 0 nor 1.
    """
    if not a or a.keys() != b.keys():
        raise DataError(f"seeds {sorted(a)} against {sorted(b)}, expected the same seeds, one at least")
    pairs = tuple(pair(seed, a[seed], b[seed]) for seed in sorted(a))
    sizes = {each.items for each in pairs}
    if len(sizes) > 1:
        raise DataError(f"seeds with {sorted(sizes)} items, expected one eval set for all seeds")
    items, several = sizes.pop(), len(pairs) > 1
    differences = [each.difference for each in pairs]
    test = paired_t(differences)
    return Result(
        items,
        replace(test, interval=test.interval and test.interval.within(-1, 1)),
        pairs,
        bootstrap([(each.only_a, each.only_b) for each in pairs], items) if several else None,
        sign_flip(differences) if several else None,
    )


def holm(p: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's (1979) adjusted p of the secondary contrasts, by name; ValueError for a p outside 0 to 1.

    A contrast without a test (None) stays None and counts as p = 1: it belongs to the family as planned.
    """
    from statsmodels.stats.multitest import multipletests

    raw = [1.0 if each is None else each for each in p.values()]
    if not all(0 <= each <= 1 for each in raw):
        raise ValueError(f"p: found {dict(p)}, expected numbers from 0 to 1")
    adjusted = dict(zip(p, multipletests(raw, method="holm")[1], strict=True)) if raw else {}
    return {name: None if each is None else float(adjusted[name]) for name, each in p.items()}


# --- several samples an item --------------------------------------------------------------------


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Chance that k of the samples hold a right one: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, eq. 1)."""
    if not (0 <= right <= samples and 1 <= k <= samples):
        raise ValueError(f"pass@{k} of {samples} samples, {right} right: expected both within the samples")
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)
