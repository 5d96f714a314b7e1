"""Whatever one thing of a finished study is deleted: the same command leaves a record that is whole, or refuses."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner
from conftest import TINY, Finished, Store, merged
from helpers.commands import is_a_users_mistake, stagewise
from helpers.studies import copied as copy_of
from mlflow.cli import gc
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from stagewise import pipeline
from stagewise.commands import verify
from stagewise.errors import UserError
from stagewise.hashing import folder_digests
from stagewise.tracking import eval_traces
from stagewise.tracking.store import connect

# A chain of two phases, and another arm from the same base.
STUDY = merged(
    TINY,
    {
        "data": {"train": {"generate": {"seed": 1, "count": 16}}, "eval": {"generate": {"seed": 2, "count": 2}}},
        "evaluation": {"max_new_tokens": 2},
    },
) | {
    "split": {
        "stages": [
            {"name": "a", "rules": [{"category": ["synthetic", "golden_style"]}]},
            {"name": "b", "rules": [{"category": ["reasoning", "edge_case"]}]},
        ]
    }
}


class Study(NamedTuple):
    """A finished study of a test's own."""

    store: Store
    config: Path
    run_id: str
    client: Any
    runs: dict[str, str]  # ids by name: "split", "c1 train", "pipeline"
    models: dict[str, str]  # ids by the name of the checkpoint

    @property
    def experiment_id(self) -> str:
        return str(self.client.get_run(self.run_id).info.experiment_id)

    def version(self, alias: str) -> str:
        return str(self.client.get_model_version_by_alias("tiny", alias).version)

    def artifacts(self, run: str) -> Path:
        return Path(self.client.get_run(self.runs[run]).info.artifact_uri.removeprefix("file://"))

    def files(self, model: str) -> Path:
        return Path(self.client.get_logged_model(self.models[model]).artifact_location.removeprefix("file://"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("original")
    (folder / "mlflow.db").write_bytes(fresh_database)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    store = Store(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        run_id = pipeline.run(config)
        finished = Finished(store, config, run_id, connect())
        kinds = {kind: finished.runs(kind) for kind in ("pipeline", "split", "train", "eval", "report")}
        runs = {
            f"{run.info.run_name[:2]} {kind}" if kind in ("train", "eval") else kind: run.info.run_id
            for kind, found in kinds.items()
            for run in found
        }
        models = {
            finished.client.get_logged_model(output.model_id).name: output.model_id
            for run in kinds["train"]
            for output in run.outputs.model_outputs
        }
        yield Study(store, config, run_id, finished.client, runs, models)


def copied(original: Study, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The study on a store of its own, in the folder, which is the one that is named by the environment then."""
    store = copy_of(original.store, folder)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    _artifact_repos_cache.clear()  # in which MLflow remembers, by the id, where a run's files are
    return original._replace(store=store, client=connect())


@pytest.fixture
def study(original: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return copied(original, tmp_path, monkeypatch)


# --- what can be deleted ------------------------------------------------------------------------


class Thing(NamedTuple):
    """One thing of a study, and of whom."""

    kind: str
    of: str = ""
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self))


def delete_run(study: Study, thing: Thing) -> None:
    study.client.delete_run(study.runs[thing.of])


def delete_run_for_good(study: Study, thing: Thing) -> None:
    delete_run(study, thing)
    done = CliRunner().invoke(gc, ["--backend-store-uri", study.store.uri])
    assert done.exit_code == 0, done.output


def delete_file_of_run(study: Study, thing: Thing) -> None:
    (study.artifacts(thing.of) / thing.name).unlink()


def delete_files_of_run(study: Study, thing: Thing) -> None:
    shutil.rmtree(study.artifacts(thing.of))


def delete_tag_of_run(study: Study, thing: Thing) -> None:
    study.client.delete_tag(study.runs[thing.of], thing.name)


def delete_traces(study: Study, thing: Thing) -> None:
    eval_traces.remove(study.client, study.experiment_id, study.runs[thing.of])


def delete_model(study: Study, thing: Thing) -> None:
    study.client.delete_logged_model(study.models[thing.of])


def delete_file_of_model(study: Study, thing: Thing) -> None:
    (study.files(thing.of) / thing.name).unlink()


def delete_tag_of_model(study: Study, thing: Thing) -> None:
    study.client.delete_logged_model_tag(study.models[thing.of], thing.name)


def delete_version(study: Study, thing: Thing) -> None:
    study.client.delete_model_version("tiny", study.version(thing.of))


def delete_tag_of_version(study: Study, thing: Thing) -> None:
    study.client.delete_model_version_tag("tiny", study.version(thing.of), thing.name)


def delete_alias(study: Study, thing: Thing) -> None:
    study.client.delete_registered_model_alias("tiny", thing.of)


def delete_registered_model(study: Study, thing: Thing) -> None:
    study.client.delete_registered_model("tiny")


def delete_experiment(study: Study, thing: Thing) -> None:
    study.client.delete_experiment(study.experiment_id)


DELETE: dict[str, Callable[[Study, Thing], None]] = {
    "run": delete_run,
    "run, and gc": delete_run_for_good,
    "file of run": delete_file_of_run,
    "files of run": delete_files_of_run,
    "tag of run": delete_tag_of_run,
    "traces of": delete_traces,
    "model": delete_model,
    "file of model": delete_file_of_model,
    "tag of model": delete_tag_of_model,
    "version": delete_version,
    "tag of version": delete_tag_of_version,
    "alias": delete_alias,
    "registered model": delete_registered_model,
    "experiment": delete_experiment,
}


def everything(study: Study) -> Iterator[Thing]:
    """What a study left on a server, as far as MLflow, or a hand in the artifact store, can delete it: every run, model
    and name in the registry, and of one run of each kind every file and tag."""
    for run in study.runs:
        yield from (Thing(kind, run) for kind in ("run", "run, and gc", "files of run"))
    for run in ("split", "c1 train", "c1 eval", "report", "pipeline"):
        yield from (Thing("file of run", run, path) for path in folder_digests(study.artifacts(run)))
        yield from (Thing("tag of run", run, tag) for tag in study.client.get_run(study.runs[run]).data.tags)
    yield Thing("traces of", "c1 eval")
    for model in study.models:
        yield Thing("model", model)
    logged = study.client.get_logged_model(study.models["curriculum-1-s1"])
    yield from (Thing("file of model", logged.name, path) for path in folder_digests(study.files(logged.name)))
    yield from (Thing("tag of model", logged.name, tag) for tag in logged.tags)
    for alias in ("curriculum-s1", "flat-s1"):
        yield from (Thing("version", alias), Thing("alias", alias))
    tags = study.client.get_model_version("tiny", study.version("flat-s1")).tags
    yield from (Thing("tag of version", "flat-s1", tag) for tag in tags)
    yield from (Thing("registered model"), Thing("experiment"))


def holds_again(study: Study) -> str:
    """What came of the same command: the new record is whole, or it was refused with what restores it."""
    try:
        run_id = pipeline.run(study.config)
    except UserError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert re.fullmatch(r".* mlflow (runs restore --run-id|experiments restore --experiment-id) \w+.*", said), said
        return "refused"
    verdict = verify.check(run_id)
    assert verdict.whole, str(verdict)
    experiments = [each.experiment_id for each in study.client.search_experiments()]
    assert {run.info.status for run in study.client.search_runs(experiments)} == {"FINISHED"}
    return run_id


SAMPLE = [
    Thing("run", "split"),
    Thing("run", "f1 eval"),
    Thing("run, and gc", "c2 train"),
    Thing("file of run", "c2 eval", "manifest.json"),
    Thing("model", "curriculum-2-s1"),
    Thing("tag of run", "c1 train", "stagewise.arm"),
    Thing("tag of version", "flat-s1", "weights_sha256"),
    Thing("registered model"),
    Thing("experiment"),
]


@pytest.mark.parametrize("thing", SAMPLE, ids=str)
def test_one_thing_is_deleted_and_the_same_command_leaves_a_whole_record_or_refuses(study: Study, thing: Thing) -> None:
    DELETE[thing.kind](study, thing)
    assert (holds_again(study) == "refused") == (thing.kind == "experiment")


@pytest.mark.slow
def test_whatever_one_thing_is_deleted(original: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = []
    for number, thing in enumerate(everything(original)):
        study = copied(original, tmp_path / str(number), monkeypatch)
        DELETE[thing.kind](study, thing)
        try:
            holds_again(study)
        except AssertionError as error:
            broken.append(f"{thing}: {error}")
        shutil.rmtree(tmp_path / str(number))
    assert broken == []


def test_a_run_that_is_restored_after_its_step_was_done_again_leaves_both_records_whole(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = study.runs["c1 train"]
    study.client.delete_run(gone)
    again = holds_again(study)
    said = capsys.readouterr().out
    assert f"! c1 s1 train · curriculum: run {gone}, which did this, is deleted; it is done again" in said
    # What it was not made from is done again; the rest is found.
    found = {line.split(":")[0][2:] for line in said.splitlines() if line.startswith("= ")}
    assert found == {"split", "b0 s1 train · base", "b0 s1 eval · base", "f1 s1 train · flat", "f1 s1 eval · flat"}
    study.client.restore_run(gone)
    assert verify.check(study.run_id).whole
    assert verify.check(again).whole
    pipeline.run(study.config)
    assert "10 of 10 steps reused" in capsys.readouterr().out


def test_a_step_of_which_an_ancestor_is_gone_is_refused(study: Study) -> None:
    base, split = study.runs["b0 train"], study.runs["split"]
    which = ["--config", str(study.config), "--split-run", split]
    commands = [
        ["eval", *which, "--train-run", study.runs["c2 train"]],
        ["train", *which, "--arm", "curriculum", "--phase", "2", "--seed", "1", "--init-run", study.runs["c1 train"]],
        ["report", "--run-id", study.run_id],
    ]
    study.client.delete_run(base)
    for command in commands:
        is_a_users_mistake(stagewise(*command), f"run {base} is deleted: mlflow runs restore --run-id {base}")
    study.client.restore_run(base)
    study.client.delete_logged_model(study.models["base-0-s1"])
    for command in commands:
        is_a_users_mistake(
            stagewise(*command), f"run {base}: its model {study.models['base-0-s1']} is deleted; give main"
        )
