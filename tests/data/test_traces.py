import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stagewise.data.traces import (
    Dataset,
    Item,
    Step,
    Trace,
    parse_items,
    parse_traces,
    read_items,
    read_traces,
    trace_line,
)
from stagewise.errors import DataError
from stagewise.hashing import sha256

TRACE = {
    "prompt": "What is 2+2?",
    "steps": [{"i": 0, "type": "result", "content": "2+2=4"}],
    "final_answer": "4",
    "meta": {"category": "synthetic", "extra": [1.50, None]},
}
ITEM = {"id": "e-1", "prompt": "What is 2+2?", "expected_answer": "4", "section": "core"}


def encoded(*rows: object, ending: str = "\n") -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + ending for row in rows).encode()


def refused(data: bytes, *expected: str, parse=parse_traces, layout="traces") -> str:  # type: ignore[no-untyped-def]
    """The one error's text, after checking that it holds `expected`."""
    with pytest.raises(DataError) as caught:
        parse(data, "x.jsonl", layout)
    text = str(caught.value)
    assert text.startswith("x.jsonl: ")
    for part in expected:
        assert part in text
    return text


def test_a_trace_is_read_with_its_line_untouched() -> None:
    line = b'{"surprise": {"b":1,  "a":2.50}, ' + encoded(TRACE).strip()[1:]
    (trace,) = parse_traces(line + b"\n", "x.jsonl").rows
    assert trace == Trace(
        row=0,
        line=line,
        ending=b"\n",
        prompt="What is 2+2?",
        steps=(Step("result", "2+2=4"),),
        final_answer="4",
        category="synthetic",
    )
    assert trace.id == f"0:{sha256(line)}"


def test_an_item_is_read_and_what_it_may_lack_is_none() -> None:
    data = encoded(ITEM, {**ITEM, "id": "e-2", "section": None, "difficulty": "hard"})
    first, second = parse_items(data, "x.jsonl").rows
    assert (first.id, first.expected_answer, first.section, first.difficulty) == ("e-1", "4", "core", None)
    assert (second.row, second.section, second.category, second.difficulty) == (1, None, None, "hard")


def test_an_item_may_have_the_steps_of_a_solution() -> None:
    steps = [{"i": 0, "type": "sum", "content": "2+2=4"}]
    rows = parse_items(encoded(ITEM, {**ITEM, "id": "e-2", "steps": steps}), "x.jsonl").rows
    assert [item.reference for item in rows] == [None, ("2+2=4",)]
    refused(encoded({**ITEM, "steps": ["2+2=4"]}), "line 1", "steps[0]", "an object with i", parse=parse_items)


@pytest.mark.parametrize(
    ("data", "crlf", "final_newline"),
    [
        (encoded(TRACE, TRACE), 0, True),
        (encoded(TRACE, TRACE, ending="\r\n"), 2, True),
        (encoded(TRACE) + encoded(TRACE, ending="\r\n") + encoded(TRACE, ending=""), 1, False),
        (encoded(TRACE, ending="\r"), 0, False),
    ],
)
def test_line_endings_are_counted_and_kept(data: Any, crlf: Any, final_newline: Any) -> None:
    dataset = parse_traces(data, "x.jsonl")
    assert (dataset.crlf, dataset.final_newline) == (crlf, final_newline)
    assert (dataset.sha256, dataset.size) == (sha256(data), len(data))
    assert dataset.rebuilt() == data


def test_line_endings_do_not_change_what_a_trace_is() -> None:
    (lf,) = parse_traces(encoded(TRACE), "x").rows
    (crlf,) = parse_traces(encoded(TRACE, ending="\r\n"), "x").rows
    assert (lf.id, lf.line) == (crlf.id, crlf.line)


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\\r", "\x1c"])
def test_only_lf_splits(char: str) -> None:
    data = encoded({**TRACE, "prompt": "a@b"}).replace(b"@", char.encode())
    if char == "\x1c":  # a control character, which JSON wants escaped
        refused(data, "line 1", "malformed JSON")
    else:
        assert len(parse_traces(data, "x").rows) == 1


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (b'{"prompt": "a"', ["malformed JSON", "expected one JSON object"]),
        (b"", ["a blank line"]),
        (b" \t", ["a blank line"]),
        (b"[1]", ["found a list, expected one JSON object"]),
        (b'{"prompt": "\xff"}', ["byte 0xff at column 13", "expected UTF-8"]),
        (b"\xef\xbb\xbf" + encoded(TRACE).strip(), ["byte order mark"]),
        (b'{"x": NaN}', ["found NaN"]),
        (b'{"x": -Infinity}', ["found -Infinity"]),
        (b'{"x": {"a": 1, "a": 2}}', ['field "a"', "twice"]),
        (b"[" * 100_000, ["nested too deep"]),
        (b'{"x": ' + b"1" * 5000 + b"}", ["a number that cannot be read"]),
    ],
)
def test_a_line_that_is_no_object_is_named(line: Any, parts: Any) -> None:
    text = refused(encoded(TRACE) + line + b"\n" + encoded(TRACE), "line 2", *parts)
    assert "\n" not in text


