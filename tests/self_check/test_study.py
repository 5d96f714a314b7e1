"""A study of an architecture that is not decoded like a Llama: the way that was found is recorded, and used."""

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from conftest import TINY, merged
from helpers.families import wide
from helpers.models import tokenizer

from stagewise import pipeline
from stagewise.commands import verify
from stagewise.evaluation import generation
from stagewise.model import loading
from stagewise.model.loading import Loaded
from stagewise.tracking.records import download
from stagewise.tracking.store import connect


@pytest.mark.parametrize(
    ("family", "decoding"),
    [
        ("minimax", "generate"),
        pytest.param("mamba2", "select", marks=pytest.mark.slow),
        pytest.param("qwen3_next", "select", marks=pytest.mark.slow),
        pytest.param("xlstm", "one_by_one", marks=pytest.mark.slow),
    ],
)
def test_the_way_found_is_recorded_and_used_and_the_served_model_says_the_same(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, decoding: str
) -> None:
    words, used = tokenizer("bpe"), list[str]()
    made = wide(family, vocab_size=len(words), max_position_embeddings=512)
    loading.save(Loaded(made, words), tmp_path / "model")
    study = merged(
        TINY | {"arms": ["flat"]}, {"training": {"learning_rate": 1e-5}, "evaluation": {"max_new_tokens": 12}}
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(study | {"model": {"path": "model"}}))
    real = generation.Decoder.__call__

    def noted(self: generation.Decoder, prompts: Any) -> Any:
        used.append(self.decoding)
        return real(self, prompts)

    monkeypatch.setattr(generation.Decoder, "__call__", noted)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # loading the model below leaves nothing beside it
    run_id = pipeline.run(tmp_path / "config.yaml")
    client = connect()
    steps = json.loads(download(client, run_id, "steps.json"))
    facts = {
        kind: [json.loads(download(client, each, "manifest.json"))["facts"] for each in steps[kind]]
        for kind in ("train", "eval")
    }
    assert {each["self_check"]["decoding"] for each in facts["train"]} == {decoding}
    assert {each["self_check"]["architecture"] for each in facts["train"]} == {type(made).__name__}
    assert [each.get("layout") for each in facts["train"]] == [None, "padded"]
    assert {each["decoding"] for each in facts["eval"]} == {*used} == {decoding}
    rows = [json.loads(line) for line in download(client, steps["eval"][-1], "predictions.jsonl").splitlines()]
    answers = [row["resps"][0][0] for row in rows]
    assert len(set(answers)) > 3
    served = mlflow.pyfunc.load_model("models:/tiny@flat-s1")
    assert served.predict([row["doc"]["prompt"] for row in rows], params={"max_new_tokens": 12}) == answers
    assert verify.verify(run_id, None, False) == 0
