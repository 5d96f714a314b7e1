"""predictions.jsonl: what is written is what its JSON Schema says, and nothing else is read."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.answered import made

from stagewise.errors import DataError
from stagewise.evaluation import predictions
from stagewise.evaluation.scoring import score
from stagewise.evaluation.structure.kinds import NAMES
from stagewise.hashing import sha256
from stagewise.record import schemas

DOCS = Path(__file__).parents[2] / "docs" / "predictions.md"


SAMPLED = {"samples_per_item": 2, "temperature": 0.7}


@pytest.mark.parametrize("row", [made("2+2=4\n4"), made(""), made("5", "4", **SAMPLED)])  # type: ignore[arg-type]
def test_what_is_written_is_read_again(row: dict[str, Any]) -> None:
    assert predictions.decode(predictions.encode([row, row])) == [row, row]


def test_the_fields_of_lm_evaluation_harness_are_as_it_writes_them() -> None:
    row = made("2+2=4\n4")
    arguments = {"do_sample": False, "max_gen_toks": 128, "until": []}
    assert row["arguments"] == {"gen_args_0": {"arg_0": "What is 2+2?\n", "arg_1": arguments}}
    assert row["resps"] == [["2+2=4\n4"]]
    assert row["doc_hash"] == sha256(json.dumps(row["doc"], indent=2, ensure_ascii=False).encode())
    assert row["prompt_hash"] == sha256(b"What is 2+2?\n")


def test_a_row_holds_what_it_takes_to_score_it_again() -> None:
    row = json.loads(json.dumps(made("2+2=4\n4")))
    again = score(row["resps"][0][0], row["target"], prompt=predictions.question(row), **row["scoring"])
    assert (float(again.flexible), float(again.strict)) == (row["flexible"], row["strict"]) == (1.0, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schema": "stagewise.predictions/9"}, 'field "schema": found the string "stagewise.predictions/9", expected'),
        ({"schema": None}, 'field "schema": found null'),
        ({"finish_reason": "tired"}, 'field "finish_reason": found the string "tired", which must be one of'),
        ({"flexible": 0.5}, 'field "flexible": found the number 0.5, which must be one of'),
        ({"flexible": True}, 'field "flexible": found the boolean true'),
        ({"extraction": {"rule": "boxed"}}, 'field "extraction": found an object without span, expected it there'),
        ({"measures": {"steps": "3"}}, 'field "measures.steps": found the string "3", which must be number'),
        ({"resps": [[]]}, r'field "resps\.0": found a list'),
        ({"colour": "red"}, "must not contain {'colour'} properties"),
        ({"checkpoint_sha256": "abc"}, 'field "checkpoint_sha256"'),
    ],
)
def test_a_row_of_another_schema_is_one_line(changes: dict[str, Any], expected: str) -> None:
    good, bad = made("4"), made("4") | changes
    data = b"".join(json.dumps(row).encode() + b"\n" for row in (good, bad))
    with pytest.raises(DataError, match=expected) as caught:
        predictions.decode(data, "p.jsonl")
    assert str(caught.value).startswith("p.jsonl: line 2")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="line 2"):
        predictions.encode([good, bad])


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"schema": NaN}', b"", b'{"doc_id": 0, "doc_id": 1}'])
def test_a_line_that_is_no_object_is_one_line(line: bytes) -> None:
    with pytest.raises(DataError, match=r"^predictions\.jsonl: line 1[^\n]*: found [^\n]*$"):
        predictions.decode(line + b"\n")


def test_every_field_of_the_schema_is_documented() -> None:
    schema = json.loads(Path(schemas.__file__).with_name("predictions.json").read_text())
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in schema["properties"] if f"`{name}`" not in text] == []
    row = made("5", "4", **SAMPLED)  # type: ignore[arg-type]
    assert set(row) == set(schema["properties"])


def test_measures_are_means_over_the_items_that_have_a_value() -> None:
    rows = [made("2+2=4\n4"), made("so 2+2=5\nand 1+1=2\n4"), made("")]
    found = predictions.metrics(rows)
    assert found["eval/equations_true"] == 0.75  # of the two that state an equation: 1 and a half
    assert found["eval/steps"] == pytest.approx((2 + 3 + 0) / 3, abs=1e-6)
    # No item here has the steps of a solution.
    assert {f"eval/{name}" for name in NAMES} - set(found) == {"eval/reference_rouge_l"}


def test_the_table_has_the_same_columns_whatever_was_said() -> None:
    tables = [predictions.table([made(output)]) for output in ("2+2=4\n4", "")]
    for table in tables:
        assert table["columns"][:7] == ["item", "prediction", "expected", "flexible", "strict", "rule", "section"]
        assert set(NAMES) < set(table["columns"])
        assert [len(row) for row in table["data"]] == [len(table["columns"])]
    right, wrong = (dict(zip(table["columns"], table["data"][0], strict=True)) for table in tables)
    assert (right["item"], right["prediction"], right["rule"]) == ("[000] What is 2+2?", "4", "last_line")
    assert (right["flexible"], right["equations_true"], right["output"]) == (True, 1.0, "2+2=4\n4")
    assert (wrong["prediction"], wrong["rule"], wrong["equations_true"]) == ("[invalid]", "", None)