def change(**fields: object) -> bytes:
    return encoded({key: value for key, value in {**TRACE, **fields}.items() if value != "ABSENT"})


@pytest.mark.parametrize(
    ("data", "field", "found", "expected"),
    [
        (change(prompt="ABSENT"), "prompt", "nothing", "a string that is not blank"),
        (change(prompt=7), "prompt", "the number 7", "a string"),
        (change(prompt=True), "prompt", "the boolean true", "a string"),
        (change(prompt=" \n"), "prompt", r'the string " \n"', "not blank"),
        (change(final_answer=None), "final_answer", "null", "a string"),
        (change(steps="ABSENT"), "steps", "nothing", "a list of steps"),
        (change(steps="2+2"), "steps", 'the string "2+2"', "a list of steps"),
        (change(steps=["2+2"]), "steps[0]", 'the string "2+2"', "an object"),
        (change(steps=[{"type": "a", "content": "b"}]), "steps[0].i", "nothing", "expected 0"),
        (change(steps=[{"i": 1, "type": "a", "content": "b"}]), "steps[0].i", "the number 1", "expected 0"),
        (change(steps=[{"i": False, "type": "a", "content": "b"}]), "steps[0].i", "false", "expected 0"),
        (change(steps=[{"i": 0, "type": "a"}]), "steps[0].content", "nothing", "a string"),
        (change(steps=[{"i": 0, "type": 3, "content": "b"}]), "steps[0].type", "the number 3", "a string"),
        (change(meta="ABSENT"), "meta", "nothing", "an object with a category"),
        (change(meta={}), "meta.category", "nothing", "a string"),
        (change(meta={"category": ["a"]}), "meta.category", "a list", "a string"),
        (change(prompt="x").replace(b'"x"', b'"\\ud800"'), "prompt", "surrogate", "UTF-8"),
    ],
)
def test_a_field_that_does_not_fit_is_named(data: Any, field: str, found: str, expected: str) -> None:
    text = refused(data, f'line 1, field "{field}": found ', found, expected)
    assert "\n" not in text


def test_all_findings_come_at_once_and_twenty_are_shown() -> None:
    text = refused(encoded(TRACE) + change(prompt="", final_answer=1) + change(meta=3) * 30, "32 findings")
    assert "line 2," in text
    assert "line 20," in text
    assert "line 21," not in text
    assert text.count("\n") == 21
    assert "32 in all" in text


@pytest.mark.parametrize("parse", [parse_traces, parse_items])
def test_an_empty_file_is_refused(parse: Any) -> None:
    refused(b"", "empty file", parse=parse)


@pytest.mark.parametrize("answer", ["ABSENT", "", "  ", 4])
def test_an_item_needs_an_answer(answer: Any) -> None:
    item = {key: value for key, value in {**ITEM, "expected_answer": answer}.items() if value != "ABSENT"}
    refused(encoded(item), "line 1", "expected_answer", parse=parse_items)


def test_an_id_stands_once_in_an_eval_set() -> None:
    data = encoded(ITEM, {**ITEM, "id": "e-2"}, ITEM)
    refused(data, 'line 3, field "id": found the string "e-1" again', "line 1 has this one", parse=parse_items)


def test_missing_ids_are_not_repeated_ids() -> None:
    text = refused(encoded({**ITEM, "id": 1}, {**ITEM, "id": 1}), "2 findings", parse=parse_items)
    assert "again" not in text


GSM8K = {
    "question": "Tom has 48 eggs and sells half. How many are left?",
    "answer": "He sells 48/2 = <<48/2=24>>24.\n\n48-24 = $<<48-24=24>>24 left.\n#### 1,024 ",
}


def test_gsm8k_solution_lines_are_the_steps() -> None:
    (trace,) = parse_traces(encoded(GSM8K), "x", "gsm8k").rows
    assert [step.content for step in trace.steps] == ["He sells 48/2 = 24.", "48-24 = $24 left."]
    assert {step.type for step in trace.steps} == {"solution"}
    assert (trace.prompt, trace.final_answer, trace.category) == (GSM8K["question"], "1,024", None)


