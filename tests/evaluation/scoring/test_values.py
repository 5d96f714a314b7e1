"""The grammar of values: every value, in every spelling and every dress, is read back; no other value matches it."""

from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stagewise.evaluation.scoring import MATCHERS, score
from stagewise.evaluation.scoring.forms import Number, Several, Symbols, Value, same
from stagewise.evaluation.scoring.grammar import readings
from stagewise.evaluation.scoring.plain import undress
from stagewise.evaluation.scoring.values import value


def number(worth: object, unit: str = "") -> Number:
    return Number(Fraction(str(worth)), unit)


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("1,000", number(1000)),
        ("1000.0", number(1000)),
        ("12 000", number(12000)),
        ("12\u202f000", number(12000)),
        (r"12\,000", number(12000)),
        ("9{,}500", number(9500)),
        ("1,00,000", number(100000)),
        ("1.000.000", number(1000000)),
        ("1.234,56", number("1234.56")),
        ("12'000", number(12000)),
        (".5", number("0.5")),
        ("007", number(7)),
        ("-5", number(-5)),
        ("−5", number(-5)),
        ("–5", number(-5)),
        ("minus 5", number(-5)),
        ("-$5", number(-5)),
        ("1/2", number("1/2")),
        ("½", number("1/2")),
        (r"\dfrac{1}{2}", number("1/2")),
        (r"\frac12", number("1/2")),
        ("2 1/2", number("5/2")),
        ("2½", number("5/2")),
        (r"2\frac{1}{2}", number("5/2")),
        ("2 and a half", number("5/2")),
        ("two thirds", number("2/3")),
        ("3e5", number(300000)),
        ("3 × 10^5", number(300000)),
        (r"3 \times 10^{5}", number(300000)),
        ("3×10⁵", number(300000)),
        ("1.5e-3", number("0.0015")),
        ("10²", number(100)),
        ("half", number("1/2")),
        ("101_{10}", number(101)),
        ("£1.2m", number(1200000)),
        ("18/day", number(18)),
        ("10 dollars and 0 cents", number(10, "dollar")),
        ("0 hours 30 minutes", number(30, "minute")),
        ("2^10", number(1024)),
        ("2 million", number(2000000)),
        ("2.5 million dollars", number(2500000, "dollar")),
        ("5k", number(5000)),
        ("$5m", number(5000000)),
        ("2 dozen", number(24)),
        ("half a dozen", number(6)),
        ("twenty-five", number(25)),
        ("one hundred and five", number(105)),
        ("60%", number(60, "percent")),
        ("60 percent", number(60, "percent")),
        ("$31.5", number("31.5")),
        ("18 €", number(18)),
        ("72 hours.", number(72, "hour")),
        ("7 liters/min", number(7, "liter")),
        ("40 cm²", number(40, "centimeter")),
        (r"$180\text{\textdegree}$", number(180, "degree")),
        ("60 jars left", number(60)),
        ("$18 every day", number(18)),
        ("x = 5", number(5)),
        ("72 - 12 = 60", number(60)),
        ("f(2) = 5", number(5)),
        ("(60)", number(60)),
        ("about 60", number(60)),
        ("10/3 ≈ 3.33", number("10/3")),
        (r"0.1\overline{6}", number("1/6")),
        (r"\frac{1}{-2}", number("-1/2")),
        ("an hour and a half", number("3/2")),
        ("no jars left", number(0)),
        ("twice", number(2)),
        ("3 weeks, or 21 days", number(3, "week")),
        ("5th", number(5)),
        ("1 hour and 30 minutes", Several("compound", (number(1, "hour"), number(30, "minute")))),
        ("1h30m", Several("compound", (number(1, "hour"), number(30, "minute")))),
        ("5'7\"", Several("compound", (number(5, "foot"), number(7, "inch")))),
        ("5 to 7", Several("range", (number(5), number(7)))),
        ("5–7 days", Several("range", (number(5), number(7, "day")))),
        ("between 5 and 7", Several("range", (number(5), number(7)))),
        ("5 or 7", Several("list", (number(5), number(7)))),
        ("5, 7 and 9", Several("list", (number(5), number(7), number(9)))),
        ("x = 5 or x = 7", Several("list", (number(5), number(7)))),
        ("4 faces and 6 edges", Several("list", (number(4), number(6)))),
        ("3:4", Several("ratio", (number(3), number(4)))),
        ("3:15 PM", Several("time", (number(3), number(15)), "p")),
        ("3 p.m.", Several("time", (number(3), number(0)), "p")),
        ("4π", Symbols("4π", "")),
        (r"4\pi \text{ cm}^2", Symbols("4π", "")),
        (r"3\sqrt{2}", Symbols(r"3\sqrt2", "")),
        ("3√2", Symbols(r"3\sqrt2", "")),
        ("2x + 3", Symbols("2x+3", "")),
        ("y = 2x + 3", Symbols("2x+3", "")),
        ("101_2", Symbols("101_2", "")),
        ("7 R 1", Several("remainder", (number(7), number(1)))),
        ("7 r1", Several("remainder", (number(7), number(1)))),
        ("7 with a remainder of 1", Several("remainder", (number(7), number(1)))),
        ("5!", Symbols("5!", "")),
        ("[2, 5)", Symbols("[2,5)", "")),
    ],
)
def test_what_a_text_is_worth(text: str, worth: Value) -> None:
    assert value(text) == worth


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "A", "a dog", "1/0", "5 + 3", "12 × 5", "72-12", "25% of 80", "1.2.3", "1" * 5000, "9^9999"),
        *("5 March 2021", "March 5", "3/4/2021", "3-dimensional", "5 x 3", "13 squared", "0.333..."),
        *("five-year-old", "60 jars are left", "5 times as many"),
    ],
)
def test_what_is_no_value_is_text_and_no_smaller_number(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("60%", "60", True),
        ("60%", "0.6", False),
        ("60%", "3/5", False),
        ("72 hours", "72", True),
        ("72 hours", "72 h", True),
        ("72 hours", "72 minutes", False),
        ("60 mph", "60 miles per hour", True),
        ("1 hour 30 minutes", "90 minutes", False),
        ("1 hour 30 minutes", "1.5 hours", False),
        ("1 hour 30 minutes", "1:30", False),
        ("5 feet 7 inches", "5'7\"", True),
        ("5 to 7", "5-7", True),
        ("5 to 7", "5 or 7", False),
        ("5 to 7", "6", False),
        ("5 or 7", "7 or 5", True),
        ("5, 7", "5 and 7", True),
        ("5, 7", "5, 8", False),
        ("5 or 5", "5", True),
        ("3:15 PM", "3:15 p.m.", True),
        ("3:15 PM", "3:15 AM", False),
        ("3:15 PM", "3:15", True),
        ("3:15 PM", "15:15", False),
        ("3 PM", "3:00 PM", True),
        ("3:4", "3 to 4", True),
        ("3:4", "6:8", False),
        ("3:4", "3/4", False),
        ("(3, 1)", "(3,1)", True),
        ("(3, 1)", "(1, 3)", False),
        ("(2, 5)", "[2, 5]", False),
    ],
)
def test_values_match_in_their_own_form_alone(left: str, right: str, equal: bool) -> None:
    assert MATCHERS["number"](left, right) is equal
    assert MATCHERS["number"](right, left) is equal


