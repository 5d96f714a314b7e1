"""Extraction, match and score: hand-made outputs, one a rule of docs/scoring.md, and wild ones."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagewise.errors import ConfigError
from stagewise.evaluation.scoring import DEFAULT_CHAIN, EXTRACTORS, MATCHERS, find_answer, score
from stagewise.evaluation.scoring.questions import drifts
from stagewise.evaluation.scoring.scope import scoped
from stagewise.evaluation.scoring.text import repeated_suffix
from stagewise.evaluation.scoring.values import value

# Text that outputs are made of, so that the patterns meet each other in every order.
PIECES = [
    "5",
    "1,000",
    "3.",
    "½",
    " x ",
    "\\boxed{",
    "\\frac{1}",
    "####",
    "Answer:",
    "ANSWER:",
    "check: ",
    "A. ",
    "Step 1",
]
WILD = st.lists(
    st.sampled_from([*PIECES, *"\n ?=×()%$-}", "the answer is ", "What is ", "Paris is "]) | st.text(max_size=5)
).map("".join)


@pytest.mark.parametrize(
    ("name", "output", "text"),
    [
        ("gsm8k", "48/2 = 24\n#### 72", "72"),
        ("gsm8k", "#### 1\nno\n#### $1,000.50 ", "1,000.50"),
        ("gsm8k", "72", None),
        ("boxed", r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        ("boxed", r"\boxed{1} then \boxed{ 2 }", "2"),
        ("boxed", r"\boxed{1", None),
        ("boxed", "1", None),
        ("inspect", "ANSWER: 72 apples\nbye", "72 apples"),
        ("inspect", "Answer: 72", None),
        ("answer_is", "Answer: 72", "72"),
        ("answer_is", "**Answer:** 72 apples.", "72 apples"),
        ("answer_is", "So the answer is $7.50.", "7.50"),
        ("answer_is", "So the answer is Paris, of course. Yes.", "Paris, of course"),
        ("answer_is", "The answer is 12 + 3 = 15.", "15"),
        ("answer_is", "42 is the answer.\n42 is", "42"),
        ("answer_is", "Answer:\n\nStep 1", None),
        ("last_line", "12 × 3 = 36\n36\n", "36"),
        ("last_line", "Final result: 63", "63"),
        ("last_line", "x\nnosaer", "nosaer"),
        ("last_line", "12 × 3 = 36", None),
        ("last_line", "Each item costs $15.0", None),
        ("last_line", "What now?", None),
        ("last_line", "", None),
        ("statement", "A hexagon has 6 sides, so 12 is the next number", "12"),
        ("statement", "8 × 9 = 72 hours", "72 hours"),
        ("statement", "That is 50% of 80", None),
        ("statement", "It is a 3-dimensional shape", None),
        ("statement", "I think = 8 + 9", None),
        ("last_number", "about $1,000 in all", "1,000"),
        ("last_number", "2 4 8 16", None),
        ("last_number", "63 is greater than 100 - 37", None),
        ("last_number", "it is not 63", None),
        ("last_number", "from 15 + 2", None),
    ],
)
def test_each_convention_on_an_example_of_its_own(name: str, output: str, text: str | None) -> None:
    found = EXTRACTORS[name](output)
    assert (found.text if found else None) == text
    if found:
        assert found.rule == name
        assert output[slice(*found.span)] == text


@pytest.mark.parametrize(
    ("prompt", "output", "text"),
    [
        ("What is 15 + 27?", "15 + 27 = 42 15 + 27 = 42 15 + 2", "42"),
        ("What is 8 × 7?", r"since 8 \times 7 = 56", "56"),
        ("What is 5 + 3?", "25 + 3 = 28 and 2 × 5 + 3 = 13", None),
        ("What is the capital of France?", "Paris is the capital of France, you know", "Paris"),
        ("What is the capital of France?", "The capital of France is Paris", "Paris"),
        ("What is the square root of 49?", "so 7 is the square root of 49.", "7"),
        ("3+3=?", "3+3=6\n\n6+6=12", "6"),
        ("What is 25% of 80?", "25% of 80 is 20.\n25% of 80 is 25% of 80", "20"),
        ("Calculate: (5)", "5 = 5", None),
    ],
)
def test_the_question_completed(prompt: str, output: str, text: str | None) -> None:
    found = EXTRACTORS["restated"](output, prompt)
    assert (found.text if found else None) == text


@pytest.mark.parametrize(
    ("matcher", "answer", "expected", "equal"),
    [
        ("exact", " 42\n", "42", True),
        ("exact", "42.0", "42", False),
        ("normalised", "The Paris!", "paris", True),
        ("normalised", "'nosaer'", "nosaer", True),
        ("normalised", "-5", "5", False),
        ("normalised", "3:15.", "3:15", True),
        ("normalised", "the", "a", False),
        ("number", "1,000", "1000.0", True),
        ("number", "50%", "0.5", False),
        ("number", "50%", "50", True),
        ("number", "5000%", "50", False),
        ("number", "3/4", "0.75", True),
        ("number", "Paris", "Paris", False),
        ("math_verify", r"\frac{\sqrt{4}}{4}", "0.5", True),
        ("math_verify", "x^2 + 1", "1 + x^2", True),
        ("math_verify", r"\sqrt{3}", "2", False),
        ("math_verify", "5", "5", False),  # nothing to do for it: the other matchers settle this
        ("math_verify", r"\frac{", "5", False),
    ],
)
def test_each_matcher(matcher: str, answer: str, expected: str, equal: bool) -> None:
    assert MATCHERS[matcher](answer, expected) is equal


@pytest.mark.parametrize(
    ("output", "strict", "flexible"),
    [
        ("12 × 3 = 36\n36", True, True),
        ("12 × 3 = 36. So the answer is 36.", False, True),
        ("36\n12 × 3 = 30\n30", False, False),
        ("63\n63\n63", False, False),
        ("I like 36 better than 12 × 3", False, False),
        ("36 is greater than 30", False, False),
        ("It can't be 36 is not what I mean", False, False),
        ("", False, False),
    ],
)
def test_strict_wants_the_format_and_flexible_the_answer(output: str, strict: bool, flexible: bool) -> None:
    judged = score(output, "36", prompt="What is 12 × 3?")
    assert (judged.strict, judged.flexible) == (strict, flexible)


def test_a_format_of_its_own() -> None:
    assert score("so\n#### 36", "36", strict="gsm8k").strict
    assert not score("so\n36", "36", strict="gsm8k").strict
    assert score("so\n1. a\n2. b", "1. a\n2. b").strict, "an answer of two lines is the last two lines"


def test_a_repeated_answer_is_an_answer_and_a_cut_one_is_not() -> None:
    assert score("63\n63\n63", "63").flexible
    looping = score("63\n63\n63\n6", "63", finish_reason="length")
    assert (looping.strict, looping.flexible) == (False, True), "it did not end by itself"
    assert not score("100 - 37 = 6", "6", prompt="What is 100 - 37?", finish_reason="length").flexible
    cut = "15 + 27 = 42 15 + 27 = 42 15 + 27 = 42 15 + 2"
    assert not score(cut, "2", prompt="What is 15 + 27?", finish_reason="length").flexible
    assert score(cut, "42", prompt="What is 15 + 27?", finish_reason="length").flexible


@pytest.mark.parametrize(
    ("prompt", "output", "answer"),
    [
        # Rule 5: the prompt, or a calculation out of it, said again.
        ("3+3=?", "3+3=?\n\n3+3=?", None),
        ("True or false: 2 + 2 = 4", "True\n2 + 2 = 4", "True"),
        ("What is 42?", "What is 42?\n42", "42"),
        # Rule 6: other questions.
        ("How many sides has a square?", "A square has 4 sides.\nHow many sides has a hexagon?\nIt has 6.", "4"),
        ("What is 1 + 1?", "What is 2 + 2?\n4\nWhat is 1 + 1?\n2", "2"),
        ("What is 1 + 1?", "What is 2 + 2?\n2", None),
        ("What is 1 + 1?", "1 + 1 = 2. Is that right? Yes, it is 2.", "2"),
        # Rule 4: headings, options and checks.
        ("How many zeros in a million?", "There are 6 zeros in it.\n\nResult\n2 of 2", "6"),
        ("What is 1 + 1?", "A. 1\nB. 2\nC. 3\n", None),
        ("What is the area?", "Area = 30 Check: 30 ÷ 2 = 15", "30"),
    ],
)
def test_what_answers_the_question(prompt: str, output: str, answer: str | None) -> None:
    found = find_answer(output, prompt=prompt, finish_reason="stop")
    assert (found.text if found else None) == answer


def test_the_last_unit_is_dropped_only_where_the_limit_may_have_cut_it() -> None:
    for output, kept in [
        ("it is 4\nso 4", "it is 4\n"),
        ("It is 4. So it", "It is 4. "),
        ("It is 4 Check: 4 is", "It is 4 "),
        ("the result is 4", "the result is "),
        ("It is four.", "It is four."),
        ("It is 49.", "It is "),
        ("4\n", "4\n"),
    ]:
        assert scoped(output, "", "length").rstrip("\n") == kept.rstrip("\n")
    assert scoped("it is 4\nso 4", "", "stop") == "it is 4\nso 4"


def test_drift_is_a_question_that_is_not_the_prompts() -> None:
    assert drifts("What is 1 + 1?\nWhat is 2 + 2?", "What is 1 + 1?")
    assert not drifts("What is 1 + 1?\nIt is 2. Is that right?", "What is 1 + 1?")


LEFT = "Mara packs 3 crates of 24 jars and gives away 12 jars. How many jars are left?"
WHICH = "Which gas?\nA) oxygen\nB) carbon dioxide\nC) helium"


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        # Of several marks the last, whatever their kind.
        ("\\boxed{72} at first. The answer is 60.", "60"),
        ("#### 72\nno: \\boxed{60}", "60"),
        ("ANSWER: 72\n<answer>60</answer>", "60"),
        # A conclusion behind a mark beats it: by its opening, by the question's words, or as a bare last line.
        ("#### 72\nShe gives away 12. So that makes 60 in all.", "60"),
        ("\\boxed{72} is the total. After giving away 12 she has 60 jars left.", "60"),
        ("The answer to the first part is 72.\n\n60", "60"),
        ("\\boxed{72} jars since 3*24 = 72. Then she gives away 12, so 60 jars are left.", "60"),
        # What tells why, checks, or says something else, does not.
        ("The answer is 60, because 3*24 = 72 and 72 - 12 = 60. Note that 3*24 = 72.", "60"),
        ("\\boxed{60}\n\nMara packs 3*24 = 72 jars at first.", "60"),
        ("Answer: 60\n\nExplanation: she packs 72 jars. So 72 jars are left before she gives any away.", "60"),
        ("**60** jars are left.\n\nBreakdown:\n- packed: 72\n- given away: 12", "60"),
        ("72 - 12 = 60\nTo check: 60 + 12 = 72", "60"),
        ("The answer is 72. Wait, she gives away 12, so 60 jars are left.", "60"),
        ("60 jars are left. This is less than half of 72.", "60"),
        ("She has 60 jars left, which is 12 fewer than 72.", "60"),
        ("So she has 60 jars left.\n\nNote: if she gave away 20, she would have 52 left.", "60"),
        ("60 jars are left.\n\nHope this helps! If you have 2 more questions, ask.", "60"),
        ("Answer: She packed 72 jars and has 60 jars left.", "60"),
        ("\\begin{align*}\nx &= 72 - 12 \\\\\n&= 60.\n\\end{align*}", "60"),
        # Headings say no answer.
        ("#### Step 2: Subtract 12\n72 - 12 = 60", "60"),
        ("#### 2. Find the rest\nIt is 60.", "60"),
        ("#### Conclusion\n\nMara has **60** jars left.", "60"),
        ("#### Answer\n\n60", "60"),
        # Thinking is no answer.
        ("<think>#### 72</think>\nShe has 60 jars left.", "60"),
        ("72 jars, no\n</think>\n60", "60"),
        ("<think>\n72-12=60", None),
        # Other questions end what counts, questions on the way do not.
        ("60\n\nQuestion: Tom has 5 pens. How many pens has he?\nAnswer: 5", "60"),
        ("#### 60\n<|im_end|>\n<|im_start|>user\nTom has 5 pens.\n#### 5", "60"),
        ("#### 60\n\nUser: Thanks! What is 2 + 2?\n\nAssistant: #### 4", "60"),
        ("There are 60 jars left.\n\nTom has 3 bags of 4 pens.\nHow many pens has he?\nHe has 12 pens.", "60"),
        ("#### 60\n\nHow many crates did she pack?\n#### 3", "60"),
        ("How many jars at first? ** 3*24 = 72\nHow many are left? ** 72-12 = 60", "60"),
        ("What is 3 times 24? 72.\nWhat is 72 minus 12? 60.\nThe answer is 60.", "60"),
        (f"Question: {LEFT}\nAnswer: 60", "60"),
        ("Tom has 5 pens and buys 2. How many pens has Tom?\n7", None),
    ],
)
def test_which_of_several_answers_counts(output: str, answer: str | None) -> None:
    found = find_answer(output, prompt=LEFT, finish_reason="stop")
    assert (found.text if found else None) == answer


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        *[
            (dress.format("A"), "A")
            for dress in ("{}", "({})", "{}.", "{})", "**{}**", "$\\text{{{}}}$", "[{}]", '"{}"')
        ],
        *[
            (f"{said} (A).", "A")
            for said in ("The answer is", "Answer:", "I choose", "The correct option is", "So it is")
        ],
        ("A) oxygen", "A"),
        ("B. carbon dioxide, as plants need it", "B"),
        ("Option A is wrong. Option B is correct.", "B"),
        ("Answer: carbon dioxide (B)", "B"),
        ("A is oxygen, so that is not it. So B.", "B"),
        ("I think the answer is C, no wait, it is B.", "B"),
        ('{"answer": "B"}', "B"),
        ("\\boxed{B}\n\nA common mistake is C.", "B"),
        ("I believe it's (b).", "B"),
        ("Oxygen (A) is given off, but carbon dioxide (B) is taken in.", "B"),
        ("carbon dioxide", "B"),
        ("The answer is carbon dioxide.", "B"),
        ("A and B", None),
        ("The answer is A, B.", None),
        ("A. oxygen\nB. carbon dioxide\nC. helium", None),
        ("vitamin A", None),
    ],
)
def test_the_option_that_an_output_names(output: str, letter: str | None) -> None:
    for expected in "ABC":
        assert score(output, expected, prompt=WHICH).flexible is (expected == letter)


@pytest.mark.parametrize(
    ("prompt", "output", "expected", "right"),
    [
        ("How many dozen eggs?", "2 dozen", "2", True),
        ("How many eggs?", "2 dozen", "2", False),
        ("How much, in millions of dollars?", "$2M", "2", True),
        ("How many hours?", "72 minutes", "72", False),
        ("How many hours?", "72 hours", "72", True),
        ("How many hours?", "72 minutes", "72 minutes", True),
        ("How high, in meters?", "8 cm", "8", False),
        ("What is 10/3?", "10/3 ≈ 3.33", "3.33", True),
        ("What is 10/3?", "10/3 ≈ 3.33", "10/3", True),
        ("What is 10/3?", "10/3 ≈ 3.33", "3", False),
        (WHICH, "B", "carbon dioxide", True),
        (WHICH, "(B) Carbon dioxide.", "B) carbon dioxide", True),
    ],
)
def test_an_answer_is_held_against_what_was_asked(prompt: str, output: str, expected: str, right: bool) -> None:
    assert score(output, expected, prompt=prompt).flexible is right


def test_what_answers_another_question_is_not_strict_either() -> None:
    assert not score("60\n\nHow many pens has Tom?\n7", "7", prompt=LEFT).strict
    assert not score("<think>\n60", "60", prompt=LEFT).strict
    assert score("<think>72</think>\n60", "60", prompt=LEFT).strict


# Pieces that patterns could search through again and again; each is repeated to the length of a long output.
LOOPS = [
    *(
        "1",
        "1 ",
        "1,",
        "123 ",
        "1.",
        "*",
        "*a",
        "_a ",
        "{",
        "\\frac{",
        "\\frac{1}{2}",
        "\\boxed{",
        "$5 ",
        "(",
        "(1,",
        "(1)",
    ),
    *(
        "[1,2)",
        "1 + ",
        "= 1 ",
        "1 ≈ ",
        "is 5 ",
        "the answer is ",
        "Answer: ",
        "#### ",
        "What is 5?\n",
        "Q: x?\n",
        "<think>",
    ),
    *(
        "<answer>",
        "\n",
        "a\n",
        " ",
        "5 or ",
        "5 to ",
        "5 hours, ",
        "five ",
        "one hundred and ",
        "x = 5, ",
        "Option A ",
        "(A) ",
    ),
    *(
        "so the 5 of ",
        "| 5 ",
        "**5** ",
        "'",
        "5:",
        "5-",
        "π",
        ". Verify ",
        "User: a\n",
        "5!",
        "May 5 ",
        "since 5 is 5. ",
    ),
]


@pytest.fixture
def limited() -> Iterator[None]:
    """Ends a test that takes 20 seconds of processor time: not its time is tested, but that it comes to an end."""

    def end(*_: object) -> None:
        raise TimeoutError("20 s of processor time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, 20)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("piece", LOOPS)
def test_a_long_loop_is_scored_in_linear_time(piece: str) -> None:
    output = (piece * (20_000 // len(piece)))[:20_000]
    for prompt, finish_reason in ((LEFT, "stop"), (WHICH, "length")):
        score(output, "5", prompt=prompt, finish_reason=finish_reason, match=["exact", "normalised", "number"])
    assert value(output) is None or len(output) < 100


def test_unknown_names_are_refused_with_the_valid_ones() -> None:
    for wrong in ({"extract": ["last_word"]}, {"strict": "last_word"}, {"match": ["last_word"]}):
        with pytest.raises(ConfigError, match=r"'last_word'; .*there are: .*\b(gsm8k|normalised)\b"):
            score("1", "1", **wrong)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [("", (0, 0)), ("a", (0, 0)), ("ab", (0, 0)), ("xaa", (2, 1)), ("xabcabcab", (8, 3)), ("aabaab", (6, 3))],
)
def test_the_longest_repeated_suffix(text: str, suffix: tuple[int, int]) -> None:
    assert repeated_suffix(text) == suffix


@given(st.text(alphabet="ab", max_size=20))
def test_the_longest_repeated_suffix_is_what_trying_all_finds(text: str) -> None:
    fits = [
        (size, period)
        for size in range(2, len(text) + 1)
        for period in range(1, size // 2 + 1)
        if all(text[-i] == text[-i - period] for i in range(1, size - period + 1))
    ]
    longest = max((size for size, _ in fits), default=0)
    assert repeated_suffix(text) == (longest, min((p for s, p in fits if s == longest), default=0))


@settings(deadline=None)
@given(WILD, WILD, st.sampled_from(["stop", "length"]))
def test_any_output_is_scored_and_every_span_says_where(output: str, prompt: str, finish_reason: str) -> None:
    left = scoped(output, prompt, finish_reason)
    assert len(left) == len(output)
    assert all(kept in (char, "\n") for kept, char in zip(left, output, strict=True))
    judged = score(output, "5", prompt=prompt, finish_reason=finish_reason, match=["exact", "normalised", "number"])
    if judged.extraction:
        assert left[slice(*judged.extraction.span)] == judged.extraction.text or judged.strict
    for name in DEFAULT_CHAIN:
        found = EXTRACTORS[name](output, prompt)
        assert found is None or output[slice(*found.span)] == found.text


@settings(deadline=None)
@given(WILD, WILD)
def test_matching_is_symmetric_and_an_answer_matches_itself(left: str, right: str) -> None:
    for name in ("exact", "normalised", "number"):
        assert MATCHERS[name](left, right) == MATCHERS[name](right, left)
    assert MATCHERS["exact"](left, left)
