import json
import re
from collections import Counter
from fractions import Fraction
from itertools import permutations
from typing import Any

import pytest
from helpers.text import matched
from hypothesis import given, settings
from hypothesis import strategies as st

from stagewise.data import generate
from stagewise.data.generate.draw import Draw
from stagewise.data.leakage import fold, overlap
from stagewise.data.traces import Trace, parse_items, parse_traces
from stagewise.errors import ConfigError, DataError
from stagewise.hashing import sha256


@pytest.fixture(scope="module")
def many() -> tuple[Trace, ...]:
    return parse_traces(generate.traces(3, 9000), "generated").rows


def family(trace: Trace) -> str:
    return json.loads(trace.line)["meta"]["family"]  # type: ignore[no-any-return]


# --- same seed, same bytes --------------------------------------------------------------------


TRACES = "f819b4f1986adc20bee58b70add45174eec43b05dedd791b2b842cf1f5227ce7"
ITEMS = "7a9272049154ba98e0df27d2e90af675fac46ff0294c923abf0a525384e65f37"


def test_the_bytes_are_the_same_on_every_platform_and_python() -> None:
    """A digest that changes means that old seeds no longer give their data: raise `GENERATOR` then."""
    assert sha256(generate.traces(7, 500)) == TRACES
    assert sha256(generate.items(7, 200)) == ITEMS


def test_a_draw_is_sha256_of_key_and_counter() -> None:
    draw = Draw("key")
    expected = [int(sha256(f"key:{k}".encode())[:16], 16) % 90 + 10 for k in range(5)]
    assert list(draw.numbers(5, 10, 99)) == expected


def test_a_longer_set_starts_with_a_shorter_one_and_a_seed_counts() -> None:
    assert generate.traces(1, 60).startswith(generate.traces(1, 20))
    assert generate.items(1, 60).startswith(generate.items(1, 20))
    assert generate.traces(1, 20) != generate.traces(2, 20)


def test_the_order_of_asking_changes_nothing() -> None:
    one = {"families": ["parity", "addition"], "categories": ["reasoning", "synthetic"]}
    other = {name: asked[::-1] for name, asked in one.items()}
    assert generate.traces(1, 20, **one) == generate.traces(1, 20, **other)  # type: ignore[arg-type]


# --- every step is true -----------------------------------------------------------------------

TERM = r"-?\d+"
EXPRESSION = rf"{TERM}(?:[-+×÷]-?\d+)*"
RELATION = re.compile(rf"({EXPRESSION})([=<>])({EXPRESSION})")


def value(expression: str) -> Fraction:
    """Exact, products before sums; `0+-3` has a sum of a negative number."""
    tokens = re.findall(r"(?:(?<=[-+×÷])-|^-)?\d+|[-+×÷]", expression)
    total, product = Fraction(0), Fraction(tokens[0])
    for operator, number in zip(tokens[1::2], map(Fraction, tokens[2::2]), strict=True):
        if operator in "×÷":
            product = product * number if operator == "×" else product / number
        else:
            total, product = total + product, number if operator == "+" else -number
    return total + product


def test_the_checker_itself() -> None:
    assert value("0+-3") == -3
    assert value("-8-9") == -17
    assert value("2+3×4-6÷4") == Fraction(25, 2)


def test_every_relation_in_every_step_is_true(many: list[Any]) -> None:
    checked = 0
    for trace in many:
        for step in trace.steps:
            relations = RELATION.findall(step.content)
            assert sum(map(step.content.count, "=<>")) == len(relations), step
            for left, sign, right in relations:
                a, b = value(left), value(right)
                assert {"=": a == b, "<": a < b, ">": a > b}[sign], step
                checked += 1
    assert checked > 10_000


def test_the_last_step_ends_in_the_answer_and_says_so(many: list[Any]) -> None:
    for trace in many:
        *before, last = trace.steps
        assert re.search(rf"(?:^|[ =]){re.escape(trace.final_answer)}$", last.content), trace
        assert last.type == "result"
        assert {step.type for step in before} <= {"calculation"}
        assert 1 <= len(trace.steps) <= 6


