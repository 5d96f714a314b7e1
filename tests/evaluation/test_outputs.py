"""Predictions files of three formats, and everything that is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.answered import made

from stagewise.data.traces import parse_items
from stagewise.errors import DataError
from stagewise.evaluation.outputs import Output, read
from stagewise.hashing import sha256

ITEM = {"id": "x-1", "prompt": "What is 2+2?", "expected_answer": "4", "section": "core"}
ANSWER = {**ITEM, "predicted_answer": "2+2=4\n4", "correct": False}
# As lm-evaluation-harness's EvaluationTracker writes the samples of a `generate_until` task.
SAMPLE = {
    "doc_id": 0,
    "doc": {"question": "What is 2+2?", "answer": "2+2=<<2+2=4>>4\n#### 4"},
    "target": "2+2=<<2+2=4>>4\n#### 4",
    "arguments": {"gen_args_0": {"arg_0": "Question: What is 2+2?\nAnswer:", "arg_1": {"until": ["Question:"]}}},
    "resps": [["2+2=4\n4"]],
    "filtered_resps": ["[invalid]"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "doc_hash": "0" * 64,
    "prompt_hash": "0" * 64,
    "target_hash": "0" * 64,
    "exact_match": 0.0,
}
# As version 0.4.13 wrote it, with `repeats: 2` and sampling.
REAL = r"""
{"doc_id": 1, "doc": {"question": "What is 1+1?", "answer": "1+1=2\n#### 2"}, "target": "1+1=2\n#### 2", "arguments": {"gen_args_0": {"arg_0": "Question: What is 1+1?\nAnswer:", "arg_1": {"until": ["Question:"], "do_sample": true, "temperature": 0.9, "max_gen_toks": 12}}}, "resps": [["9", "tv8[5tde[6"]], "filtered_resps": ["[invalid]"], "filter": "strict-match", "metrics": ["exact_match"], "doc_hash": "1f154dfa60addc3ef55588c72b5656313bcb978fd66f3b4055f88944c01169a7", "prompt_hash": "cdd9d30eb0ab123f882941bbb55bd32f9f17996c23e05d7370a663c51ca65b8f", "target_hash": "ef565a138771931d13e16fb443cc6b0165017e1b9800b2ffd9164620ac47b9f2", "exact_match": 0.0}
"""  # noqa: E501
GROUPS = {"section": None, "category": None, "difficulty": None}
Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(*rows: Any) -> Path:
        path = tmp_path / "p.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path

    return write


def items(*changes: dict[str, Any]) -> Any:
    return parse_items("\n".join(json.dumps(ITEM | change) for change in changes or ({},)).encode(), "eval").rows


def test_our_own(written: Written) -> None:
    file = read(written(made("2+2=4\n4")))
    expected = Output("x-1", 0, "What is 2+2?", "4", "2+2=4\n4", "stop", "core", None, None)
    assert (file.format, file.outputs) == ("stagewise", (expected,))
    assert file.scoring == made("4")["scoring"]


def test_a_sample_log_of_lm_evaluation_harness_with_a_row_for_each_filter(written: Written) -> None:
    other = SAMPLE | {"filter": "flexible-extract", "filtered_resps": ["4"], "exact_match": 1.0}
    second = {"doc_id": 1, "resps": [["5"]]}
    file = read(written(SAMPLE, SAMPLE | second, other, other | second))
    expected = Output("0", 0, "What is 2+2?", "4", "2+2=4\n4", None, None, None, None)
    assert (file.format, file.scoring) == ("lm-evaluation-harness", None)
    assert file.outputs[0] == expected
    assert [output.text for output in file.outputs] == ["2+2=4\n4", "5"]


def test_a_log_that_the_harness_itself_wrote(tmp_path: Path) -> None:
    path, row = tmp_path / "samples.jsonl", json.loads(REAL)
    path.write_text(REAL.strip())
    file = read(path)
    expected = Output("1", 1, "What is 1+1?", "2", "9", None, None, None, None)
    assert (file.format, file.outputs, file.samples) == ("lm-evaluation-harness", (expected,), 2)
    # Ours has the same fields, with the hashes made alike.
    assert [name for name in row if name not in made("4")] == ["exact_match"]
    assert row["doc_hash"] == sha256(json.dumps(row["doc"], indent=2, ensure_ascii=False).encode())
    assert row["prompt_hash"] == sha256(row["arguments"]["gen_args_0"]["arg_0"].encode())
    assert row["target_hash"] == sha256(row["target"].encode())


# As versions before the named arguments wrote it: a list for each request, and two filters that it does not name.
OLDER = {name: SAMPLE[name] for name in ("doc_id", "doc", "target", "resps", "filtered_resps", "exact_match")} | {
    "arguments": [["Question: What is 2+2?\nAnswer:", {"until": ["Question:"], "do_sample": False}]]
}


def test_a_log_of_an_older_harness(written: Written) -> None:
    second = {"doc_id": 1, "resps": [["5"]], "target": 5}
    file = read(written(OLDER, OLDER | second, OLDER | {"filtered_resps": ["4"]}, OLDER | second))
    assert file.outputs[0] == Output("0", 0, "What is 2+2?", "4", "2+2=4\n4", None, None, None, None)
    assert [(output.text, output.expected) for output in file.outputs] == [("2+2=4\n4", "4"), ("5", "5")]
    (unasked,) = read(written(OLDER | {"doc": {"a": 1}})).outputs
    assert unasked.prompt == "Question: What is 2+2?\nAnswer:"


def test_a_sample_without_a_question_is_asked_what_the_model_was(written: Written) -> None:
    (output,) = read(written(SAMPLE | {"doc": {"a": 1}, "target": "Paris"})).outputs
    assert (output.prompt, output.expected) == ("Question: What is 2+2?\nAnswer:", "Paris")


def test_the_original_experiments_answers(written: Written) -> None:
    file = read(written(ANSWER))
    assert file.format == "answers"
    assert file.outputs == (Output("x-1", None, "What is 2+2?", "4", "2+2=4\n4", None, "core", None, None),)


@pytest.mark.parametrize("row", [ANSWER, {"id": "x-1", "predicted_answer": "4"}, SAMPLE, made("4")])
def test_an_eval_set_says_what_was_asked_and_expected(written: Written, row: dict[str, Any]) -> None:
    (output,) = read(written(row), items({"expected_answer": "four", "category": "sums"})).outputs
    assert (output.item, output.prompt, output.expected) == ("x-1", "What is 2+2?", "four")
    assert (output.section, output.category) == ("core", "sums")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"id": 1, "text": "4"}], "line 1: found the fields id, text, expected those of a predictions file: schema"),
        ([{}], "line 1: found the fields none, expected"),
        ([made("4") | {"schema": "stagewise.predictions/9"}], 'line 1, field "schema": found'),
        ([made("4"), ANSWER], 'line 2, field "schema": found none'),
        (
            [ANSWER, made("4") | {"item": "x-2"}],
            "line 2: found an object without id, predicted_answer, expected it there",
        ),
        ([{"id": "x-1", "predicted_answer": "4"}], 'line 1, field "prompt": found nothing.*--items'),
        ([ANSWER, ANSWER | {"id": "x-2", "predicted_answer": None}], 'line 2, field "predicted_answer": found null'),
        ([ANSWER | {"section": 3}], 'line 1, field "section": found the number 3'),
        ([ANSWER, ANSWER], "duplicate item x-1, expected one output for each item"),
        ([made("4"), made("5")], "duplicate item x-1"),
        ([SAMPLE, SAMPLE], "line 2: duplicate doc_id 0"),
        ([OLDER, OLDER, OLDER | {"doc_id": 1}], "line 3: doc_id 1 stands 1 times, expected 2, like the first"),
        ([OLDER, OLDER | {"resps": [["5"]]}], "line 2: duplicate doc_id 0"),
        ([OLDER | {"arguments": [["Q"], 3]}], 'field "arguments.1": found the number 3'),
        ([OLDER | {"arguments": [[{"until": []}]]}], 'field "arguments.0.0": found an object'),
        ([OLDER | {"arguments": []}], 'field "arguments": found a list'),
        ([SAMPLE, SAMPLE | {"filter": "flexible-extract", "resps": [["5"]]}], "line 2: duplicate doc_id 0"),
        ([SAMPLE | {"resps": [[["-1.5", "False"]]]}], 'line 1, field "resps.0.0": found a list, which must be string'),
        ([SAMPLE | {"resps": []}], 'line 1, field "resps": found a list, which must contain at least 1 items'),
        ([SAMPLE | {"resps": "4"}], 'line 1, field "resps": found the string "4", which must be array'),
        ([SAMPLE | {"arguments": "Q"}], 'field "arguments": found the string "Q", which must be object or array'),
        (
            [
                made("4"),
                made("4") | {"item": "x-2", "scoring": {"extract": ["boxed"], "match": ["exact"], "strict": "boxed"}},
            ],
            'line 2, field "scoring": found another than on line 1',
        ),
    ],
)
def test_anything_else_is_one_line(written: Written, rows: list[Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        read(written(*rows))
    assert str(caught.value).startswith("p.jsonl: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\n", b"[1]\n", b"\xff\n", b'{"id": NaN}'])
def test_a_file_that_is_no_jsonl_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=r"^p\.jsonl: [^\n]*found [^\n]*expected [^\n]*$"):
        read(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "none.jsonl")


def test_outputs_and_items_have_to_be_the_same(written: Written) -> None:
    path = written(ANSWER, ANSWER | {"id": "x-3"})
    with pytest.raises(DataError, match=r"1 items have no output, expected one for each: x-2$"):
        read(path, items({}, {"id": "x-2"}, {"id": "x-3"}))
    with pytest.raises(DataError, match=r"1 outputs have no item in the eval set, expected one for each: x-3$"):
        read(path, items({}))
    with pytest.raises(DataError, match="item x-3: found another prompt"):
        read(path, items({}, {"id": "x-3", "prompt": "What is 3+3?"}))
