"""The split step on files of a user's own: what it refuses, what it drops, and what it lists."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY

from stagewise.data.traces import Step, trace_line
from stagewise.errors import ConfigError, DataError
from stagewise.steps import common, split
from stagewise.tracking.records import Record

SHAPES = [("synthetic", 1), ("reasoning", 2), ("reasoning", 4), ("synthetic", 1)]


@pytest.fixture
def study(store: Any, tmp_path: Path) -> Any:
    """Splits four traces, the last of which repeats the first, with changes to `data` and `split`."""
    lines = [
        trace_line(f"What is {steps}+{steps}?", [Step("s", "x")] * steps, "1", {"category": category})
        for category, steps in SHAPES
    ]
    (tmp_path / "traces.jsonl").write_bytes(b"\r\n".join(lines) + b"\r\n")

    def run(prompt: str, model: Any = None, **changes: Any) -> Record:
        item = {"id": "1", "prompt": prompt, "expected_answer": "1"}
        (tmp_path / "eval.jsonl").write_text(json.dumps(item) + "\n")
        data = {"train": {"path": "traces.jsonl"}, "eval": {"path": "eval.jsonl"}, **changes.get("data", {})}
        value = TINY | {"data": data, "split": changes.get("split", TINY["split"]), "model": model or TINY["model"]}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(value))
        session = common.open_session(tmp_path / "config.yaml")
        return common.perform(session, split.specify(session))

    return run


def stats(record: Record) -> Any:
    return json.loads(record.artifact("split_stats.json"))


def test_repeats_are_kept_and_counted_or_dropped_and_listed(study: Any) -> None:
    kept = study("Another?")
    assert stats(kept)["stages"]["a"]["traces"] == 2
    assert (stats(kept)["source"]["exact_repeats"], stats(kept)["source"]["dropped"]) == (1, 0)
    dropped = study("Another?", data={"duplicates": "drop"})
    assert stats(dropped)["stages"]["a"]["traces"] == 1
    assert [entry["row"] for entry in json.loads(dropped.artifact("rows.json"))["dropped"]] == [3]


def test_a_prompt_in_both_sets_is_an_error_unless_allowed_and_then_it_is_listed(study: Any) -> None:
    prompt = "what is  2 + 2"  # the second trace's, but for case, white space and punctuation
    with pytest.raises(DataError, match=r"traces\.jsonl: line 2 asks what item 1 of eval\.jsonl asks \(folded\)"):
        study(prompt)
    allowed = study(prompt, data={"leakage": "allow"})
    assert stats(allowed)["overlap"] == [{"row": 1, "item": "1", "how": "folded"}]


def test_crlf_is_counted_and_kept_byte_for_byte(study: Any) -> None:
    record = study("Another?")
    assert stats(record)["source"]["crlf_lines"] == 4
    assert record.artifact("stages/b.jsonl").endswith(b"\r\n")


QUANTILES = {"stages": [{"name": "easy"}, {"name": "hard"}], "quantiles": {"signal": "tokens", "cuts": [0.5]}}


def test_tokens_are_counted_by_the_models_tokenizer(study: Any, tmp_path: Path) -> None:
    from helpers.models import loaded

    from stagewise.model import loading

    loading.save(loaded(), tmp_path / "mine")
    record = study("Another?", model={"path": "mine"}, split=QUANTILES)
    assert stats(record)["thresholds"] == [len("x\n1")]
    assert [stats(record)["stages"][name]["traces"] for name in ("easy", "hard")] == [2, 2]


def test_tokens_of_a_model_that_is_made_from_the_stages_cannot_decide_them(study: Any) -> None:
    with pytest.raises(ConfigError, match="use characters or steps"):
        study("Another?", split=QUANTILES)
