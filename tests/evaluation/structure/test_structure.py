"""Each measure on examples small enough to count by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewise.evaluation.structure import MEASURES, Response, measures
from stagewise.evaluation.structure.equations import stated_equations
from stagewise.evaluation.structure.kinds import NAMES
from stagewise.evaluation.structure.ngrams import distinct


def value(name: str, output: str, *, prompt: str = "", reference: str | None = None, cut: bool = False) -> float | None:
    steps: list[str] | None = None if reference is None else []
    return MEASURES[name](Response(output, prompt, reference or "", steps, 1, "length" if cut else "stop"))


def truths(output: str) -> list[bool]:
    return [equation.true for equation in stated_equations(output)]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("12 × 3 = 36", [True]),
        ("12 × 3 = 35", [False]),
        ("2 + 3 = 5, so 5 × 2 = 11", [True, False]),
        ("15 + 27 = 42 15 + 27 = 42", [True, True]),
        # chains: each equals sign is an equation
        ("5! = 5 × 4 × 3 × 2 × 1 = 120", [True, True]),
        ("3 + 4 = 7 × 2 = 14", [False, True]),
        # rounding to the decimals shown; whole numbers have to be exact, but for ≈
        ("142 ÷ 14 = $10.14", [True]),
        ("142 ÷ 14 = $10.15", [False]),
        ("100 / 3 = 33", [False]),
        ("100 / 3 ≈ 33", [True]),
        # percent
        ("25% of 80 = 20", [True]),
        ("(25/100) × 80 = 20.0", [True]),
        ("50% + 25% = 75%", [True]),
        ("2/3 = 66.7%", [True]),
        # units
        ("60 km/h × 2.5 h = 150 km", [True]),
        ("3 apples x $2/apple = $6", [True]),
        ("5 batches × 12 cookies per batch = 60 cookies", [True]),
        ("1 hour + 30 minutes = 90 minutes", []),  # a conversion: numbers alone cannot judge it
        ("1 hour = 60 minutes", []),
        # notation
        ("He sold 48/2 = <<48/2=24>>24 clips", [True]),
        (r"$\dfrac{5}{100} \times 350 = 17.5 $", [True]),
        ("2³ + 3² = 8 + 9 = 17", [True, True]),
        ("1,000 + 1 = 1,001", [True]),
        ("-5 + 10 = 5", [True]),
        ("- 5 + 10 = 15", [True]),  # the dash of a list
        ("a total of 8+4 = 12", [True]),
        # no arithmetic, or no value
        ("x = 5", []),
        ("2x + 3 = 7 + 4", []),
        ("5(5-3) = 10", [True]),
        ("f(3 + 5) = 8", []),
        ("8 × 9 = 7 ×", []),
        ("1 / 0 = 5", []),
        ("9^64^64 = 2", []),
        ("= = =", []),
        ("5 - = 3", []),
    ],
)
def test_arithmetic_is_checked_by_value(output: str, expected: list[bool]) -> None:
    assert truths(output) == expected


def test_shares_of_true_equations() -> None:
    assert value("equations_true", "1 + 1 = 2 and 1 + 1 = 3") == 0.5
    assert value("equations_true", "") is None


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("distance = speed × time\n71 × 7 = 497", 1.0),
        ("P = 2l + 2w\n2 × 3 + 2 × 4 = 14", 1.0),
        ("A = πr^2\n3 × 3 = 9", 1.0),
        ("71 × 7 = 497\ndistance = speed × time", 0.0),
        ("d = 60 km/h × 2.5 h = 150 km", 0.0),
        ("71 × 7 = 497", 0.0),
        ("distance = speed × time", None),
        ("दूरी = गति × समय\n71 × 7 = 497", 1.0),  # names that end in a vowel sign
        ("x_1 = v_1 × t\n71 × 7 = 497", 1.0),
    ],
)
def test_a_formula_before_it_is_used(output: str, expected: float | None) -> None:
    assert value("formula_first", output) == expected


def test_steps_are_lines_that_say_something() -> None:
    assert value("steps", "12 × 3 = 36\n\n---\n36\n") == 2
    assert value("step_tokens", "12 × 3 = 36\n36") == 3
    assert value("step_tokens", "\n") is None


def test_repetition_of_ngrams() -> None:
    assert distinct(["a", "b", "a", "b"], 1) == 0.5
    assert distinct(["a", "b", "a", "b"], 2) == pytest.approx(2 / 3)
    assert distinct(["a"], 2) is None
    assert value("rep_4", "a b c d a b c d") == pytest.approx(1 / 5)
    assert value("rep_4", "a b c") == 0


def test_the_share_of_a_loop() -> None:
    assert value("repeated_suffix", "so 63 63 63", cut=False) == 0.75
    assert value("repeated_suffix", "so 63 63 63 6", cut=True) == 0.75
    assert value("repeated_suffix", "so 63 63 63 6", cut=False) == 0
    assert value("repeated_suffix", "", cut=True) == 0


def test_compression_is_higher_for_what_repeats() -> None:
    varied, loop = value("compression", "12 × 3 = 36, so it is right"), value("compression", "63\n" * 9)
    assert varied is not None
    assert loop is not None
    assert loop > 2 > varied
    assert value("compression", "") is None


def test_copies_of_the_prompt() -> None:
    assert value("prompt_copy", "a b c x", prompt="z a b c") == 0.75
    assert value("prompt_copy", "a b x", prompt="a b c") == 0
    assert value("prompt_copy", "", prompt="a b c") == 0


def test_rouge_l() -> None:
    assert value("reference_rouge_l", "a b c d", reference="a x c d") == 0.75
    assert value("reference_rouge_l", "a b", reference="a b") == 1
    assert value("reference_rouge_l", "a", reference="b") == 0
    assert value("reference_rouge_l", "", reference="") == 0


@given(st.text(alphabet="ab ", max_size=12), st.text(alphabet="ab ", max_size=12))
def test_rouge_l_is_what_the_table_of_dynamic_programming_gives(left: str, right: str) -> None:
    a, b = left.split(), right.split()
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    total = len(a) + len(b)
    assert value("reference_rouge_l", left, reference=right) == (2 * table[-1][-1] / total if total else 0)


@pytest.mark.parametrize(
    ("behaviour", "text", "count"),
    [
        ("verification", "Let me check: 36 / 3 is 12, which is correct", 2),
        ("verification", "checkers verifies", 1),
        ("backtracking", "Wait, that was wrong. Actually, let me reconsider", 4),
        ("subgoal", "First, we need to find x. Step 2: break it down", 4),
        ("backward", "Working backwards from 75, undo the sum", 2),
        ("backward", "12 × 3 = 36", 0),
    ],
)
def test_lexical_proxies_count_their_words(behaviour: str, text: str, count: int) -> None:
    words = len("".join(char if char.isalnum() or char == "_" else " " for char in text).split())
    assert value(f"lex_{behaviour}", text) == pytest.approx(100 * count / words)


def test_a_word_with_vowel_signs_is_one_word() -> None:
    assert value("lex_backtracking", "दूरी और गति wait") == pytest.approx(25)


def test_every_measure_of_an_output() -> None:
    found = measures(
        "distance = speed × time\n71 × 7 = 497 km\n497 km",
        prompt="How far?",
        expected="497 km",
        reference_steps=["71 × 7 = 497 km"],
        tokens=20,
        finish_reason="stop",
    )
    assert {name: found[name] for name in ("tokens", "steps", "answer_present", "eos", "cap_hit")} == {
        "tokens": 20,
        "steps": 3,
        "answer_present": 1,
        "eos": 1,
        "cap_hit": 0,
    }
    assert (found["equations"], found["equations_true"], found["formula_first"]) == (1, 1, 1)
    assert found["topic_drift"] == found["prompt_copy"] == 0
    assert found["reference_rouge_l"] == pytest.approx(2 * 8 / (13 + 8))
    assert set(found) == set(NAMES)


@pytest.mark.parametrize(
    ("output", "finish_reason", "expected"),
    [
        ("12 × 3 = 36\n36", "stop", {"eos": 1, "cap_hit": 0, "answer_present": 1, "topic_drift": 0}),
        ("What is 12 × 3?\n", "length", {"eos": 0, "cap_hit": 1, "answer_present": 0, "topic_drift": 0}),
        ("What is 5 + 5?\n10", "stop", {"eos": 1, "cap_hit": 0, "answer_present": 0, "topic_drift": 1}),
    ],
)
def test_how_an_output_ends_and_whether_it_answers(output: str, finish_reason: str, expected: dict[str, int]) -> None:
    asked = {"prompt": "What is 12 × 3?", "expected": "36", "reference_steps": None, "tokens": 9}
    found = measures(output, finish_reason=finish_reason, **asked)  # type: ignore[arg-type]
    assert {name: found[name] for name in expected} == expected
    assert "reference_rouge_l" not in found


def test_a_loop_counts_once_where_it_is_not_what_is_measured() -> None:
    said = {"prompt": "", "expected": "2", "reference_steps": None, "tokens": 9, "finish_reason": "stop"}
    once, looping = measures("1 + 1 = 2", **said), measures("1 + 1 = 2\n" * 9, **said)  # type: ignore[arg-type]
    assert (once["equations"], once["steps"]) == (looping["equations"], looping["steps"]) == (1, 1)
    assert looping["repeated_suffix"] == 1


@given(st.text(), st.text(max_size=30), st.sampled_from(["stop", "length"]))
def test_any_output_is_measured(output: str, prompt: str, finish_reason: str) -> None:
    found = measures(output, prompt=prompt, expected="5", reference_steps=["5"], tokens=5, finish_reason=finish_reason)
    assert set(found) <= set(NAMES)
    shares = {"answer_present", "eos", "cap_hit", "rep_4", "distinct_1", "repeated_suffix", "prompt_copy"}
    assert all(0 <= found.get(name, 0) <= 1 for name in shares)


@given(st.text(alphabet="0123456789+-×÷/=()%.^! x,kmof", max_size=60))
def test_any_arithmetic_is_read_or_left(output: str) -> None:
    for equation in stated_equations(output):
        assert isinstance(equation.true, bool)


def test_every_measure_is_documented_with_its_formula() -> None:
    text = (Path(__file__).parents[3] / "docs" / "scoring.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("## Trace structure")[1].splitlines() if line.startswith("| `")]
    assert [name for name in NAMES if not any(f"`{name}`" in row.split("|")[1] for row in rows)] == []