def test_readings_take_each_number_with_all_that_it_is_part_of() -> None:
    text = "12 × 3 = 36, so 5 to 7 jars (2x + 3) of March 5 and 3-dimensional x5"
    assert [(text[each.start : each.end], each.value is not None) for each in readings(text)] == [
        ("12 × 3", False),
        ("36", True),
        ("5 to 7", True),
        ("2x + 3", True),
        ("5", False),
        ("3", False),
    ]


# --- every value in every dress -----------------------------------------------------------------


class Spelled(NamedTuple):
    text: str
    worth: Value


DIGITS = st.integers(0, 999_999_999)
UNITS = [("hours", "minutes"), ("feet", "inches"), ("pounds", "ounces"), ("weeks", "days"), ("h", "min")]


@st.composite
def whole(draw: st.DrawFn) -> Spelled:
    amount = draw(DIGITS)
    grouped = f"{amount:,}"
    separator = draw(st.sampled_from(["", ",", " ", "\u202f", "\u00a0", "{,}", r"\,", ",\\!"]))
    sign = draw(st.sampled_from(["", "-", "−", "–"]))
    return Spelled(sign + grouped.replace(",", separator), number(-amount if sign else amount))


@st.composite
def fraction(draw: st.DrawFn) -> Spelled:
    top, bottom, units = draw(st.integers(1, 98)), draw(st.integers(2, 99)), draw(st.integers(1, 99))
    kind = draw(st.sampled_from(["slash", "latex", "decimal", *(["mixed", "mixed latex"] if top < bottom else [])]))
    if kind == "decimal":
        return Spelled(f"{units}.{bottom:02}", number(f"{units}.{bottom:02}"))
    latex = draw(st.sampled_from([r"\frac", r"\dfrac", r"\tfrac"])) + f"{{{top}}}{{{bottom}}}"
    texts = {
        "slash": f"{top}/{bottom}",
        "latex": latex,
        "mixed": f"{units} {top}/{bottom}",
        "mixed latex": f"{units}{latex}",
    }
    return Spelled(texts[kind], Number(Fraction(top, bottom) + (units if kind.startswith("mixed") else 0)))