NUMBER = r"(-?\d+)"


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(NUMBER, text)]


def solved(name: str, prompt: str) -> str:
    """The answer worked out from the prompt alone, in another way than the generator's."""
    found, word = numbers(prompt), re.findall(r"\b[A-Z]+\b", prompt)
    if name in ("addition", "subtraction", "multiplication", "running_sum"):
        return str(value(matched(EXPRESSION, prompt)[0]))
    if name == "division":
        return f"{found[0] // found[1]} remainder {found[0] % found[1]}"
    if name == "digit_sum":
        return str(sum(map(int, matched(r"\d+", prompt)[0])))
    if name == "sequence":
        return str(found[-1] + found[1] - found[0])
    if name == "parity":
        return ["even", "odd"][value(matched(EXPRESSION, prompt)[0]) % 2 == 1]
    if name == "comparison":
        return str(max(found)) if found[0] != found[1] else "equal"
    if name == "extremes":
        return str(max(found) if "largest" in prompt else min(found))
    if name == "reversal":
        return "".join(reversed(word[-1]))
    if name == "sorting":
        return "".join(sorted(word[-1]))
    if name == "letter_count":
        return str(word[-1].count(word[-2]))
    if name == "repetition":
        return word[-1] * found[0]  # type: ignore[no-any-return]
    return STORIES[name](prompt, found)


def percentage(prompt: str, found: list[int]) -> str:
    part = Fraction(found[0] * found[1], 100)
    return str(found[1] - part if "off" in prompt else part)


def unit_price(prompt: str, found: list[int]) -> str:
    one = Fraction(found[1], found[0])
    if "change" in prompt:
        return f"${found[2] - found[3] * one}"
    return f"${found[2] * one}"


def speed_time(prompt: str, found: list[int]) -> str:
    start = found.pop(0) if "fter" in prompt else 0
    return str(start + sum(hours * speed for hours, speed in zip(found[::2], found[1::2], strict=True)))


TIMES = {"weeks": 168 * 3600, "days": 24 * 3600, "hours": 3600, "minutes": 60, "seconds": 1}
LENGTHS = {"km": 100_000, "m": 100, "cm": 1, "yards": 36, "feet": 12, "inches": 1}
SIZES = {**TIMES, **LENGTHS, "kg": 1_000_000, "g": 1000, "mg": 1}


def conversion(prompt: str, _: list[int]) -> str:
    target = matched(r"to (\w+)", prompt)[1]
    given = sum(int(amount) * SIZES[unit] for amount, unit in re.findall(r"(\d+)\s+(\w+)", prompt))
    return str(Fraction(given, SIZES[target]))


STORIES = {
    "percentage": percentage,
    "unit_price": unit_price,
    "speed_time": speed_time,
    "conversion": conversion,
}


def test_every_answer_is_right(many: list[Any]) -> None:
    for trace in many:
        assert solved(family(trace), trace.prompt) == trace.final_answer, trace


def test_steps_without_a_relation_are_true_too(many: list[Any]) -> None:
    """Strings and parities: what a step says is done so far is what the words say."""
    for trace in many:
        name, contents = family(trace), [step.content for step in trace.steps]
        word = re.findall(r"\b[A-Z]+\b", trace.prompt)
        if name == "reversal":
            taken = [re.match(r"[A-Z]+", content)[0] for content in contents]  # type: ignore[index]
            assert "".join(taken)[::-1] == word[-1]
        elif name == "sorting":
            left = word[-1]
            for content in contents:
                first, rest = re.match(r"take ([A-Z]) left ([A-Z]+)", content).groups()  # type: ignore[union-attr]
                assert first == min(left)
                assert rest == left.replace(first, "", 1)
                left = rest
        elif name == "letter_count":
            read = [re.fullmatch(r"([A-Z]+) so (\d+)", content).groups() for content in contents]  # type: ignore[union-attr]
            assert "".join(letters for letters, _ in read) == word[-1]
            counts = [sum(letters.count(word[-2]) for letters, _ in read[: k + 1]) for k in range(len(read))]
            assert [int(count) for _, count in read] == counts
        elif name == "repetition":
            assert contents == [f"{k} {word[-1] * k}" for k in range(1, len(contents) + 1)]
        elif name == "parity":
            terms = [int(re.match(TERM, content)[0]) for content in contents]  # type: ignore[index]
            for place, content in enumerate(contents):
                said = re.findall("even|odd", content)
                true = [terms[place], sum(terms[: place + 1])][: len(said)]
                assert said == [["even", "odd"][number % 2] for number in true]


