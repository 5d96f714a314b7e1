from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stagewise.data import leakage
from stagewise.data.jsonl import json_line
from stagewise.data.leakage import Overlap, fold, overlap, repeats
from stagewise.data.traces import Step, parse_items, parse_traces, trace_line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2 + 2?", "what is... 2+2???"),
        ("What is the capital of France?", "What is the capital of FRANCE"),
        ("  What is   42  ?", "What is 42?"),
        ("Reverse the string: 'reason'", "Reverse the string “reason”."),
        ("Add 1,000 and 2,000,000.", "add 1000 and 2000000"),
        ("Sort 3,1,2", "Sort: 3, 1, 2?"),
        ("20 % of $ 5", "20% of $5"),
        ("Straße?", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("a\u2003b\u00a0c", "A B C"),
    ],
)
def test_the_same_question_folds_to_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1 ÷ 1", "1 + 1"),
        ("8 × 7", "8 - 7"),
        ("-5", "5"),
        ("3.5", "35"),
        ("3.5", "3 5"),
        (".5", "5"),
        ("1,2", "12"),
        ("1,2,300", "1,2300"),
        ("1 2", "12"),
        ("5% of 20", "5 of 20"),
        ("$5", "€5"),
        ("(2+3)*4", "2+3*4"),
        ("2 < 3", "2 > 3"),
        ("What is 5!", "What is 5"),
        ("Is it 10:30?", "Is it 1030?"),
        ("2 ^ 3", "2 3"),
        ("ab c", "a bc"),
        ("cafe", "café"),
    ],
)
def test_another_question_stays_another(one: str, other: str) -> None:
    assert fold(one) != fold(other)


pieces = st.lists(st.text(max_size=4) | st.sampled_from(list("0123456789.,:!? -+÷'…()")), max_size=12)


@given(pieces.map("".join))
@example("1,000,2 3 ;: 4 !. 5")
def test_folding_again_changes_nothing(prompt: str) -> None:
    assert fold(fold(prompt)) == fold(prompt)


@given(st.text("abcXYZ 0123456789+-×÷%$.,", max_size=30), st.sampled_from(["?", " ?!", "...", "  ", " ."]))
def test_case_space_and_closing_punctuation_do_not_count(prompt: str, end: str) -> None:
    spaced = "  " + prompt.replace(" ", " \t ") + " "
    assert fold(spaced + end) == fold(prompt.upper() + " ") == fold(prompt.lower())


@given(st.lists(st.integers(0, 99), min_size=2, max_size=5), st.sampled_from("+-×÷/*<>=%"), st.booleans())
def test_every_digit_and_operator_stays(numbers: Any, operator: str, spaced: bool) -> None:
    text = (f" {operator} " if spaced else operator).join(map(str, numbers))
    assert fold(text) == operator.join(map(str, numbers))


def dataset(*prompts: str) -> Any:
    steps = [Step("result", "s")]
    lines = [trace_line(prompt, steps, "a", {"category": "c", "index": i}) for i, prompt in enumerate(prompts)]
    return parse_traces(b"\n".join(lines), "x").rows


def test_repeats_are_the_rows_after_a_first() -> None:
    assert repeats(dataset("p", "q", "p", "P", "p", "q")) == [2, 4, 5]


def test_repeats_are_found_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "PART", 7)
    monkeypatch.setattr(leakage, "CHUNK", 4)
    prompts = [f"p{row * row % 31}" for row in range(100)]
    assert repeats(dataset(*prompts)) == [row for row in range(100) if prompts[row] in prompts[:row]]


@pytest.mark.parametrize("changed", [("p", "t", "a"), ("p", "s", "b"), ("q", "s", "a")])
def test_a_repeat_has_the_same_prompt_steps_and_answer(changed: Any) -> None:
    prompt, step, answer = changed
    lines = [
        trace_line("p", [Step("result", "s")], "a", {"category": "c"}),
        trace_line(prompt, [Step("result", step)], answer, {"category": "c"}),
    ]
    assert repeats(parse_traces(b"\n".join(lines), "x").rows) == []


def test_overlap_lists_every_pair_and_how() -> None:
    items = [{"id": i, "prompt": p, "expected_answer": "a"} for i, p in [("x", "What is 1 + 1?"), ("y", "1÷1")]]
    evals = parse_items(b"\n".join(map(json_line, items)), "e").rows
    traces = dataset("What is 1÷1?", "what is 1+1", "What is 1 + 1?", "1 ÷ 2")
    assert overlap(traces, evals) == [Overlap(1, "x", "folded"), Overlap(2, "x", "exact")]


@given(st.text(max_size=20) | st.text("aB1 .,?é", max_size=12), st.text("aB1 .,?é", max_size=12))
def test_overlap_is_what_folds_alike(prompt: str, asked: str) -> None:
    """Whether or not a prompt could be told apart before it was folded."""
    if not (prompt.strip() and asked.strip()) or not prompt.isprintable():
        return
    items = parse_items(json_line({"id": "i", "prompt": asked, "expected_answer": "a"}), "e").rows
    assert bool(overlap(dataset(prompt), items)) == (fold(prompt) == fold(asked))
