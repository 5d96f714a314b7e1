"""What is said of a contrast: each sentence by itself, and that no two things said of one contrast disagree."""

import itertools
import re

import pytest
from helpers.paired import arms, rows
from helpers.text import matched
from hypothesis import given
from hypothesis import strategies as st

from stagewise.analysis.paired import Interval
from stagewise.analysis.statistics import ALPHA, Result, contrast
from stagewise.report.words import probability, sensitivity, span, verdict


def test_an_effect_is_said_plainly() -> None:
    result = contrast(*rows((12, 2), (13, 1), (11, 2), (12, 1), (14, 3)))
    assert verdict(result, "curriculum", "shuffled") == (
        "Effect: curriculum minus shuffled is +10.6 points (95 % interval +9.2 to +12.0, p = 3.2e-05, "
        "d_z = 9.3, 5 seeds, 100 items)."
    )


def test_no_effect_is_said_as_plainly_with_what_could_be_seen() -> None:
    result = contrast(*rows((5, 3), (3, 6), (7, 2)))
    assert verdict(result, "curriculum", "shuffled") == (
        "No effect visible: curriculum minus shuffled is +1.3 points (95 % interval -8.7 to +11.4, p = 0.63, "
        "d_z = 0.33, 3 seeds, 100 items); the minimum detectable effect is about 13.2 points (power 0.8)."
    )


def test_an_effect_smaller_than_the_detectable_one_is_said_to_be() -> None:
    result = contrast(*rows((8, 0), (3, 0), (9, 0), (4, 0), (1, 0)))
    assert result.test.p == pytest.approx(0.0300, abs=1e-4)
    assert verdict(result).endswith("effect is about 5.7 points (power 0.8), so a repeat may miss it.")


def test_next_to_nothing_has_no_minus_sign() -> None:
    assert "a minus b is +0.0 points" in verdict(contrast(*rows((0, 1), (1, 1), items=2000)))


def test_one_seed_makes_no_claim_however_clear_it_looks() -> None:
    assert verdict(contrast(*rows((40, 1))), "curriculum", "shuffled") == (
        "One seed: no claim, since nothing shows how much another seed would differ; of the two checkpoints "
        "of seed 0, curriculum minus shuffled is +39.0 points (40 items right only in the first, 1 only in "
        "the second, of 100; exact McNemar p = 3.8e-11)."
    )


def test_equal_differences_are_no_certainty() -> None:
    result = contrast(*rows((5, 2), (5, 2), (5, 2)))
    assert verdict(result).startswith("No claim: a minus b is +3.0 points; the difference is equal in all 3 seeds")
    assert sensitivity(result).startswith("How small an effect the study can see is unknown: the difference is equal")


def test_an_effect_beyond_what_a_repeat_can_be_relied_on_to_find_is_no_contradiction() -> None:
    """p = 0.047, though seeds differ so much that not even 100 points are found in four of five studies."""
    result = contrast(*rows((20, 0), (20, 0), (9, 0), items=20))
    assert verdict(result) == (
        "Effect: a minus b is +81.7 points (95 % interval +2.8 to +100.0, p = 0.047, d_z = 2.6, 3 seeds, 20 items); "
        "even 100 points are found with power below 0.8, as seeds differ so much, so a repeat may miss it."
    )
    assert sensitivity(result) == (
        "A repeat may miss the effect, whatever its size: with 3 seeds that differ this much even 100 points are found "
        "with power below 0.8."
    )


def test_an_effect_that_holms_correction_takes_away_is_said_to_be() -> None:
    result = contrast(*rows((12, 2), (13, 1), (11, 2), (12, 1), (14, 3)))
    assert verdict(result, adjusted=0.06) == (
        "No effect visible after Holm's correction: a minus b is +10.6 points (95 % interval +9.2 to +12.0, p = "
        "3.2e-05, after Holm 0.06, d_z = 9.3, 5 seeds, 100 items); without it this would be one."
    )
    assert sensitivity(result, 0.06).startswith(
        "Before Holm's correction, which hides it here, the study could see an effect of this size: with 5 seeds"
    )


def test_one_seed_with_few_discordant_items_contradicts_nothing() -> None:
    """McNemar's p is 0.031, though with so few discordant items it finds no difference in four of five studies."""
    result = contrast(*rows((6, 0), items=60))
    assert result.pairs[0].p == pytest.approx(0.031, abs=5e-4)
    assert sensitivity(result).endswith("so few items differ that none, however large, is found with power 0.8.")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-0.087, 0.114, "-8.7 to +11.4"),
        (0.00002, 0.05, "+0.002 to +5.000"),
        (-0.05, -0.0004, "-5.00 to -0.04"),
        (-1, 1, "-100.0 to +100.0"),
        (0.0, 0.05, "+0.0 to +5.0"),
        (-1e-12, 0.05, "+0.0 to +5.0"),
    ],
)
def test_the_ends_of_an_interval_show_their_side_of_zero(low: float, high: float, text: str) -> None:
    assert span(Interval(low, high)) == text