@pytest.mark.parametrize(
    "text",
    [
        "x << 2 and y >> 1",
        "x<<2 and y>>1",
        "a << 2 == b >> 1 = c",
        "if (x<<2==y>>1)",
        "1 << 3 = 8, 16 >> 1 = 8",
        "cout << a=b >> c",
        "a <<b>> c",
        "a <<>> c",
        "<<x=3>> is HTML-like",
        "<<=3>>",
        "<<3=>>",
        "<<48/2=24",
        "48/2=24>>",
    ],
)
def test_only_a_calculators_mark_is_left_out(text: Any) -> None:
    """What is no expression with its result is text, and stays."""
    row = {
        "question": "q",
        "answer": f"{text}\n{text} so 48/2 = <<48/2=24>>24 and <<3/4=3/4>>3/4 of $<<(1+2)*.5=-1.5>>\n#### 24",
    }
    (trace,) = parse_traces(encoded(row), "x", "gsm8k").rows
    assert [step.content for step in trace.steps] == [text, f"{text} so 48/2 = 24 and 3/4 of $"]


def test_gsm8k_items_take_their_row_as_id() -> None:
    rows = parse_items(encoded(GSM8K, GSM8K), "x", "gsm8k").rows
    assert [(item.id, item.expected_answer) for item in rows] == [("gsm8k-0", "1,024"), ("gsm8k-1", "1,024")]


@pytest.mark.parametrize("answer", ["so 24", "#### 24\nbye", "so\n####", "so\n####  ", "", 24])
@pytest.mark.parametrize("parse", [parse_traces, parse_items])
def test_gsm8k_needs_a_result_at_the_end(answer: Any, parse: Any) -> None:
    refused(encoded({**GSM8K, "answer": answer}), 'field "answer"', parse=parse, layout="gsm8k")


def test_reading_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(encoded(TRACE))
    (tmp_path / "e.jsonl").write_bytes(encoded(ITEM))
    assert read_traces(tmp_path / "t.jsonl").name == "t.jsonl"
    assert read_items(tmp_path / "e.jsonl").rows[0].id == "e-1"


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        read_traces(tmp_path / name)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


texts = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
KEYS = ["prompt", "steps", "final_answer", "meta", "question", "answer", "id", "expected_answer"]
keys = st.sampled_from(KEYS)
step = st.fixed_dictionaries({"i": st.integers(0, 2), "type": texts, "content": json_values})
steps = st.lists(step, max_size=3)
near_rows = st.builds(
    lambda base, changes: {**base, **changes},
    st.sampled_from([TRACE, ITEM, GSM8K]),
    st.dictionaries(keys, json_values, max_size=2) | st.fixed_dictionaries({"steps": steps}),
)
near_lines = near_rows.map(lambda row: json.dumps(row).encode())
wild_files = st.lists(
    st.tuples(st.binary(max_size=30) | near_lines, st.sampled_from([b"\n", b"\r\n", b"\r", b"", b"\n\n"])),
    max_size=4,
).map(lambda pairs: b"".join(line + ending for line, ending in pairs))


@given(wild_files, st.sampled_from([parse_traces, parse_items]), st.sampled_from(["traces", "gsm8k"]))
@example(encoded(TRACE, ending="\r\r\n"), parse_traces, "traces")
@example(b'{"id": "\\ud800"}', parse_items, "traces")
@example(b'{"\\ud800": 1, "\\ud800": 2}', parse_traces, "traces")
@example(b'{"\\n": 1, "\\n": 2}', parse_traces, "traces")
def test_wild_bytes_are_a_dataset_that_rebuilds_them_or_one_readable_error(data: Any, parse: Any, layout: Any) -> None:
    try:
        dataset: Dataset[Trace] | Dataset[Item] = parse(data, "x.jsonl", layout)
    except DataError as error:
        text = str(error)
        assert text.encode()  # printable, whatever was found
        assert text.count("\n") in (0, *range(2, 22))  # one finding is one line, several are a list
    else:
        assert dataset.rebuilt() == data
        assert [row.row for row in dataset.rows] == list(range(len(dataset.rows)))


valid_text = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    valid_text.filter(str.strip),
    st.lists(st.builds(Step, valid_text, valid_text), max_size=4),
    valid_text,
    valid_text,
)
def test_what_is_written_is_what_is_read(prompt: str, steps: Any, answer: Any, category: Any) -> None:
    line = trace_line(prompt, steps, answer, {"category": category}, note="extra")
    (trace,) = parse_traces(line + b"\n", "x").rows
    assert trace.key == (prompt, tuple(steps), answer)
    assert (trace.category, trace.line) == (category, line)
    assert list(json.loads(line)) == ["prompt", "steps", "final_answer", "meta", "note"]
