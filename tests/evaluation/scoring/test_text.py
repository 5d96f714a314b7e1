"""Texts as tokens: nothing but white space is lost, and a word stays one whatever script it is written in."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewise.evaluation.scoring.text import tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is 2.5 × 4?", ["what", "is", "2.5", "×", "4", "?"]),
        ("snake_case __init__", ["snake", "_", "case", "_", "_", "init", "_", "_"]),
        ("x_1 = ____", ["x", "_", "1", "=", "_", "_", "_", "_"]),
        ("किताब की कीमत 5", ["किताब", "की", "कीमत", "5"]),  # vowel signs after and around their consonants
        ("বাংলা தமிழ் ภาษาที่", ["বাংলা", "தமிழ்", "ภาษาที่"]),
        ("مُحَمَّد שָׁלוֹם", ["مُحَمَّد", "שָׁלוֹם"]),  # vowel points
        ("می\u200cخواهم क्\u200dष", ["می\u200cخواهم", "क्\u200dष"]),  # joiners inside a word
        ("Café a\u0323\u0301", ["café", "ạ́"]),
        ("e\u0301té", ["été"]),  # é in one sign or two
        ("x² ½ 1⃣", ["x", "²", "½", "1", "⃣"]),
        (" \n\t", []),
    ],
)
def test_numbers_words_and_single_signs(text: str, expected: list[str]) -> None:
    assert tokens(text) == [unicodedata.normalize("NFC", each) for each in expected]


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from(" \n\t")))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    whole = unicodedata.normalize("NFC", text.lower())
    assert "".join(tokens(text)) == "".join(whole.split())


@given(st.text(alphabet=st.characters(categories=["L", "M"]), min_size=1))
def test_composed_and_decomposed_are_the_same_words(text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert tokens(composed) == tokens(decomposed)


@given(st.text(alphabet=st.characters(categories=["L"]), min_size=1), st.text(alphabet=st.characters(categories=["M"])))
def test_marks_stay_on_their_word(letters: str, marks: str) -> None:
    assert len(tokens(letters + marks)) == 1