@given(st.floats(0, 1))
def test_a_probability_shows_its_side_of_the_threshold(p: float) -> None:
    assert (float(probability(p)) < ALPHA) == (p < ALPHA)
    assert float(probability(p)) == pytest.approx(p, rel=0.06, abs=1e-300)


# --- every branch -------------------------------------------------------------------------------


def agree(result: Result, adjusted: float | None) -> tuple[str, ...]:
    """Checks what is said of one contrast against its numbers; gives the case that it is."""
    test, said, seen = result.test, verdict(result, adjusted=adjusted), sensitivity(result, adjusted)
    assert not re.search("None|nan|inf", said + seen)
    if test.p is None:
        assert said.startswith("One seed: no claim, " if test.seeds == 1 else "No claim: ")
        assert "Effect" not in said
        return ("one seed" if test.seeds == 1 else "no spread", f"detectable {result.pairs[0].detectable is not None}")
    effect = (test.p if adjusted is None else adjusted) < ALPHA
    assert said.startswith("Effect: " if effect else "No effect visible")
    low, high = map(float, matched(r"interval (\S+) to (\S+), p", said).groups())
    assert -100 <= low <= high <= 100
    assert (low > 0 or high < 0) == (test.p < ALPHA)
    assert (float(matched(r"p = ([^,]+),", said)[1]) < ALPHA) == (test.p < ALPHA)
    shown = re.search(r"after Holm ([^,]+),", said)
    assert (shown is None) == (adjusted is None)
    assert shown is None or (float(shown[1]) < ALPHA) == effect
    mean = float(matched(r"minus b is (\S+) points", said)[1])
    assert not effect or mean != 0
    found = re.search(r"detectable effect is about ([\d.]+) points", said)
    if not effect:  # what is not seen is no effect that the study is said to find
        assert "repeat" not in said + seen
        assert found is None or float(found[1]) >= abs(mean)
        assert not seen.startswith("The study could see")
    else:
        assert ("a repeat may miss it" in said) == seen.startswith("A repeat") == (not reliable(result))
        assert "may have missed" not in seen
    return (
        "effect" if effect else "none",
        "alone" if adjusted is None else "after Holm",
        "p below" if test.p < ALPHA else "p above",
        "unbounded" if test.detectable is None else "reliable" if reliable(result) else "not reliable",
    )


def reliable(result: Result) -> bool:
    return result.test.detectable is not None and abs(result.test.mean) >= result.test.detectable


def test_what_is_said_agrees_over_every_branch() -> None:
    seen = set()
    counts = [(each, 0) for each in (1, 9, 18, 20)] + [(0, 20), (0, 0), (3, 3)]
    for seeds in (1, 2, 3):
        for drawn in itertools.combinations_with_replacement(counts, seeds):
            result = contrast(*rows(*drawn, items=20))
            p = result.test.p
            for adjusted in (None,) if p is None else (None, p, min(1.0, 2 * p), 1.0):
                seen.add(agree(result, adjusted))
    assert seen == {
        *itertools.product(["one seed", "no spread"], ["detectable True", "detectable False"]),
        *itertools.product(["effect"], ["alone", "after Holm"], ["p below"], ["unbounded", "reliable", "not reliable"]),
        *itertools.product(["none"], ["alone", "after Holm"], ["p above"], ["unbounded", "not reliable"]),
        *itertools.product(["none"], ["after Holm"], ["p below"], ["unbounded", "reliable", "not reliable"]),
    }


@given(arms(), st.none() | st.floats(0, 1))
def test_what_is_said_agrees_whatever_the_answers(
    both: tuple[dict[int, list[int]], ...], adjusted: float | None
) -> None:
    result = contrast(*both)
    p = result.test.p
    agree(result, None if adjusted is None or p is None else max(p, adjusted))


@pytest.mark.parametrize(
    ("counts", "p", "said"),
    [
        ((15, 28, 36), "0.04998", "Effect: a minus b is +2.6 points (95 % interval +0.0005 to +5.2662, p = 0.04998,"),
        (
            (11, 11, 21),
            "0.05",
            "No effect visible: a minus b is +1.4 points (95 % interval -0.001 to +2.868, p = 0.05, ",
        ),
    ],
)
def test_what_is_said_agrees_close_to_the_threshold(counts: tuple[int, int, int], p: str, said: str) -> None:
    """Two digits of p are 0.05 on either side, which is not below 0.05; one decimal of the interval's end is 0.0."""
    result = contrast(*rows(*((each, 0) for each in counts), items=1000))
    agree(result, None)
    assert verdict(result).startswith(said)
    assert f"p = {p}," in verdict(result)