@st.composite
def scaled(draw: st.DrawFn) -> Spelled:
    base, power = draw(st.integers(1, 99)), draw(st.integers(2, 9))
    names = {"million": 10**6, "thousand": 10**3, "billion": 10**9, "dozen": 12}
    name = draw(st.sampled_from(sorted(names)))
    raised = str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return draw(
        st.sampled_from(
            [
                Spelled(f"{base} {name}", number(base * names[name])),
                Spelled(f"{base}k", number(base * 1000)),
                Spelled(f"{base}e{power}", number(base * 10**power)),
                Spelled(f"{base} × 10^{power}", number(base * 10**power)),
                Spelled(rf"{base} \times 10^{{{power}}}", number(base * 10**power)),
                Spelled(f"{base}{raised}", number(base**power)),
                Spelled(f"{base}%", number(base, "percent")),
                Spelled(f"{base} percent", number(base, "percent")),
            ]
        )
    )


@st.composite
def several(draw: st.DrawFn) -> Spelled:
    first, second = draw(st.integers(1, 11)), draw(st.integers(12, 59))
    large, small = draw(st.sampled_from(UNITS))
    named = {"hours": "hour", "h": "hour", "feet": "foot", "pounds": "pound", "weeks": "week"}
    named |= {"minutes": "minute", "min": "minute", "inches": "inch", "ounces": "ounce", "days": "day"}
    compound = Several("compound", (number(first, named[large]), number(second, named[small])))
    pair = (number(first), number(second))
    half = draw(st.sampled_from(["AM", "PM"]))
    return draw(
        st.sampled_from(
            [
                Spelled(f"{first} {large} {second} {small}", compound),
                Spelled(f"{first} {large} and {second} {small}", compound),
                Spelled(f"{first} to {second}", Several("range", pair)),
                Spelled(f"{first}–{second}", Several("range", pair)),
                Spelled(f"{first} or {second}", Several("list", pair)),
                Spelled(f"{first}, {second}", Several("list", pair)),
                Spelled(f"{first}:{second}", Several("ratio", pair)),
                Spelled(f"{first}:{second} {half}", Several("time", pair, half[0].lower())),
            ]
        )
    )


@st.composite
def symbolic(draw: st.DrawFn) -> Spelled:
    first, second = draw(st.integers(2, 99)), draw(st.integers(2, 9))
    texts = [
        rf"{first}\sqrt{{{second}}}",
        rf"{first}\pi",
        f"{first}x + {second}",
        f"{first}_{second}",
        f"{first}n^{second}",
    ]
    text = draw(st.sampled_from(texts))
    found = value(text)
    assert isinstance(found, Symbols)
    return Spelled(text, found)