def test_what_is_carried_and_done_so_far_is_right(many: list[Any]) -> None:
    for trace in many:
        if family(trace) not in ("addition", "subtraction", "multiplication"):
            continue
        for step in trace.steps[:-1]:
            result, kind, moved, done = matched(r"=(\d+) (carry|borrow) (\d+) so (\d+)$", step.content).groups()
            assert trace.final_answer.lstrip("-").zfill(len(done)).endswith(done)
            assert int(result) == (10 * int(moved) if kind == "carry" else 0) + int(done[0])


# --- what is asked for is what comes ----------------------------------------------------------


def test_categories_have_their_steps_and_all_families_come(many: list[Any]) -> None:
    steps = {name: Counter() for name in generate.CATEGORIES}  # type: ignore[var-annotated]
    for trace in many:
        steps[trace.category][len(trace.steps)] += 1
    assert set(steps["synthetic"]) == set(steps["golden_style"]) == {1, 2}
    assert set(steps["reasoning"]) == {2, 3, 4, 5, 6}
    assert set(steps["edge_case"]) <= {1, 2}
    assert min(map(Counter.total, steps.values())) > 900
    assert Counter(map(family, many)) == dict.fromkeys(generate.FAMILIES, 500)
    assert len(generate.FAMILIES) >= 12


def test_a_trace_says_where_it_is_from() -> None:
    (trace,) = parse_traces(generate.traces(5, 1, families=["sorting"], categories=["synthetic"]), "g").rows
    assert json.loads(trace.line)["meta"] == {
        "dataset": "stagewise-generated",
        "generator": generate.GENERATOR,
        "seed": 5,
        "category": "synthetic",
        "family": "sorting",
        "index": 0,
    }


@pytest.mark.parametrize("name", list(generate.FAMILIES))
def test_every_family_gives_every_number_of_steps_it_declares(name: str) -> None:
    problems = generate.FAMILIES[name]
    assert 2 in problems.steps
    assert set(problems.steps) <= set(generate.STEPS)
    for steps in problems.steps:
        rows = parse_traces(generate.traces(1, 5, [name], ["synthetic", "reasoning"], [steps]), "g").rows
        assert {len(trace.steps) for trace in rows} == {steps}


@pytest.mark.parametrize("name", list(generate.FAMILIES))
def test_edge_cases_differ_from_the_rest_and_are_enough(name: str) -> None:
    edges = parse_items(generate.items(1, 5, [name], ["edge_case"]), "g").rows
    assert {(item.section, item.difficulty) for item in edges} == {("edge_case", "easy")}
    assert not any(re.fullmatch(r"[A-Z].*[^.?][.?]", item.prompt) for item in edges)


def test_items_are_labelled() -> None:
    rows = parse_items(generate.items(4, 360), "g").rows
    assert {item.section for item in rows} == {"core", "trace_sensitive", "edge_case"}
    assert {item.difficulty for item in rows} == {"easy", "medium", "hard"}
    assert Counter(item.category for item in rows) == dict.fromkeys(generate.FAMILIES, 20)
    hard = parse_items(generate.items(4, 20, ["addition"], ["reasoning"], [4, 5, 6]), "g").rows
    assert {(item.difficulty, item.section) for item in hard} == {("hard", "trace_sensitive")}


# --- training and eval never share a problem --------------------------------------------------

names = st.none() | st.lists(st.sampled_from(list(generate.FAMILIES)), min_size=1, unique=True)
seeds = st.integers(0, 10**6)


