"""Bad input to an evaluation ends the study with one line and exit code 2, and of it nothing is counted."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from conftest import TINY, merged
from helpers.chat import Fake, completion
from helpers.models import loaded

from stagewise.cli import main
from stagewise.data.traces import Step, trace_line
from stagewise.model import loading
from stagewise.tracking.store import connect

ITEM = {"id": "e-1", "prompt": "What is 2+2?", "expected_answer": "4"}


def fails(folder: Path, changes: dict[str, Any], *sections: dict[str, Any], code: int = 2) -> str:
    """Runs the tiny study with the changes and returns its one line; `sections` replace whole ones."""
    value = merged(TINY | {"arms": ["flat"]}, changes)
    for section in sections:
        value |= section
    (folder / "config.yaml").write_text(yaml.safe_dump(value))
    done = CliRunner().invoke(main, ["main", "--config", str(folder / "config.yaml")])
    assert done.exit_code == code, done.output
    client = connect()
    (experiment,) = [found for found in client.search_experiments() if found.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED"}
    for run in runs:
        kind = run.data.tags["stagewise.kind"]
        assert kind not in ("eval", "pipeline") or run.info.status == "FAILED"
        assert not [name for name in run.data.metrics if name.startswith(("eval/", "final/"))]
        assert not [entry for entry in client.list_artifacts(run.info.run_id) if "predictions" in entry.path]
    assert len(client.search_traces(locations=[experiment.experiment_id])) == 0
    (line,) = done.stderr.splitlines()
    return str(line)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([ITEM, {"id": "e-2", "prompt": "What is 3+3?"}], 'line 2, field "expected_answer": found nothing, expected a'),
        ([ITEM, ITEM], 'line 2, field "id": found the string "e-1" again, expected an id of its own (line 1 has'),
        ([ITEM | {"prompt": "what is  1 + 1"}], "traces.jsonl: line 1 asks what item e-1 of eval.jsonl asks (folded)"),
        ([], "eval.jsonl: found an empty file"),
    ],
)
def test_of_an_eval_set(store: Any, tmp_path: Path, items: list[dict[str, Any]], expected: str) -> None:
    lines = [trace_line(f"What is {n}+{n}?", [Step("s", "x")], "1", {"category": "synthetic"}) for n in (1, 2)]
    lines += [trace_line(f"And {n}?", [Step("s", "x")] * n, "1", {"category": "reasoning"}) for n in (2, 4)]
    (tmp_path / "traces.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (tmp_path / "eval.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    data = {"train": {"path": "traces.jsonl"}, "eval": {"path": "eval.jsonl"}}
    assert expected in fails(tmp_path, {}, {"data": data})


def test_of_a_config(store: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(merged(TINY, {"evaluation": {"extract": ["telepathy"]}})))
    done = CliRunner().invoke(main, ["main", "--config", str(tmp_path / "config.yaml")])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "evaluation.extract.0: found 'telepathy': no extractor 'telepathy'; there are: answer_is, boxed" in line


@pytest.mark.parametrize(
    ("reply", "error", "expected", "code"),
    [
        ((401, b"no key"), "RefusalError", "HTTP 401 Unauthorized: no key", 2),
        (None, "ServerError", "no answer within 0.2 s; tried 1 times", 6),
        (
            (200, b'{"choices": [], "usage": {"completion_tokens": 0}}'),
            "ServerError",
            "expected one completion with text",
            6,
        ),
    ],
    ids=["refuses", "stalls", "returns fewer"],
)
def test_of_a_server(
    store: Any,
    tmp_path: Path,
    fake: Fake,
    reply: Any,
    error: str,
    expected: str,
    code: int,
) -> None:
    def answered(body: dict[str, Any]) -> Any:
        if len(fake.bodies) <= 2:  # the first are answered well
            return completion()
        if reply is None:
            time.sleep(0.5)
        return reply or completion()

    fake.reply = answered
    server = {"url": fake.url, "model": "{checkpoint}", "timeout": 0.2, "retries": 0, "concurrency": 1}
    line = fails(tmp_path, {"evaluation": {"engine": "openai", "server": server, "batch_size": 2}}, code=code)
    assert line.startswith(f"{error}: {fake.url}/completions: item generated-2-")
    assert expected in line


def test_of_a_model_whose_logits_are_no_numbers(store: Any, tmp_path: Path) -> None:
    made = loaded(kind="bpe")
    with torch.no_grad():
        made.model.lm_head.weight[4] = float("nan")
    loading.save(made, tmp_path / "broken")
    line = fails(tmp_path, {}, {"model": {"path": "broken"}})
    assert line == "ModelError: LlamaForCausalLM: its logits are not finite; the checkpoint is broken"


@pytest.mark.parametrize("place", ["trace", "item"])
def test_of_text_that_spells_a_special_token(store: Any, tmp_path: Path, place: str) -> None:
    """Found before anything is trained, in the eval set too."""
    prompts = ["What is one?", "What is <eos>?" if place == "trace" else "What is two?"]
    lines = [trace_line(prompt, [Step("s", "x")], "1", {"category": "synthetic"}) for prompt in prompts]
    item = ITEM | ({"prompt": "Is <pad> odd?"} if place == "item" else {})
    (tmp_path / "traces.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (tmp_path / "eval.jsonl").write_text(f"{json.dumps(item)}\n")
    data = {"train": {"path": "traces.jsonl"}, "eval": {"path": "eval.jsonl"}}
    split = {"stages": [{"name": "a", "rules": [{"category": ["synthetic"]}]}]}
    line = fails(tmp_path, {}, {"data": data, "split": split})
    where = {"trace": "stage a, source row 1", "item": "eval item e-1"}[place]
    token = {"trace": "<eos>", "item": "<pad>"}[place]
    assert line.startswith(f"DataError: {where}: the text spells the special token '{token}'; take it out, or set")
    client = connect()
    (experiment,) = [found for found in client.search_experiments() if found.name == "tiny"]
    trained = [run for run in client.search_runs([experiment.experiment_id]) if run.data.params.get("arm.phase") == "1"]
    assert trained == []
