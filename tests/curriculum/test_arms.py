import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers.arms import config, material, rows_of, steps_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stagewise.config import Config
from stagewise.curriculum.arms import build, shares
from stagewise.curriculum.confounds import is_control, separations
from stagewise.curriculum.order import Phase, examples
from stagewise.errors import ConfigError

SIGNALS = st.sampled_from(["steps", "characters", "tokens"])
LAYERS = st.integers(1, 5)
WINDOWS = {"sections": st.integers(2, 4), "ratio": st.floats(0.01, 0.3), "layers": LAYERS}
ORDERINGS = st.one_of(
    st.fixed_dictionaries({"sorted": SIGNALS, "descending": st.booleans()}),
    st.fixed_dictionaries({"folding": SIGNALS, "layers": LAYERS}),
    st.fixed_dictionaries({"zigzag": SIGNALS, "layers": LAYERS}),
    st.fixed_dictionaries({"stair": SIGNALS, **WINDOWS}),
    st.fixed_dictionaries({"saw": SIGNALS, **WINDOWS}),
    st.just({"interleaved": "stages"}),
)


@st.composite
def arms(draw: st.DrawFn, stages: list[str]) -> Any:
    """An arm of any kind that has a control, as a config spells it."""
    kind = draw(st.sampled_from(["phases", "mix", "pacing"]))
    if kind == "mix":
        weights = st.fixed_dictionaries(dict.fromkeys(stages, st.floats(0.01, 1)))
        places = sorted(draw(st.sets(st.floats(0.1, 0.9), max_size=2)))
        return {"mix": [[place, draw(weights)] for place in (0, *places, 1)], "allow_gap": True}
    if kind == "pacing":
        pacing = draw(st.sampled_from(["linear", "sqrt", "exponential", "step"]))
        return {"pacing": pacing, "by": draw(SIGNALS), "start": draw(st.floats(0.05, 1))}
    some = st.lists(st.sampled_from(stages), min_size=1, max_size=len(stages), unique=True)
    phase = st.one_of(some, some.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, st.integers(1, 2)))))
    arm: dict[str, Any] = {"phases": draw(st.lists(phase, min_size=1, max_size=4))}
    if draw(st.booleans()):
        arm["order"] = draw(ORDERINGS)
    if draw(st.booleans()):
        arm["replay"] = {"share": draw(st.floats(0.05, 0.6))}
    return arm


@st.composite
def studies(draw: st.DrawFn) -> tuple[Config, list[int], list[list[int]]]:
    """A study with an arm and its control, the sizes of its stages, and a signal's values."""
    sizes = draw(st.lists(st.integers(1, 25), min_size=1, max_size=4))
    epochs = draw(st.lists(st.integers(1, 3), min_size=len(sizes), max_size=len(sizes)))
    arm = draw(arms([f"s{number}" for number in range(len(sizes))]))
    scope = draw(st.sampled_from(["per_phase", "continuous"]))
    study = config(epochs, draw(st.integers(1, 6)), {"mine": arm, "control": {"control": {"of": "mine"}}}, scope)
    values = [draw(st.lists(st.integers(0, 5), min_size=size, max_size=size)) for size in sizes]
    return study, sizes, values


def learned(phases: tuple[Phase, ...]) -> int:
    """Loss tokens, as if each example had a number of its own of them."""
    return int((examples(rows_of(phases)) % 97).sum())


@settings(max_examples=200, deadline=None)
@given(studies(), st.integers(0, 3))
def test_an_arm_and_its_control_differ_in_order_alone(study: Any, seed: int) -> None:
    made, sizes, values = study
    stuff = material(made, sizes, seed, values)
    try:
        mine, control = build(stuff, "mine"), build(stuff, "control")
    except ConfigError:  # a step would have to hold an example twice, or a pace cannot fill one
        assume(False)
    assert np.array_equal(np.sort(examples(rows_of(mine))), np.sort(examples(rows_of(control))))
    assert [phase.sizes.tolist() for phase in mine] == [phase.sizes.tolist() for phase in control]
    assert learned(mine) == learned(control)
    assert is_control(separations(control, mine, made.training.schedule_scope))
    for step in steps_of(control):
        assert len(np.unique(examples(step))) == len(step)


@settings(max_examples=200, deadline=None)
@given(studies(), st.integers(0, 3))
def test_every_arm_keeps_its_promises(study: Any, seed: int) -> None:
    made, sizes, values = study
    stuff = material(made, sizes, seed, values)
    try:
        phases = build(stuff, "mine")
    except ConfigError:
        assume(False)
    assert [phase.stages for phase in phases] == list(made.phases("mine"))
    seen = Counter[tuple[int, int]]()
    for stage, position, epoch in rows_of(phases).tolist():
        assert position < sizes[stage]
        assert epoch == seen[stage, position]  # how often it was trained on before
        seen[stage, position] += 1
    assert all(phase.sizes.sum() == len(phase.rows) for phase in phases)
    assert sum(seen.values()) <= made.most_instances("mine", dict(zip(stuff.positions, sizes, strict=True)))
    if made.shares_examples("mine") == "curriculum":
        theirs = rows_of(build(stuff, "curriculum"))
        assert np.array_equal(np.sort(examples(rows_of(phases))), np.sort(examples(theirs)))


def test_phases_may_come_again_and_have_epochs_of_their_own() -> None:
    study = config([1, 1, 1], 4, {"baby": {"phases": [["s0"], ["s0", "s1"], {"s0": 2, "s2": 1}]}})
    first, second, third = build(material(study, [8, 4, 4]), "baby")
    assert [phase.stages for phase in (first, second, third)] == [("s0",), ("s0", "s1"), ("s0", "s2")]
    assert [len(phase.rows) for phase in (first, second, third)] == [8, 12, 20]
    assert set(third.rows[third.rows[:, 0] == 0, 2].tolist()) == {2, 3}
    assert first.rows[:, 1].tolist() != second.rows[second.rows[:, 0] == 0, 1].tolist()  # shuffled anew