@settings(max_examples=25, deadline=None)
@given(seeds, seeds, names, names)
def test_no_training_prompt_stands_in_an_eval_set(
    train_seed: int, eval_seed: int, train_families: Any, eval_families: Any
) -> None:
    traces = parse_traces(generate.traces(train_seed, 300, train_families), "t").rows
    items = parse_items(generate.items(eval_seed, 40, eval_families), "e").rows
    assert overlap(traces, items) == []
    assert len({fold(item.prompt) for item in items}) == len(items)


def asked(name: str, prompt: str) -> tuple:  # type: ignore[type-arg]
    """What a prompt asks, read from its text alone, so that problems which are one in other words are equal.

    Equal are: operands in another order; the digits of a number whose sum is asked, which are the sum of these numbers;
    a comparison and the largest of two; a sequence from its last terms; a percentage and what it leaves; other things.
    """
    found, word = numbers(prompt), re.findall(r"\b[A-Z]+\b", prompt)
    terms = tuple(sorted(found))
    if name in ("addition", "running_sum"):
        return "sum", tuple(sorted(map(int, re.findall(r"-?\d+", matched(EXPRESSION, prompt)[0]))))
    if name == "digit_sum":
        return "sum", tuple(sorted(map(int, matched(r"\d+", prompt)[0])))
    if name == "subtraction":
        return name, tuple(sorted(map(int, matched(r"(\d+)-(\d+)", prompt).groups())))
    if name in ("multiplication", "parity"):
        return name, terms
    if name in ("comparison", "extremes"):
        return "smallest" if "smallest" in prompt else "largest", terms
    if name == "sequence":
        return name, found[-1], found[1] - found[0]
    if name == "sorting":
        return name, "".join(sorted(word[-1]))
    if name == "letter_count":
        return name, word[-2], "".join(sorted(word[-1]))
    if name == "speed_time":
        start = found.pop(0) if "fter" in prompt else 0
        return name, start, tuple(sorted(zip(found[::2], found[1::2], strict=True)))
    if name == "unit_price":
        return name, matched("1 cost|do|change", prompt)[0], tuple(found)
    if name == "conversion":
        return name, tuple(re.findall(r"(\d+) +(\w+)", prompt)), matched(r"to (\w+)", prompt)[1]
    return name, tuple(found), tuple(word)  # percentage, division, reversal, repetition


def test_what_is_asked_is_read_right() -> None:
    assert asked("digit_sum", "Add the digits of 305.") == asked("running_sum", "What is 5+0+3?")
    assert asked("addition", "  What is 12+30  .") == asked("addition", "Show your work: What is 30+12?")
    assert asked("comparison", "Which is larger, 3 or -5?") == asked("extremes", "Which is largest: -5, 3?")
    assert asked("extremes", "Which is smallest: -5, 3?") != asked("extremes", "Which is largest: -5, 3?")
    assert asked("letter_count", "How many A in ABCA?") == asked("letter_count", "How many A in CAAB?")
    assert asked("percentage", "Take 25% off 80.") == asked("percentage", "What is 25% of 80?")
    assert asked("sequence", "What comes next: 2, 5, 8?") == asked("sequence", "What comes next: 5, 8?")
    assert asked("subtraction", "What is 2-30?") == asked("subtraction", "What is 30-2?")


@pytest.mark.parametrize(("train_seed", "eval_seed"), [(3, 3), (3, 8)])
def test_no_eval_item_is_a_training_problem_in_other_words(many: list[Any], train_seed: int, eval_seed: int) -> None:
    known = {asked(family(trace), trace.prompt) for trace in many}
    items = parse_items(generate.items(eval_seed, 1800), "e").rows
    leaked = Counter(item.category for item in items if asked(item.category, item.prompt) in known)  # type: ignore[arg-type]
    assert leaked == {}


