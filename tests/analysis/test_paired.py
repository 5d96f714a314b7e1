"""Tango's interval against published examples, and against the score test done in another way."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from stagewise.analysis.paired import Interval, check_counts, items_needed, paired_interval

Z = float(stats.norm.isf(0.025))


@pytest.mark.parametrize(
    ("only_a", "only_b", "items", "level", "low", "high", "digits"),
    [
        (9, 3, 32, 0.95, -0.027, 0.390, 3),  # Tango (1998), Statistics in Medicine 17:891-908, table VII
        (0, 1, 44, 0.90, -0.096, 0.037, 3),  # table V there, of an example by Lu and Bean
        (1, 7, 21, 0.95, -0.517, -0.026, 3),  # Fagerland, Lydersen & Laake (2014), Stat Med 33:2850-2875: Bentur et al.
        (6, 16, 161, 0.95, -0.1240, -0.0054, 4),  # the same (2017), Statistical Analysis of Contingency Tables: Cavo
    ],
)
def test_it_gives_the_published_examples(
    only_a: int, only_b: int, items: int, level: float, low: float, high: float, digits: int
) -> None:
    found = paired_interval(only_a, only_b, items, level)
    assert (round(found.low, digits), round(found.high, digits), found.level) == (low, high, level)


def statistic(only_a: int, only_b: int, items: int, difference: float) -> float:
    """The score statistic with the discordant share that maximises the likelihood, found by search.

    Independent of the closed form: of the three cells a alone, b alone and neither, with p_a - p_b fixed.
    """
    rest = items - only_a - only_b

    def against(b: float) -> float:
        a = b + difference
        terms = ((only_a, a), (only_b, b), (rest, 1 - a - b))
        return -sum(float(count * math.log(max(share, 1e-300))) for count, share in terms if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    b = optimize.minimize_scalar(against, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    variance = 2 * b + difference - difference**2
    return (only_a - only_b - items * difference) / math.sqrt(items * variance)


@given(st.integers(1, 300), st.data())
def test_its_ends_are_where_the_score_test_rejects(items: int, data: st.DataObject) -> None:
    only_a = data.draw(st.integers(0, items))
    only_b = data.draw(st.integers(0, items - only_a))
    found = paired_interval(only_a, only_b, items)
    if found.low > -1:
        assert statistic(only_a, only_b, items, found.low) == pytest.approx(Z, abs=2e-3)
    if found.high < 1:
        assert statistic(only_a, only_b, items, found.high) == pytest.approx(-Z, abs=2e-3)


@given(st.integers(1, 10**6), st.data())
def test_it_holds_the_difference_within_what_is_possible_and_mirrors(items: int, data: st.DataObject) -> None:
    only_a = data.draw(st.integers(0, items))
    only_b = data.draw(st.integers(0, items - only_a))
    found, mirror = paired_interval(only_a, only_b, items), paired_interval(only_b, only_a, items)
    assert -1 <= found.low <= (only_a - only_b) / items <= found.high <= 1
    assert (found.low, found.high) == (-mirror.high, -mirror.low)
    assert found.low < found.high


@pytest.mark.parametrize("items", [1, 10, 72, 73, 1319])
def test_without_a_discordant_item_it_is_no_point(items: int) -> None:
    end = Z**2 / (items + Z**2)
    found = paired_interval(0, 0, items)
    assert (found.low, found.high) == pytest.approx((-end, end))


def test_one_against_none_of_sixty_is_not_all_gain() -> None:
    """A bootstrap over the items gave +0.0 to +5.0 points."""
    found = paired_interval(1, 0, 60)
    assert (round(100 * found.low, 1), round(100 * found.high, 1)) == (-4.5, 8.9)


@given(st.integers(1, 200), st.data())
def test_one_more_item_right_raises_both_ends(items: int, data: st.DataObject) -> None:
    only_b = data.draw(st.integers(1, items))
    only_a = data.draw(st.integers(0, items - only_b))
    here, better = paired_interval(only_a, only_b, items), paired_interval(only_a, only_b - 1, items)
    assert here.low <= better.low
    assert here.high <= better.high + 1e-9


def test_a_margin_of_five_points_needs_73_items_without_a_discordant_one() -> None:
    assert items_needed(0, 0, 0.05) == 73
    assert paired_interval(0, 0, 73).low > -0.05 > paired_interval(0, 0, 72).low
    assert items_needed(0, 0, 0) is None
    assert items_needed(0.05, 0.1, 0.05) is None  # it is worse by the margin
    assert items_needed(0, 0.2, 0.1) is None
    assert items_needed(0, 0, 1) == 1


@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.02, 0.05, 0.1]))
def test_the_items_needed_are_where_the_lower_end_passes_the_margin(a: int, b: int, margin: float) -> None:
    """Of shares in twentieths, so that whole counts have them."""
    needed = items_needed(a / 20, b / 20, margin)
    if needed is None:
        assert a / 20 - b / 20 + margin < 1e-9
        return
    above, below = math.ceil(needed / 20), math.ceil(needed / 20) - 1
    assert paired_interval(a * above, b * above, 20 * above).low >= -margin - 1e-9
    assert not below or paired_interval(a * below, b * below, 20 * below).low < -margin


@pytest.mark.parametrize(
    ("only_a", "only_b", "items"), [(0, 0, 0), (-1, 0, 5), (3, 3, 5), (math.nan, 0, 5), (0.5, 0, 5), (0, 0, math.nan)]
)
def test_counts_that_are_none_are_refused(only_a: int, only_b: int, items: int) -> None:
    with pytest.raises(ValueError, match="expected whole numbers within them"):
        paired_interval(only_a, only_b, items)
    with pytest.raises(ValueError, match="discordant of"):
        check_counts(only_a, only_b, items)


@pytest.mark.parametrize("level", [0, 1, math.nan, -1])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    for call in (lambda: paired_interval(1, 0, 5, level), lambda: items_needed(0, 0, 0.1, level)):
        with pytest.raises(ValueError, match="expected a number between 0 and 1"):
            call()


def test_what_is_possible_bounds_an_interval() -> None:
    assert Interval(-1.5, 0.5).within(-1, 1) == Interval(-1, 0.5)
    assert Interval(-0.5, 7.0, 0.9).within(0, math.inf) == Interval(0, 7.0, 0.9)
