from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY, merged

from stagewise import config
from stagewise.errors import ConfigError

SERVER = {"url": "http://a/v1", "model": "m"}
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def parsed(**changes: Any) -> config.Config:
    return config.parse(yaml.safe_dump(merged(TINY, changes)), "test.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_is_valid(path: Path) -> None:
    assert config.load(path).study == path.stem


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainig": {}}, "trainig: unknown key"),
        ({"training": {"lr": 1}}, "training.lr: unknown key"),
        ({"training": {"batch_size": "many"}}, "training.batch_size: found 'many'"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate"),
        ({"training": {"optimizer": "adafactor", "betas": [0.9, 0.98]}}, "leave them out with adafactor"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "repeats one"),
        ({"arms": ["sideways"]}, "no arm 'sideways'; there are: curriculum, flat, reversed, shuffled"),
        ({"arms": {"mine": ["a", "b"]}}, "expected each of the stages ['a', 'b', 'c'] once"),
        ({"arms": {"flat": ["a", "b", "c"]}}, "give the list another name"),
        ({"data": {"train": {"generate": {"colour": "red"}}}}, "data.train.generate.colour: unknown key"),
        ({"Colour": "red"}, "Colour: unknown key"),
        ({"training": {"batch_size": True}}, "training.batch_size: found True"),
        ({"arms": [{"mine": ["a"]}]}, "arms"),
        ({"primary": {"against": "shufled"}}, "no primary.against 'shufled'; there are: curriculum"),
        ({"data": {"train": {"path": "a", "hub": "b"}}}, "exactly one of the keys path, hub, generate"),
        ({"model": {"scratch": {"heads": 3}}}, "must be a multiple of 2 × heads"),
        ({"model": {"hub": "google/gemma-2b"}}, "exactly one of the keys"),
        ({"evaluation": {"extract": ["telepathy"]}}, "no extractor 'telepathy'; there are: answer_is, boxed"),
        ({"evaluation": {"samples_per_item": 4}}, "needs a temperature above 0"),
        ({"evaluation": {"engine": "openai"}}, "engine openai and a server belong together"),
        ({"evaluation": {"server": SERVER}}, "engine openai and a server belong together"),
        (
            {
                "evaluation": {
                    "engine": "openai",
                    "server": {"url": "http://a/v1", "model": "m"},
                    "precision": "bfloat16",
                }
            },
            "leave it out with openai",
        ),
        ({"evaluation": {"server": {"url": "http://a/v1?x=1", "model": "m"}}}, "evaluation.server.url"),
        ({"evaluation": {"server": {"url": "file:///etc/passwd", "model": "m"}}}, "evaluation.server.url"),
        ({"evaluation": {"stop": [""]}}, "evaluation.stop.0"),
        ({"split": {"unmatched": "z"}}, "no stage 'z'; there are: a, b, c"),
        ({"split": {"quantiles": {"signal": "steps", "cuts": [0.5]}}}, "leave out rules"),
    ],
)
def test_a_mistake_names_its_field_and_what_would_be_right(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(**changes)
    assert expected in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_hub_revision_must_be_a_commit() -> None:
    hub = {"hub": "openai/gsm8k", "split": "train", "revision": "main"}
    value = merged(TINY, {})
    value["data"] = {"train": hub, "eval": TINY["data"]["eval"]}
    with pytest.raises(ConfigError, match=r"data\.train\.revision: found 'main'"):
        config.parse(yaml.safe_dump(value), "test.yaml")


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(training={"batch_size": 0}, evaluation={"batch_size": 0})
    assert "2 mistakes" in str(caught.value)


def test_a_key_that_stands_twice_is_an_error() -> None:
    text = yaml.safe_dump(TINY) + "\nstudy: other\n"
    with pytest.raises(ConfigError, match="duplicate key 'study'"):
        config.parse(text, "test.yaml")


@pytest.mark.parametrize("text", ["", "[1, 2]", "study: [", "a: !!python/object:os.system {}"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"test\.yaml"):
        config.parse(text, "test.yaml")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        config.load(tmp_path / "none.yaml")


def test_arms_may_be_a_list_or_spelled_out() -> None:
    assert parsed(arms=["flat"]).arms == {"flat": None}
    spelled = parsed(arms={"curriculum": None, "middle_first": ["b", "a", "c"]})
    assert spelled.arms["middle_first"] == ("b", "a", "c")


def test_quantiles_need_one_cut_fewer_than_stages() -> None:
    stages = [{"name": "easy"}, {"name": "hard"}]
    fine = {"stages": stages, "quantiles": {"signal": "characters", "cuts": [0.5]}}
    value = merged(TINY, {})
    value["split"] = fine
    assert config.parse(yaml.safe_dump(value), "t").split.quantiles is not None
    value["split"] = {"stages": stages, "quantiles": {"signal": "characters", "cuts": [0.2, 0.5]}}
    with pytest.raises(ConfigError, match="2 stages need 1 rising cuts"):
        config.parse(yaml.safe_dump(value), "t")


def test_the_resolved_config_reads_as_the_same_config() -> None:
    first = parsed()
    assert config.parse(yaml.safe_dump(config.resolved(first)), "again") == first


def test_the_names_of_extractions_and_matches_are_those_of_scoring() -> None:
    from stagewise.evaluation import scoring

    assert set(scoring.DEFAULT_CHAIN) == set(scoring.EXTRACTORS)
    assert set(scoring.DEFAULT_MATCH) == set(scoring.MATCHERS)