REORDERED = {
    **dict.fromkeys(("addition", "multiplication", "comparison", "running_sum", "parity"), permutations),
    "subtraction": permutations,
    "digit_sum": lambda digits: [("".join(each),) for each in permutations(digits[0])],
    "sorting": lambda word: [("".join(each),) for each in permutations(word[0])],
    "letter_count": lambda of: [(of[0], "".join(each)) for each in permutations(of[1][:6])],
    "extremes": lambda of: [(of[0], *each) for each in permutations(of[1:])],
    "sequence": lambda terms: [terms[-length:] for length in range(2, len(terms) + 1)],
    "percentage": lambda of: [(*of[:2], off) for off in (False, True)],
    "unit_price": lambda of: [(of[0], thing, *of[2:]) for thing in generate.stories.THINGS],
    "speed_time": lambda of: [(start, *legs) for start in {of[0], of[0] or None} for legs in permutations(of[1:])],
}
ORDERED = {"division", "reversal", "repetition", "conversion"}  # in another order these ask for something else


@pytest.mark.parametrize("name", list(generate.FAMILIES))
def test_all_orders_of_a_problem_are_on_one_side(name: str) -> None:
    assert (name in REORDERED) != (name in ORDERED)
    problems, sides = generate.FAMILIES[name], Counter()  # type: ignore[var-annotated]
    for number in range(120 if name in REORDERED else 0):
        draw = Draw(f"{number}")
        operands = problems.edges(draw) if number % 3 == 0 else problems.operands(draw, problems.steps[number % 2])
        same = {generate.reserved(problems.solve(*each)) for each in REORDERED[name](operands)}  # type: ignore[operator]
        assert len(same) == 1, operands
        sides[same.pop()] += 1
    assert name in ORDERED or min(sides.values()) > 3


def test_whole_small_domains_are_divided(many: list[Any]) -> None:
    """One-step percentages are few: a training set holds most of them, and still no eval prompt."""
    asked = {"families": ["percentage"], "categories": ["synthetic", "golden_style"], "steps": [1]}
    traces = parse_traces(generate.traces(1, 1500, **asked), "t").rows  # type: ignore[arg-type]
    items = parse_items(generate.items(1, 10, **asked), "e").rows  # type: ignore[arg-type]
    assert overlap(traces, items) == []
    plain = {fold(trace.prompt.removeprefix(generate.GOLDEN)) for trace in traces}
    assert not plain & {fold(item.prompt.removeprefix(generate.GOLDEN)) for item in items}


@given(st.sampled_from(list(generate.FAMILIES.values())), seeds, st.sampled_from(generate.ODD))
def test_a_categorys_wording_keeps_the_problem_on_its_side(family_: str, seed: int, odd: bool) -> None:
    for operands in (family_.edges(Draw(f"{seed}")), family_.operands(Draw(f"{seed}"), 2)):  # type: ignore[attr-defined]
        prompt = family_.solve(*operands).prompt  # type: ignore[attr-defined]
        assert prompt[0].isalpha()
        assert prompt[-1] in ".?"
        assert prompt[-2].isalnum()
        assert fold(odd.format(prompt[:-1])) == fold(prompt)  # type: ignore[attr-defined]
        assert fold(generate.GOLDEN + prompt) == f"{fold(generate.GOLDEN)} {fold(prompt)}"


def test_one_problem_in_eight_is_reserved() -> None:
    add = generate.FAMILIES["addition"].solve
    problems = [add(a, b) for a in range(10, 250) for b in range(a, 250)]
    assert 0.118 < sum(map(generate.reserved, problems)) / len(problems) < 0.132


# --- what cannot be had -----------------------------------------------------------------------


def test_a_set_that_cannot_be_drawn_is_an_error() -> None:
    with pytest.raises(DataError, match="no further problem of family 'percentage' for eval"):
        generate.items(1, 200, families=["percentage"], categories=["synthetic"], steps=[1])
    with pytest.raises(DataError, match="family 'unit_price'"):
        generate.traces(1, 1, families=["unit_price"], steps=[6])


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({"families": ["adition"]}, "addition"),
        ({"families": []}, "addition"),
        ({"categories": ["reason"]}, "reasoning"),
        ({"steps": [7]}, "6"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(asked: Any, known: Any) -> None:
    for make in (generate.traces, generate.items):
        with pytest.raises(ConfigError, match=known):
            make(1, 1, **asked)
