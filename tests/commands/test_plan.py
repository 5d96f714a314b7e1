import json
import re
from typing import Any

import pytest
import yaml
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
    assert lines[-2].startswith("shuffled: a control, only order differs")
    assert lines[-1].startswith("flat: a baseline; beside order: learning-rate schedule and optimizer start afresh")


def test_an_example_that_the_model_has_no_room_for_is_one_line(write_config: Any, store: Any) -> None:
    done = plan(write_config(model={"scratch": {"max_positions": 40}}))
    assert done.exit_code == 2
    assert re.fullmatch(
        r"TrainingError: stage \w, line \d+: found \d+ tokens, expected at most the 40 that the model .*",
        done.stderr.strip(),
    )


def test_text_that_spells_a_special_token_is_found_here_already(write_config: Any, store: Any, tmp_path: Any) -> None:
    item = {"id": "e-7", "prompt": "Is <eos> a word?", "expected_answer": "no"}
    (tmp_path / "eval.jsonl").write_text(json.dumps(item) + "\n")
    config = yaml.safe_load(write_config().read_text())
    config["data"]["eval"] = {"path": "eval.jsonl"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = plan(tmp_path / "config.yaml")
    assert done.exit_code == 2
    assert done.stderr.startswith("DataError: eval item e-7: the text spells the special token '<eos>'; ")
    config["training"]["special_tokens_in_text"] = "text"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert plan(tmp_path / "config.yaml").exit_code == 0


def test_a_probe_tries_the_model_and_times_three_updates(write_config: Any, store: Any) -> None:
    config = write_config(arms=["flat"])
    done = plan(config, "--probe")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[-6] == "self-check: LlamaForCausalLM, decoding select, training joined"
    assert [line.split()[:2] for line in lines[-4:-1]] == [["flat", f"1.{number}"] for number in (1, 2, 3)]
    total = lines[1].split()[6]
    assert re.fullmatch(
        rf"training: about [\d.]+ min for {total} tokens at [\d,]+ tokens/s, in one process on cpu.*", lines[-1]
    )
    probed = json.loads(plan(config, "--probe", "--json").output)
    assert probed["plan"] == json.loads(plan(config, "--json").output)
    assert probed["probe"]["self_check"]["decoding"] == "select"
    assert len(probed["probe"]["updates"]) == 3


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
        ({"training": {"strategy": "fsdp", "torch_compile": True}}, "strategy fsdp does not work with torch_compile"),
    ],
)
def test_a_config_that_cannot_be_is_one_line(changes: Any, line: str, write_config: Any) -> None:
    done = plan(write_config(**changes))
    assert done.exit_code == 2
    assert line in done.output
    assert len(done.output.splitlines()) <= 2