VALUES = st.one_of(whole(), fraction(), scaled(), several(), symbolic())
DRESSES = {
    "plain": "{}",
    "full stop": "{}.",
    "bold": "**{}**",
    "italic": "*{}*",
    "underscores": "__{}__",
    "code": "`{}`",
    "fence": "```\n{}\n```",
    "inline": r"\({}\)",
    "display": r"\[{}\]",
    "dollars": "${}$",
    "box": r"\boxed{{{}}}",
    "box in dollars": r"$\boxed{{{}}}$.",
    "spaced box": r"\boxed {{{}}}",
    "text": r"\text{{{}}}",
    "text in a box": r"\boxed{{\text{{{}}}}}",
    "tag": "<answer>{}</answer>",
    "hashes": "so\n#### {}",
    "bold hashes": "so\n#### **{}**",
    "mark": "ANSWER: {}",
    "label": "**Answer:** {}",
    "sentence": "So the answer is {}.",
    "bold sentence": "The final answer is **{}**, as was asked.",
    "box in a sentence": r"The answer is $\boxed{{{}}}$, as was asked.",
    "statement": "so it comes to\n\nthe total is {}.",
}
CHEAP = ["exact", "normalised", "number"]
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


@settings(max_examples=300, deadline=None)
@given(VALUES, st.sampled_from(sorted(DRESSES)))
@example(Spelled("9{,}500", number(9500)), "dollars")
@example(Spelled("2 million", number(2000000)), "bold sentence")
def test_a_value_in_every_dress_is_read_back(spelled: Spelled, dress: str) -> None:
    assert value(spelled.text) == spelled.worth
    judged = score(DRESSES[dress].format(spelled.text), spelled.text, match=CHEAP)
    assert judged.flexible, judged
    assert judged.extraction is not None
    assert value(judged.extraction.text) == spelled.worth


@settings(max_examples=300, deadline=None)
@given(VALUES, VALUES, st.sampled_from(sorted(DRESSES)))
def test_another_value_never_matches_in_any_dress(spelled: Spelled, other: Spelled, dress: str) -> None:
    equal = same(spelled.worth, other.worth)
    assert score(DRESSES[dress].format(spelled.text), other.text, match=CHEAP).flexible is equal


@settings(deadline=None)
@given(whole(), st.sampled_from(["plain", "box", "sentence", "hashes", "bold"]))
def test_wide_digits_are_digits(spelled: Spelled, dress: str) -> None:
    assert score(DRESSES[dress].format(spelled.text.translate(WIDE)), spelled.text, match=CHEAP).flexible


@settings(deadline=None)
@given(
    st.sampled_from("$€£¥₹") | st.just(r"\$") | st.just("US$"), st.integers(0, 99999), st.sampled_from(sorted(DRESSES))
)
def test_currency_is_dressing(sign: str, amount: int, dress: str) -> None:
    assert score(DRESSES[dress].format(f"{sign}{amount}"), str(amount), match=CHEAP).flexible


@settings(deadline=None)
@given(st.text(alphabet=r"5,. x×()[]{}$*_`\<>#=≈/-:'\"%tfracboxed", max_size=60))
def test_a_plain_text_says_where_each_of_its_characters_came_from(text: str) -> None:
    plain = undress(text)
    assert len(plain.text) == len(plain.starts) == len(plain.ends)
    for at, sign in enumerate(plain.text):
        start, end = plain.span(at, at + 1)
        assert 0 <= start < end <= len(text)
        assert text[start:end] == sign or len(text[start:end]) > 1 or not sign.isalnum()
    assert list(plain.starts) == sorted(plain.starts)


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="5 ,.%$-/:^_x(πk", max_size=30))
def test_any_text_has_at_most_one_worth_and_it_equals_itself(text: str) -> None:
    found = value(text)
    assert found is None or same(found, found)
    assert MATCHERS["number"](text, text) is (found is not None)
