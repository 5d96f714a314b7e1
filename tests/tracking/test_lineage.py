"""The way back to the source, as `stagewise lineage` prints it."""

import re
from typing import Any

from conftest import Finished
from helpers.commands import is_a_users_mistake, of

from stagewise.tracking.records import read


def test_a_models_lineage_names_every_step_with_its_digest(finished: Finished) -> None:
    done = of(finished, "lineage", "models:/tiny@curriculum-s1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("models:/tiny@curriculum-s1: version ")
    runs = {run.info.run_name[:2]: run.info.run_id for kind in ("train", "split") for run in finished.runs(kind)}
    for name in ("c3", "c2", "c1", "b0", "sp"):
        kind = "split" if name == "sp" else "train"
        record = read(finished.client, runs[name], kind)
        assert f"run {record.run_id}, manifest sha256 {record.digest}" in done.stdout
        if model := record.manifest.outputs.model:
            assert f"models:/{model.model_id}, weights sha256 {model.weights_sha256}" in done.stdout
    split = read(finished.client, runs["sp"], "split")
    assert f"dataset source generated-1: sha256 {split.manifest.facts['source']['sha256']}, 40 rows" in done.stdout
    assert done.stdout.count(f"run {runs['sp']}") == 4  # each train step came from it
    assert done.stdout.count("(above)") == 3  # and it is told once
    assert runs["f1"] not in done.stdout
    assert len([line for line in lines if re.search(r"code: commit \S+.*, package sha256 [0-9a-f]{64}", line)]) == 5


def test_any_run_and_any_spelling_of_a_model_will_do(finished: Finished) -> None:
    version = finished.client.get_model_version_by_alias("tiny", "flat-s1")
    trees = [of(finished, "lineage", f"models:/tiny/{version.version}"), of(finished, "lineage", version.source)]
    assert all(tree.returncode == 0 for tree in trees)
    (first, second) = (tree.stdout.splitlines()[1:] for tree in trees)
    assert first == second
    assert first[0].startswith("└─ f1 s1 train · flat: run ")
    (evaluated,) = [run for run in finished.runs("eval") if run.info.run_name.startswith("f1")]
    (trained,) = [run for run in finished.runs("train") if run.info.run_name.startswith("f1")]
    tree = of(finished, "lineage", evaluated.info.run_id).stdout
    assert tree.startswith(f"f1 s1 eval · flat: run {evaluated.info.run_id}, manifest sha256 ")
    assert f"train: f1 s1 train · flat: run {trained.info.run_id}" in tree
    report = of(finished, "lineage", finished.run_id).stdout
    for kind in ("split", "train", "eval", "report"):
        for run in finished.runs(kind):
            assert run.info.run_id in report


def test_what_is_not_there_is_one_line(finished: Finished) -> None:
    is_a_users_mistake(of(finished, "lineage", "models:/tiny@nobody"), "no such model on this tracking server")
    is_a_users_mistake(of(finished, "lineage", "models:/other/1"), "no such model on this tracking server")
    is_a_users_mistake(of(finished, "lineage", "nothing"), "no such run on this tracking server")


def test_a_manifest_that_is_another_than_the_one_named_breaks_the_tree(finished: Finished) -> None:
    from stagewise.errors import LineageError
    from stagewise.tracking import lineage

    (split,) = finished.runs("split")
    try:
        lineage.record_of(finished.client, split.info.run_id, "0" * 64)
    except LineageError as error:
        found: Any = str(error)
    assert "expected 0000" in found