def test_a_phase_replays_examples_of_earlier_stages_alone() -> None:
    study = config([1, 1, 1], 4, {"mine": {"replay": {"share": 0.2}}})
    phases = build(material(study, [40, 40, 80]), "mine")
    assert [len(phase.rows) for phase in phases] == [40, 50, 100]
    assert np.bincount(phases[1].rows[:, 0], minlength=3).tolist() == [10, 40, 0]
    assert max(Counter(examples(phases[1].rows).tolist()).values()) == 1
    own = phases[1].rows[phases[1].rows[:, 0] == 1]
    assert np.array_equal(own, build(material(study, [40, 40, 80]), "curriculum")[1].rows)
    assert 0 < np.flatnonzero(phases[1].rows[:, 0] == 0).mean() < 49  # spread over the phase


def test_stages_are_interleaved_in_turn() -> None:
    study = config([1, 1], 4, {"mine": {"phases": [["s0", "s1"]], "order": {"interleaved": "stages"}}})
    (phase,) = build(material(study, [5, 2]), "mine")
    assert phase.rows[:, 0].tolist() == [0, 1, 0, 1, 0, 0, 0]


MIX = [[0, {"s0": 1}], [0.5, {"s0": 0.3, "s1": 0.7}], [1, {"s2": 1}]]


def test_a_mixture_fades_and_its_shares_are_told() -> None:
    study = config([1, 1, 1], 10, {"mine": {"mix": MIX}})
    stuff = material(study, [400, 350, 250])  # as the milestones' areas are
    phases = build(stuff, "mine")
    found = shares(stuff, "mine", phases)
    assert found["s0"]["asked"][0] == pytest.approx(0.93)
    for each in found.values():
        assert each["given"] == pytest.approx(each["asked"], abs=0.02)
    assert shares(stuff, "curriculum", build(stuff, "curriculum")) == {}


def test_shares_that_sizes_do_not_allow_are_refused_unless_allowed() -> None:
    asked = {"mine": {"mix": MIX}, "anyway": {"mix": MIX, "allow_gap": True}}
    stuff = material(config([1, 1, 1], 10, asked), [400, 100, 500])
    said = r"^arms\.mine\.mix: in part \d+ of 10 of training, \d+ % are asked of stage s"
    with pytest.raises(ConfigError, match=said):
        build(stuff, "mine")
    assert len(rows_of(build(stuff, "anyway"))) == 1000


def test_a_stage_that_a_mixture_never_names_is_refused() -> None:
    study = config([1, 1], 4, {"mine": {"mix": [[0, {"s0": 1}], [1, {"s0": 1}]]}})
    with pytest.raises(ConfigError, match=r"^arms\.mine\.mix: stage s1 has examples, and a weight nowhere$"):
        build(material(study, [4, 4]), "mine")


def test_a_paced_step_draws_from_the_easiest() -> None:
    study = config([1], 5, {"mine": {"pacing": "linear", "by": "steps", "start": 0.2}})
    phases = build(material(study, [100], signal=[list(range(99, -1, -1))]), "mine")
    for number, step in enumerate(steps_of(phases)):
        assert (99 - step[:, 1]).max() < int((0.2 + number / 20 * 0.8) * 100)
        assert len(np.unique(step[:, 1])) == 5


def test_a_pace_that_cannot_fill_a_step_is_one_line() -> None:
    study = config([1], 5, {"mine": {"pacing": "sqrt", "by": "steps", "start": 0.03}})
    with pytest.raises(ConfigError, match=r"^arms\.mine\.pacing: step 1 may draw from 3 examples and takes 5; raise"):
        build(material(study, [100]), "mine")


def test_what_a_control_is_of() -> None:
    study = config([1, 1], 4, {"curriculum": None, "mine": ["s1", "s0"], "dealt": {"control": {"of": "mine"}}})
    against = {each: study.against(each) for each in ("curriculum", "shuffled", "flat", "mine", "dealt")}
    assert set(against.values()) == {"curriculum", "mine"}
    assert against["dealt"] == "mine"
    assert study.definition("shuffled") == {"control": {"of": {"stages": [["s0"], ["s1"]]}, "one_phase": False}}


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"control": {"of": "nobody"}}, "no arms.mine.control.of: arm 'nobody'; there are: curriculum"),
        ({"control": {"of": "mine"}}, "no arms.mine.control.of: arm 'mine'"),
        ({"control": {"of": "shuffled"}}, "arms.mine.control.of: shuffled is dealt at random itself"),
        ({"phases": [["s0", "s9"]]}, "no arms.mine: stage 's9'; there are: s0, s1"),
        ({"phases": [["s0", "s0"]]}, "phase 1: found ['s0', 's0'], expected stages that differ"),
        ({"mix": [[0, {"s0": 1}], [0.5, {"s1": 1}]]}, "expected rising ones, from 0 to 1"),
        ({"mix": [[0, {"s0": 0}], [1, {"s1": 1}]]}, "each milestone needs a stage with a weight above 0"),
        ({"order": {"sorted": "luck"}}, "Input should be 'steps', 'characters' or 'tokens'"),
        ({"order": {"folding": "steps", "zigzag": "steps"}}, "exactly one of the keys"),
        ({"budget": "own", "epochs": 2}, "arms.mine: only flat can have a budget of its own"),
    ],
)
def test_an_arm_that_cannot_be_is_refused(arm: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        config([1, 1], 4, {"mine": arm})
