import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from stagewise.cli import main


def plan(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["plan", "--config", *map(str, arguments)])


def test_the_plan_names_the_orders_that_are_trained(finished: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # no server is asked
    done = plan(finished.config, "--json")
    assert done.exit_code == 0, done.output
    planned = {(each["arm"], phase["phase"]): phase for each in json.loads(done.output) for phase in each["phases"]}
    manifests = [
        json.loads(
            finished.client.download_artifacts(run.info.run_id, "manifest.json", str(tmp_path))
            and (tmp_path / "manifest.json").read_bytes()
        )
        for run in finished.runs("train")
    ]
    trained = {(each["facts"]["arm"], each["facts"]["phase"]): each["facts"] for each in manifests}
    assert trained.keys() - planned.keys() == {("base", 0)}
    for key, phase in planned.items():
        assert phase["order_sha256"] == trained[key]["order_sha256"]
        assert phase["steps"] == len(phase["order"]) == trained[key]["counted"]["optimizer_steps"]
        assert phase["tokens"] == trained[key]["counted"]["tokens"]
    said = {each["arm"]: each["separations"] for each in json.loads(done.output)}
    assert all(facts["separations"] == said[arm] for (arm, phase), facts in trained.items() if phase)


def test_the_table_and_the_sentences(write_config: Any, store: Any) -> None:
    done = plan(write_config(arms=["curriculum", "shuffled", "flat"], seeds=[1, 2]))
    lines = done.output.splitlines()
    assert lines[0].split() == [
        "seed",
        "arm",
        "phase",
        "stages",
        "examples",
        "steps",
        "tokens",
        "epochs",
        "order",
        "sha256",
    ]
    assert len(lines) == 1 + 2 * (3 + 3 + 1) + 1 + 3
    assert lines[-3] == "curriculum: what the others are held against"
    assert lines[-2].startswith("shuffled: a control, order alone")
    assert lines[-1].startswith("flat: a baseline; beside order: learning-rate schedule and optimizer start afresh")


def test_an_example_that_the_model_has_no_room_for_is_one_line(write_config: Any, store: Any) -> None:
    done = plan(write_config(model={"scratch": {"max_positions": 40}}))
    assert done.exit_code == 2
    assert re.fullmatch(
        r"TrainingError: stage \w, line \d+: found \d+ tokens, expected at most the 40 that the model .*",
        done.stderr.strip(),
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"arms": {"curriculum": {"budget": "own", "epochs": 1}}}, "only flat can have a budget of its own"),
        (
            {"arms": {"curriculum": None, "flat": {"budget": "own", "epochs": 1}}, "primary": {"against": "flat"}},
            "flat has a budget of its own, so it can show nothing about order",
        ),
        ({"training": {"batch_size": 8, "processes": 3}}, "batch_size 8 must be a multiple of processes"),
        ({"training": {"processes": 4, "machines": 3}}, "processes 4 must be a multiple of machines"),
        ({"training": {"strategy": "fsdp", "torch_compile": True}}, "strategy fsdp works without torch_compile"),
    ],
)
def test_a_config_that_cannot_be_is_one_line(changes: Any, line: str, write_config: Any) -> None:
    done = plan(write_config(**changes))
    assert done.exit_code == 2
    assert line in done.output
    assert len(done.output.splitlines()) <= 2
