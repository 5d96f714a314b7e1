import json
from typing import Any

import pytest
from helpers.owners import ended, sleeper
from mlflow import MlflowClient

from stagewise.tracking import owners
from stagewise.tracking.store import connect, experiment


def test_a_live_owner_is_not_gone_and_a_dead_one_is() -> None:
    process, tag = sleeper()
    assert not owners.is_gone(tag)
    process.kill()
    process.wait()
    assert owners.is_gone(tag)


def test_a_process_that_got_the_same_id_is_another() -> None:
    tag = json.loads(owners.owner_tag())
    assert not owners.is_gone(json.dumps(tag))
    assert owners.is_gone(json.dumps(tag | {"started": tag["started"] - 100}))


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"table": "pid:[1]"}])
def test_of_another_machines_or_containers_process_nothing_is_said(other: dict[str, str]) -> None:
    tag = json.loads(ended())
    assert owners.is_gone(json.dumps(tag))
    assert not owners.is_gone(json.dumps(tag | other))


@pytest.mark.parametrize("tag", ["", "somebody", "[]", "{}", '{"host": 1}'])
def test_of_a_tag_that_is_none_of_ours_nothing_is_said(tag: str) -> None:
    assert not owners.is_gone(tag)


def status(client: MlflowClient, run: Any) -> str:
    return str(client.get_run(run.info.run_id).info.status)


def test_only_runs_whose_owner_is_gone_are_closed(store: Any) -> None:
    client = connect()
    study = experiment(client, "study")
    process, alive = sleeper()
    dead_run = client.create_run(study, tags={owners.OWNER: ended()})
    live_run = client.create_run(study, tags={owners.OWNER: alive})
    # Somebody else's runs, of which we know nothing, however old they are and whatever they look like.
    foreign = client.create_run(study, start_time=0)
    other = client.create_run(study, start_time=0, tags={"mlflow.project.entryPoint": "main"})
    client.log_param(other.info.run_id, "config", "configs/quickstart.yaml")
    assert owners.close_abandoned(client) == [dead_run.info.run_id]
    found = [status(client, run) for run in (dead_run, live_run, foreign, other)]
    assert found == ["KILLED", "RUNNING", "RUNNING", "RUNNING"]
    process.kill()
    process.wait()
