"""`stagewise score FILE`: the table, what it counts, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Finished
from helpers.answered import made

from stagewise.cli import main
from stagewise.evaluation import predictions
from stagewise.evaluation.scoring import DEFAULT_CHAIN
from stagewise.tracking.records import download


def score(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["score", *map(str, arguments)])


def everything(*arguments: Any) -> Any:
    done = score(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.mark.parametrize(
    ("name", "right"), [("m44_baseline", 17), ("post_stage_a", 22), ("post_stage_b", 53), ("post_stage_c", 53)]
)
def test_the_originals_outputs(shared: Path, name: str, right: int) -> None:
    folder = shared / "dev-reasoning-v2"
    found = everything(folder / "predictions" / f"{name}_predictions.jsonl", "--items", folder / "eval_v2.jsonl")
    whole, *groups = found["groups"]
    assert (whole["right"], whole["items"], whole["strict"]) == (right, 100, None)
    for group in ("section", "category", "difficulty"):
        of_it = [each for each in groups if each["group"] == group]
        assert (sum(each["right"] for each in of_it), sum(each["items"] for each in of_it)) == (right, 100)
        assert all(each["low"] <= each["flexible"] <= each["high"] for each in of_it)


def test_a_file_of_ours_is_scored_as_it_was(tmp_path: Path) -> None:
    rows = [
        made(output) | {"item": f"x-{number}"}
        for number, output in enumerate(["2+2=4\n4", "The answer is 4.\nThat is all there is to say", "5"])
    ]
    chain = {"extract": ["last_line"], "match": ["exact"], "strict": "last_line"}
    for scoring, right in ((rows[0]["scoring"], 2), (chain, 1)):
        path = tmp_path / "p.jsonl"
        path.write_bytes(predictions.encode([row | {"scoring": scoring} for row in rows]))
        found = everything(path)
        assert (found["groups"][0]["right"], found["scoring"]) == (right, scoring)
        assert found["groups"][0]["strict"] == pytest.approx(1 / 3)
    assert found["items"][0]["extraction"] == {"text": "4", "rule": "last_line", "span": [6, 7]}


def test_a_record_is_scored_as_it_says(finished: Finished, tmp_path: Path) -> None:
    for run in finished.runs("eval"):
        (tmp_path / "p.jsonl").write_bytes(download(finished.client, run.info.run_id, predictions.FILE))
        whole = everything(tmp_path / "p.jsonl")["groups"][0]
        assert whole["flexible"] == pytest.approx(run.data.metrics["eval/flexible"], abs=1e-6)
        assert whole["strict"] == pytest.approx(run.data.metrics["eval/strict"], abs=1e-6)


def test_the_table(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "prompt": "2+2?", "expected_answer": "4", "predicted_answer": f"{n}\n{n}\n{n}"} for n in (4, 5)
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f"{json.dumps(row | {'difficulty': 'easy'})}\n" for row in rows))
    lines = score(path).output.splitlines()
    assert lines[0] == "p.jsonl: 1 of 2 right, read as answers"
    assert "strict is not known" in lines[1]
    assert [line.split() for line in lines[3:]] == [
        ["group", "value", "right", "flexible", "95", "%", "strict"],
        ["all", "1/2", "50.0%", "9%–91%", "–"],
        ["difficulty", "easy", "1/2", "50.0%", "9%–91%", "–"],
    ]
    assert everything(path)["scoring"]["extract"] == list(DEFAULT_CHAIN)


def test_items_of_gsm8k_go_with_a_sample_log(tmp_path: Path) -> None:
    item = {"question": "What is 2+2?", "answer": "2+2=4\n#### 4"}
    sample = {"doc_id": 0, "doc": item, "target": item["answer"], "resps": [["The answer is 4."]]}
    arguments = {"gen_args_0": {"arg_0": "Q: What is 2+2?\nA:", "arg_1": {}}}
    for name, row in (("items", item), ("samples", sample | {"arguments": arguments, "filter": "none"})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    for reason, right, strict in (("stop", 1, 0.0), ("length", 0, 0.0), (None, 0, None)):  # "4." may be cut from 4.5
        said = ["--finish-reason", reason] if reason else []
        found = everything(tmp_path / "samples.jsonl", "--items", tmp_path / "items.jsonl", *said)
        assert found["items"][0]["item"] == "gsm8k-0"
        assert (found["groups"][0]["right"], found["groups"][0]["strict"]) == (right, strict)


def test_of_several_samples_the_first_is_scored_and_that_is_said(tmp_path: Path) -> None:
    row = made("4")
    path = tmp_path / "p.jsonl"
    for texts in (["4"], ["4", "5", "5"]):
        path.write_bytes(predictions.encode([row, row | {"item": "x-2", "resps": [texts]}]))
        assert (everything(path)["samples"], everything(path)["groups"][0]["right"]) == (len(texts), 2)
        said = "An item has up to 3 samples, of which only the first is scored." in score(path).output
        assert said == (len(texts) == 3)


def test_a_file_that_says_why_generation_ended_is_not_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(predictions.encode([made("4")]))
    done = score(tmp_path / "p.jsonl", "--finish-reason", "stop")
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == "DataError: p.jsonl: says itself why each output ended, expected no --finish-reason; leave it out"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"colour": "red"}', "DataError: p.jsonl: line 1: found the fields colour, expected those of a predictions"),
        (json.dumps(made("4") | {"schema": "stagewise.predictions/0"}), 'field "schema": found the string'),
        (
            json.dumps(made("4") | {"scoring": {"extract": ["telepathy"], "match": ["exact"], "strict": "boxed"}}),
            "p.jsonl: scoring: no extractor 'telepathy'; there are: answer_is, boxed",
        ),
    ],
)
def test_a_file_of_another_schema_is_one_line_and_counts_nothing(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "p.jsonl").write_text(content)
    done = score(tmp_path / "p.jsonl")
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
