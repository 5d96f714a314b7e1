"""A finished record, altered one thing at a time: each is found and named; and an untouched one is whole."""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Finished, Store
from helpers.commands import stagewise
from helpers.studies import copied

from stagewise.commands import derivation
from stagewise.commands.verify import check, verify
from stagewise.curriculum.order import decode, encode
from stagewise.errors import ConfigError
from stagewise.hashing import canonical_json, sha256, sha256_file
from stagewise.record.manifest import READERS, SCHEMA
from stagewise.tracking.runs import open_run
from stagewise.tracking.source import Server
from stagewise.tracking.store import connect
from stagewise.verification import bundle, files
from stagewise.verification.findings import Verdict
from stagewise.verification.walk import Underivable


class Held(NamedTuple):
    """A record of a test's own, moved from where it was made: files and database may be altered."""

    folder: Path
    store: Store
    finished: Finished
    runs: dict[str, str]  # ids by kind, for train and eval by the first two letters too: "train c1"
    models: dict[str, str]  # ids by the first two letters of the train run: "c1"

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    def artifact(self, run: str, path: str) -> Path:
        return self.folder / "mlruns" / "tiny" / self.runs[run] / "artifacts" / path

    def model(self, name: str, path: str) -> Path:
        return self.folder / "mlruns" / "tiny" / "models" / self.models[name] / "artifacts" / path

    def sql(self, statement: str, *values: Any) -> None:
        with contextlib.closing(sqlite3.connect(self.database)) as connection, connection:
            changed = connection.execute(statement, values).rowcount
            assert changed > 0, "the alteration changes nothing"


@pytest.fixture(scope="module")
def held(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    folder = tmp_path_factory.mktemp("held")
    store = copied(finished.store, folder)
    runs, models = {}, {}
    for kind in ("pipeline", "split", "report", "train", "eval"):
        for run in finished.runs(kind):
            name = run.info.run_name[:2]
            runs[f"{kind} {name}" if kind in ("train", "eval") else kind] = run.info.run_id
            if kind == "train":
                models[name] = run.outputs.model_outputs[0].model_id
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        yield Held(folder, store, Finished(store, finished.config, finished.run_id, connect()), runs, models)


@contextlib.contextmanager
def restored(held: Held) -> Iterator[None]:
    """The database as it was before; files are put back by those who alter them."""
    with contextlib.closing(sqlite3.connect(":memory:")) as kept:
        with contextlib.closing(sqlite3.connect(held.database)) as connection:
            connection.backup(kept)
        try:
            yield
        finally:
            with contextlib.closing(sqlite3.connect(held.database)) as connection:
                kept.backup(connection)


@contextlib.contextmanager
def altered(*paths: Path) -> Iterator[None]:
    before = {path: path.read_bytes() if path.exists() else None for path in paths}
    try:
        yield
    finally:
        for path, data in before.items():
            if data is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


def test_an_untouched_record_is_whole_after_its_server_was_moved(held: Held) -> None:
    verdict = check(held.runs["pipeline"])
    assert verdict.whole, verdict.breaks
    assert len(verdict.found) == 0
    assert verdict.exit_code == 0
    # Every run of the study was walked, and every file of each was hashed.
    assert {node.run_id for node in verdict.root.walk()} == set(held.runs.values())
    names = [path for path in (held.folder / "mlruns").rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert verdict.files == len(names)
    assert verdict.bytes == sum(path.stat().st_size for path in names)


@pytest.mark.parametrize("target", ["split", "train b0", "train c3", "eval f1", "report"])
def test_any_run_is_verified_with_what_it_was_made_from(held: Held, target: str) -> None:
    verdict = check(held.runs[target])
    assert verdict.whole, verdict.breaks


def test_a_registered_model_is_verified_by_its_name(held: Held) -> None:
    verdict = check("models:/tiny@curriculum-s1")
    assert verdict.whole, verdict.breaks
    assert verdict.root.title == "models:/tiny/1"
    assert check(f"models:/{held.models['c1']}").whole


# --- one thing altered at a time ----------------------------------------------------------------

Alter = Callable[[Path], None]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def remove(path: Path) -> None:
    path.unlink()


def add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not from here")


def crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def reorder(path: Path) -> None:
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))


def edit(before: str, after: str) -> Alter:
    def change(path: Path) -> None:
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))

    return change


def long_header(path: Path) -> None:
    """A header that is said to be longer than any memory."""
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)


FILES = [
    ("split", "split", "stages/a.jsonl", flip, ""),
    ("split", "split", "stages/b.jsonl", crlf, "only line endings differ"),
    ("split", "split", "stages/c.jsonl", reorder, ""),
    ("split", "split", "stages/d.jsonl", add, "it was added"),
    ("split", "split", "eval.jsonl", cut, "7 bytes shorter"),
    ("split", "split", "rows.json", flip, ""),
    ("split", "split", "split_stats.json", remove, "it is missing"),
    ("split", "split", "split_criteria.md", flip, ""),
    ("split", "split", "histogram.png", flip, ""),
    ("split", "split", "config/asked.yaml", edit("count: 40", "count: 41"), ""),
    ("split", "split", "config/resolved.json", flip, ""),
    ("split", "split", "manifest.json", edit('"rows":', '"rows" :'), ""),
    ("train c1", "train c1", "manifest.json", remove, "it is missing"),
    ("train c1", "train c1", "order.npy", flip, ""),
    ("train c1", "train c1", "curve.json", cut, ""),
    ("train c1", "train c1", "environment.json", remove, "it is missing"),
    ("eval c1", "train c1", "order.npy", flip, ""),  # of the run below
    ("eval c1", "eval c1", "predictions.jsonl", edit('"flexible": 0.0', '"flexible": 1.0'), ""),
    ("eval c1", "eval c1", "eval_table.json", flip, ""),
    ("report", "report", "comparison.json", flip, ""),
    ("report", "report", "report.md", edit("0.0%", "9.9%"), ""),
    ("report", "report", "accuracy.png", cut, ""),
    ("pipeline", "pipeline", "steps.json", flip, ""),
    ("pipeline", "pipeline", "report/report.md", flip, ""),
    ("pipeline", "pipeline", "report/extra.html", add, "it was added"),
]


@pytest.mark.parametrize(
    ("target", "run", "path", "alter", "why"), FILES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_altered_artifact_is_named(held: Held, target: str, run: str, path: str, alter: Alter, why: str) -> None:
    place = held.artifact(run, path)
    with altered(place):
        alter(place)
        names(check(held.runs[target]), held.runs[run], f"artifact {path}", why)


def names(verdict: Verdict, run_id: str, where: str, why: str = "", exit_code: int = 4) -> None:
    """The verdict is broken, and says where, in a finding of this run."""
    assert verdict.exit_code == exit_code, verdict.breaks
    found = [finding for node, finding in verdict.found if node.run_id == run_id and finding.where == where]
    assert found, verdict.breaks
    assert found[0].found != found[0].expected
    assert why in found[0].why


MODEL_FILES = [
    ("model/model.safetensors", flip, ""),
    ("model/model.safetensors", cut, "7 bytes shorter"),
    ("model/model.safetensors", long_header, ""),
    ("model/config.json", flip, ""),
    ("model/config.json", remove, "it is missing"),
    ("components/tokenizer/tokenizer.json", remove, "it is missing"),
    ("model/generation_config.json", remove, "it is missing"),
    ("completion.py", edit("do_sample=False", "do_sample=True"), ""),
    ("MLmodel", flip, ""),
    ("model/pytorch_model.bin", add, "it was added"),
]


@pytest.mark.parametrize(
    ("path", "alter", "why"), MODEL_FILES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_altered_file_of_a_model_is_named(held: Held, path: str, alter: Alter, why: str) -> None:
    place = held.model("c1", path)
    with altered(place):
        alter(place)
        names(check(held.runs["train c1"]), held.runs["train c1"], f"model curriculum-1-s1, file {path}", why)


def test_swapped_files_are_named_on_both_sides(held: Held) -> None:
    one, other = (held.model(name, "model/model.safetensors") for name in ("c2", "c1"))
    with altered(one, other):
        data = one.read_bytes(), other.read_bytes()
        other.write_bytes(data[0])
        one.write_bytes(data[1])
        verdict = check(held.runs["train c2"])
        for name in ("c1", "c2"):
            names(verdict, held.runs[f"train {name}"], f"model curriculum-{name[1]}-s1, file model/model.safetensors")


def test_the_predictions_of_two_checkpoints_swapped_are_named(held: Held) -> None:
    one, other = (held.artifact(name, "predictions.jsonl") for name in ("eval c1", "eval b0"))
    with altered(one):
        one.write_bytes(other.read_bytes())
        names(check(held.runs["eval c1"]), held.runs["eval c1"], "artifact predictions.jsonl")


# (run, statement with a place for the run's id, where, why)
ROWS = [
    (
        "train c1",
        "UPDATE params SET value = '9' WHERE run_uuid = ? AND key = 'training.batch_size'",
        "param training.batch_size",
        "",
    ),
    (
        "train c1",
        "DELETE FROM params WHERE run_uuid = ? AND key = 'training.optimizer'",
        "param training.optimizer",
        "",
    ),
    (
        "train c1",
        "INSERT INTO params (run_uuid, key, value) VALUES (?, 'training.secret', '1')",
        "param training.secret",
        "added",
    ),
    (
        "train c1",
        "UPDATE tags SET value = 'flat' WHERE run_uuid = ? AND key = 'stagewise.arm'",
        "tag stagewise.arm",
        "",
    ),
    (
        "train c1",
        "UPDATE tags SET value = 'x' WHERE run_uuid = ? AND key = 'stagewise.commit'",
        "tag stagewise.commit",
        "",
    ),
    (
        "train c1",
        "UPDATE tags SET value = 'x' WHERE run_uuid = ? AND key = 'stagewise.fingerprint'",
        "tag stagewise.fingerprint",
        "",
    ),
    (
        "train c1",
        "UPDATE tags SET value = 'x' WHERE run_uuid = ? AND key = 'stagewise.manifest_sha256'",
        "tag stagewise.manifest_sha256",
        "",
    ),
    (
        "train c1",
        "UPDATE tags SET value = 'eval' WHERE run_uuid = ? AND key = 'stagewise.kind'",
        "tag stagewise.kind",
        "",
    ),
    (
        "train c1",
        "UPDATE tags SET value = 'best' WHERE run_uuid = ? AND key = 'mlflow.note.content'",
        "tag mlflow.note.content",
        "",
    ),
    (
        "train c1",
        "UPDATE tags SET value = 'x' WHERE run_uuid = ? AND key = 'mlflow.parentRunId'",
        "tag mlflow.parentRunId",
        "",
    ),
    (
        "train c1",
        "INSERT INTO tags (run_uuid, key, value) VALUES (?, 'stagewise.resumed_from', 'x')",
        "tag stagewise.resumed_from",
        "added",
    ),
    (
        "train c1",
        "UPDATE metrics SET value = value - 1 WHERE run_uuid = ? AND key = 'train/loss' AND step = 2",
        "metric train/loss",
        "",
    ),
    (
        "train c1",
        "DELETE FROM metrics WHERE run_uuid = ? AND key = 'train/grad_norm' AND step = 1",
        "metric train/grad_norm",
        "",
    ),
    (
        "train c1",
        "UPDATE metrics SET value = 0.01 WHERE run_uuid = ? AND key = 'train/loss_last'",
        "metric train/loss_last",
        "",
    ),
    ("train c1", "UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", "status", ""),
    (
        "train c1",
        "DELETE FROM inputs WHERE destination_id = ? AND source_type = 'DATASET'",
        "dataset input a",
        "missing",
    ),
    ("train c1", "DELETE FROM inputs WHERE source_id = ? AND source_type = 'RUN_INPUT'", "model inputs", ""),
    ("train c1", "DELETE FROM inputs WHERE source_id = ? AND source_type = 'RUN_OUTPUT'", "model outputs", ""),
    ("train c1", "UPDATE datasets SET digest = 'abc' WHERE name = 'a' AND ? != ''", "dataset input a, digest", ""),
    ("train c1", "UPDATE datasets SET name = 'z' WHERE name = 'a' AND ? != ''", "dataset input z", "added"),
    ("train c1", "UPDATE input_tags SET value = '99' WHERE name = 'rows' AND ? != ''", "dataset input a, tag rows", ""),
    (
        "train c1",
        "UPDATE input_tags SET value = 'x' WHERE name = 'sha256' AND ? != ''",
        "dataset input a, tag sha256",
        "",
    ),
    ("train c1", "UPDATE logged_models SET status = 3 WHERE source_run_id = ?", "model curriculum-1-s1, status", ""),
    ("train c1", "UPDATE logged_models SET name = 'other' WHERE source_run_id = ?", "model curriculum-1-s1, name", ""),
    (
        "train c1",
        "UPDATE logged_model_params SET param_value = 'x' WHERE param_key = 'order_sha256' AND ? != ''",
        "model curriculum-1-s1, param order_sha256",
        "",
    ),
    (
        "train c1",
        "UPDATE logged_model_tags SET tag_value = '2' WHERE tag_key = 'seed' AND ? != ''",
        "model curriculum-1-s1, tag seed",
        "",
    ),
    (
        "train c1",
        "UPDATE logged_model_tags SET tag_value = 'x' WHERE tag_key = 'stagewise.manifest_sha256' AND ? != ''",
        "model curriculum-1-s1, tag stagewise.manifest_sha256",
        "",
    ),
    (
        "eval c1",
        "UPDATE metrics SET value = 1 WHERE run_uuid = ? AND key = 'eval/flexible'",
        "metric eval/flexible",
        "",
    ),
    (
        "eval c1",
        "UPDATE logged_model_metrics SET metric_value = 1 WHERE metric_name = 'eval/flexible' AND run_id = ?",
        "model curriculum-1-s1, metric eval/flexible",
        "",
    ),
    ("split", "UPDATE metrics SET value = 1 WHERE run_uuid = ? AND key = 'split/a'", "metric split/a", ""),
    (
        "pipeline",
        "UPDATE metrics SET value = 1 WHERE run_uuid = ? AND key = 'final/flat-1-s1'",
        "metric final/flat-1-s1",
        "",
    ),
    (
        "pipeline",
        "UPDATE model_versions SET source = 'models:/m-0' WHERE version = 1 AND ? != ''",
        "models:/tiny/1, source",
        "re-pointed",
    ),
    (
        "pipeline",
        "UPDATE model_versions SET storage_location = 'file:///elsewhere' WHERE version = 1 AND ? != ''",
        "models:/tiny/1, storage location",
        "re-pointed",
    ),
    (
        "pipeline",
        "UPDATE model_version_tags SET value = 'x' WHERE key = 'weights_sha256' AND version = 2 AND ? != ''",
        "models:/tiny/2, tag weights_sha256",
        "",
    ),
    (
        "pipeline",
        "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'curriculum-s1' AND ? != ''",
        "models:/tiny@curriculum-s1",
        "",
    ),
    (
        "eval c1",
        "UPDATE latest_metrics SET value = 1 WHERE run_uuid = ? AND key = 'eval/flexible'",
        "metric eval/flexible, as it is shown",
        "",
    ),
    ("eval c1", "DELETE FROM latest_metrics WHERE run_uuid = ? AND key = 'eval/strict'", "metric eval/strict", ""),
    ("eval c1", "INSERT INTO params (run_uuid, key, value) VALUES (?, 'seed', '99')", "param seed", "added"),
    (
        "train c1",
        "UPDATE datasets SET dataset_source = 'elsewhere' WHERE name = 'a' AND ? != ''",
        "dataset input a, source",
        "",
    ),
    ("pipeline", "UPDATE model_versions SET run_id = 'x' WHERE version = 1 AND ? != ''", "models:/tiny/1, run", ""),
    (
        "pipeline",
        "UPDATE registered_model_aliases SET version = 99 WHERE alias = 'flat-s1' AND ? != ''",
        "models:/tiny@flat-s1",
        "",
    ),
]


@pytest.mark.parametrize(("run", "statement", "where", "why"), ROWS, ids=lambda value: str(value)[:60])
def test_an_altered_row_of_the_database_is_named(held: Held, run: str, statement: str, where: str, why: str) -> None:
    with restored(held):
        held.sql(statement, held.runs[run])
        names(check(held.runs[run]), held.runs[run], where, why)


def test_a_metric_that_nobody_recorded_is_named(held: Held) -> None:
    with restored(held):
        held.finished.client.log_metric(held.runs["eval c1"], "eval/accuracy", 1.0)
        names(check(held.runs["eval c1"]), held.runs["eval c1"], "metric eval/accuracy", "added")


def test_what_is_deleted_is_named_with_how_it_is_restored(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no alteration: nothing can be said of it until it is there again."""
    client, base = held.finished.client, held.runs["train b0"]
    with restored(held):
        client.delete_run(base)
        verdict = check(held.runs["train c1"])
        names(verdict, base, "run", exit_code=5)
        assert f"run {base} is deleted; restore it: mlflow runs restore --run-id {base}" in str(verdict)
        assert verify(base) == 5
        assert capsys.readouterr().out == (
            f"? cannot be checked: run {base} is deleted; restore it: mlflow runs restore --run-id {base}\n"
        )
        client.restore_run(base)
        assert check(held.runs["train c1"]).whole
        client.delete_experiment(held.finished.experiment_id)
        assert verify(base) == 5
        remedy = f"mlflow experiments restore --experiment-id {held.finished.experiment_id}"
        assert f"is deleted, with its experiment 'tiny'; restore that: {remedy}\n" in capsys.readouterr().out
        client.restore_experiment(held.finished.experiment_id)
        assert check(held.runs["train c1"]).whole


@pytest.mark.parametrize(
    ("remove", "where"),
    [
        (lambda client: client.delete_registered_model_alias("tiny", "flat-s1"), "models:/tiny@flat-s1"),
        (lambda client: client.delete_model_version("tiny", "2"), "models:/tiny/2"),
        (lambda client: client.delete_registered_model("tiny"), "models:/tiny/1"),
    ],
)
def test_what_was_removed_from_the_registry_is_no_altered_record(held: Held, remove: Any, where: str) -> None:
    with restored(held):
        remove(held.finished.client)
        verdict = check(held.runs["pipeline"])
        names(verdict, held.runs["pipeline"], where, "which says nothing of the checkpoint", exit_code=5)
        assert verdict.breaks == []


def test_what_a_person_adds_in_the_ui_breaks_nothing(held: Held) -> None:
    with restored(held):
        client, run_id = held.finished.client, held.runs["train c1"]
        client.set_tag(run_id, "reviewed", "yes")
        client.set_tag(run_id, "mlflow.runName", "the good one")
        client.set_logged_model_tags(held.models["c1"], {"reviewed": "yes"})
        client.set_registered_model_alias("tiny", "favourite", "1")
        assert check(run_id).whole
        assert check("models:/tiny@favourite").whole


# --- a forger who corrects what follows from it -------------------------------------------------


def forge(held: Held, run: str, path: str, alter: Alter) -> None:
    """Alters an artifact, and corrects the run's own manifest."""
    alter(held.artifact(run, path))
    data = held.artifact(run, path).read_bytes()
    reseal(held, run, told(f"outputs/artifacts>{path}", {"sha256": sha256(data), "size": len(data)}))


def reseal(held: Held, run: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrites the run's manifest, and corrects its digest in the run's tag and its model's."""
    place = held.artifact(run, "manifest.json")
    manifest = json.loads(place.read_bytes())
    change(manifest)
    place.write_bytes(canonical_json(manifest))
    digest = sha256(place.read_bytes())
    tag = "UPDATE tags SET value = ? WHERE key = 'stagewise.manifest_sha256' AND run_uuid = ?"
    held.sql(tag, digest, held.runs[run])
    if run.startswith("train"):
        tag = "UPDATE logged_model_tags SET tag_value = ? WHERE tag_key = 'stagewise.manifest_sha256' AND model_id = ?"
        held.sql(tag, digest, held.models[run[-2:]])


def swap_first_two(path: Path) -> None:
    first, *others = decode(path.read_bytes(), path.name)
    first[[0, 1]] = first[[1, 0]]
    path.write_bytes(encode([first, *others]))


FORGED = [
    ("split", "stages/c.jsonl", reorder, "source, rebuilt from the stages"),
    ("split", "split_stats.json", edit('"dropped": 0', '"dropped": 1'), "artifact split_stats.json"),
    ("split", "split_criteria.md", edit("traces", "rows"), "artifact split_criteria.md"),
    ("train c1", "order.npy", swap_first_two, "artifact order.npy"),
    ("train c1", "curve.json", edit('"loss": ', '"loss": 1'), "metric train/loss"),
    (
        "eval c1",
        "predictions.jsonl",
        edit('"flexible": 0.0', '"flexible": 1.0'),
        "artifact predictions.jsonl, item generated-2-0, flexible",
    ),
    ("eval c1", "eval_table.json", edit("false", "true"), "artifact eval_table.json"),
    ("report", "report.md", edit("0.0%", "9.9%"), "artifact report.md"),
    ("report", "comparison.json", edit('"right":0', '"right":1'), "artifact comparison.json"),
]


@pytest.mark.parametrize(
    ("run", "path", "alter", "where"), FORGED, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_what_does_not_follow_from_its_inputs_is_named_though_all_hashes_were_corrected(
    held: Held, run: str, path: str, alter: Alter, where: str
) -> None:
    with restored(held), altered(held.artifact(run, path), held.artifact(run, "manifest.json")):
        forge(held, run, path, alter)
        names(check(held.runs[run]), held.runs[run], where)


def told(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Another value in a manifest, by the dotted path of names."""

    def change(manifest: dict[str, Any]) -> None:
        head, _, rest = path.partition(">")
        *names, last = [*head.split("/"), *([rest] if rest else [])]
        for name in names:
            manifest = manifest[name]
        assert manifest[last] != value
        manifest[last] = value

    return change


CLAIMS = [
    ("train c1", "recorded/params/training.learning_rate", "0.5", "manifest.json, recorded.params"),
    ("train f1", "facts/separations", [], "manifest.json, facts.separations"),
    ("train c3", "facts/multiset_sha256", "0" * 64, "manifest.json, facts.multiset_sha256"),
    ("train c3", "facts/counted_so_far", {}, "manifest.json, facts.counted_so_far"),
    ("train c3", "facts/dtypes", {"model": "bfloat16", "weights": "float32"}, "manifest.json, facts.dtypes"),
    ("train b0", "facts/dtypes", {"model": "float32", "weights": "bfloat16"}, "manifest.json, facts.dtypes"),
    ("train c3", "facts/self_check/decoding", "generate", "manifest.json, facts.self_check"),
    ("train c3", "facts/layout", "other", "artifact manifest.json"),
    ("eval c1", "facts/decoding", "generate", "manifest.json, facts.decoding"),
    ("eval c1", "facts/items", 7, "manifest.json, facts.items"),
    ("eval c1", "facts/checkpoint_sha256", "0" * 64, "manifest.json, facts.checkpoint_sha256"),
    ("split", "environment/platform", "Plan 9", "artifact environment.json"),
    ("split", "code/commit", "0" * 40, "artifact code.commit"),
    ("split", "config/file_sha256", "0" * 64, "manifest.json, config.file_sha256"),
    ("pipeline", "facts/steps", {}, "artifact manifest.json"),
]


@pytest.mark.parametrize(("run", "path", "value", "where"), CLAIMS, ids=lambda value: str(value)[:40])
def test_a_claim_of_the_manifest_that_does_not_follow_is_named(
    held: Held, run: str, path: str, value: Any, where: str
) -> None:
    with restored(held), altered(held.artifact(run, "manifest.json")):
        reseal(held, run, told(path, value))
        names(check(held.runs[run]), held.runs[run], where)


def test_a_forged_run_is_named_by_the_run_above_it(held: Held) -> None:
    with restored(held), altered(*(held.artifact("split", path) for path in ("histogram.png", "manifest.json"))):
        forge(held, "split", "histogram.png", flip)  # nothing follows from a picture
        assert check(held.runs["split"]).whole
        names(check(held.runs["train c1"]), held.runs["split"], "artifact manifest.json")


def test_a_record_rewritten_to_its_root_is_found_by_a_digest_from_outside(held: Held) -> None:
    known = check(held.runs["split"]).digest
    with restored(held), altered(*(held.artifact("split", path) for path in ("histogram.png", "manifest.json"))):
        forge(held, "split", "histogram.png", flip)
        unanchored = check(held.runs["split"])
        assert unanchored.whole
        assert "cannot show" in unanchored.remarks[-1]
        verdict = check(held.runs["split"], expect=known)
        names(verdict, held.runs["split"], "artifact manifest.json")
    assert "whose digest was given" in check(held.runs["split"], expect=known).remarks[-1]


# --- a bundle, the command, what cannot be checked ----------------------------------------------


def test_a_bundle_is_verified_without_a_server(held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    count = bundle.write(Server(held.finished.client), held.runs["pipeline"], folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    verdict = check(str(folder))
    assert verdict.whole, verdict.breaks
    assert verdict.files == count - len(held.runs)  # but for the manifests, which are read by themselves
    assert (
        verdict.digest
        == json.loads((folder / "runs" / held.runs["pipeline"] / "run.json").read_text())["tags"][
            "stagewise.manifest_sha256"
        ]
    )
    run = folder / "runs" / held.runs["eval c1"]
    for path, alter, where in (
        (run / "artifacts" / "predictions.jsonl", flip, "artifact predictions.jsonl"),
        (run / "run.json", edit('"eval/flexible"', '"eval/flexibly"'), "metric eval/flexible, as it is shown"),
    ):
        with altered(path):
            alter(path)
            names(check(str(folder)), held.runs["eval c1"], where)


def test_a_bundle_may_leave_out_the_weights_and_says_so(held: Held, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    bundle.write(Server(held.finished.client), held.runs["train c1"], folder, weights=False)
    assert not [*folder.glob("models/**/*.safetensors")]
    verdict = check(str(folder))
    assert verdict.whole, verdict.breaks
    assert "2 files of weights were left out of the bundle, and not checked." in verdict.remarks
    assert "✓ whole, but for the weights, which are not here" in str(verdict)
    anchored = check(str(folder), expect=verdict.digest)
    assert "nothing below it but the weights, which were not looked at, has changed" in anchored.remarks[-1]


def test_the_command_says_what_broke_and_how_it_ends(held: Held) -> None:
    done = stagewise("verify", "--run-id", held.runs["split"], **held.store.environment)
    assert done.returncode == 0, done.stderr
    assert "✓ split: run " in done.stdout
    assert "✓ whole: " in done.stdout
    with altered(held.artifact("split", "stages/b.jsonl")):
        crlf(held.artifact("split", "stages/b.jsonl"))
        done = stagewise("verify", "--run-id", held.runs["split"], "--json", **held.store.environment)
    assert done.returncode == 4
    told = json.loads(done.stdout)
    assert told["verdict"] == "broken"
    (finding,) = (each for each in told["runs"][0]["findings"] if each["where"] == "artifact stages/b.jsonl")
    assert finding["why"] == "only line endings differ"
    assert finding["expected"].startswith("sha256 ")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("0" * 32, "no such run"),
        ("", "no such run"),
        ("a" * 5000, "no such run"),
        ("a\0b", "no such run"),
        ("models:/tiny@nobody", "no such model"),
        (".", "expected what `stagewise export --format bundle` writes"),
    ],
)
def test_what_is_not_there_cannot_be_checked(
    held: Held,
    target: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "link").symlink_to("..")  # as a virtual environment has some
    monkeypatch.chdir(tmp_path)
    assert verify(target) == 5
    assert said in capsys.readouterr().out
    assert verify(target, as_json=True) == 5
    assert json.loads(capsys.readouterr().out)["verdict"] == "unchecked"


def test_a_server_that_does_not_answer_is_no_verdict(
    held: Held, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert verify(held.runs["split"]) == 5
    assert "cannot be reached" in capsys.readouterr().out


def test_a_run_at_work_is_incomplete(held: Held) -> None:
    with restored(held):
        held.sql("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", held.runs["pipeline"])
        assert check(held.runs["pipeline"]).exit_code == 3


def test_what_other_code_made_and_does_not_follow_cannot_be_checked(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [held.artifact("split", path) for path in ("split_criteria.md", "manifest.json")]
    monkeypatch.setattr(derivation.Rules, "same", lambda *_: False)
    with restored(held), altered(*files):
        forge(held, "split", "split_criteria.md", edit("traces", "rows"))
        verdict = check(held.runs["split"])
    assert verdict.exit_code == 5
    (only,) = (finding for _, finding in verdict.found)
    assert only.where == "artifact split_criteria.md"
    assert "other code" in only.why


@pytest.mark.parametrize(
    ("schema", "reader"),
    [*READERS.items(), ("stagewise.manifest/99", "a later release of stagewise")],
)
def test_a_record_of_another_schema_is_one_line_that_names_its_reader(
    held: Held, schema: str, reader: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = held.artifact("pipeline", "manifest.json")
    with restored(held), altered(path):
        data = canonical_json(json.loads(path.read_bytes()) | {"schema": schema})
        path.write_bytes(data)
        held.sql(
            "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'stagewise.manifest_sha256'",
            sha256(data),
            held.runs["pipeline"],
        )
        assert verify(held.runs["pipeline"]) == 5
        said = capsys.readouterr().out
        path.write_bytes(data + b" ")  # and a break stays one
        assert verify(held.runs["pipeline"]) == 4
    (line,) = said.splitlines()
    assert f"{reader} reads it" in line
    assert schema in line


def test_every_earlier_schema_has_its_reader() -> None:
    family, _, number = SCHEMA.rpartition("/")
    assert list(READERS) == [f"{family}/{earlier}" for earlier in range(1, int(number))]


def test_what_cannot_be_derived_here_is_no_break(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def underivable(*_: Any) -> Any:
        raise Underivable("the tokenizer, which is not here")

    monkeypatch.setattr(derivation.Rules, "derive", underivable)
    verdict = check(held.runs["split"])
    assert verdict.exit_code == 5
    assert "the tokenizer, which is not here" in str(verdict)


def test_a_run_without_a_manifest_cannot_be_checked(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    client, experiment = held.finished.client, held.finished.experiment_id
    with pytest.raises(KeyError), open_run(client, experiment, "split", "failed") as run:
        raise KeyError
    assert verify(run.id) == 5
    assert "that is FAILED and has no manifest" in capsys.readouterr().out


@pytest.mark.parametrize("expect", ["abc", "0" * 63 + "g"])
def test_a_digest_that_is_none_is_a_mistake(held: Held, expect: str) -> None:
    with pytest.raises(ConfigError, match="expected a manifest's whole sha256"):
        verify(held.runs["split"], expect)


def test_a_digest_may_be_in_capitals(held: Held) -> None:
    assert verify(held.runs["split"], check(held.runs["split"]).digest.upper()) == 0


@pytest.fixture
def interrupted(held: Held, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A check of the split that was ended after a few files: what it had found of them is kept there."""
    hashed = list[Path]()

    def failing(path: Path) -> str:
        hashed.append(path)
        if len(hashed) == 9:
            raise KeyboardInterrupt
        return sha256_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "sha256_file", failing)
        with pytest.raises(KeyboardInterrupt):
            check(held.runs["split"], resume=True)
    (kept,) = (held.folder / "home" / "verify").glob("*.jsonl")
    assert len(kept.read_text().splitlines()) >= 5
    return kept


def known_file(held: Held, kept: Path) -> tuple[str, Path]:
    """One of the files whose digest is kept."""
    path = next(path for (_, _, path, *_), _ in map(json.loads, kept.read_text().splitlines()))
    return path, held.artifact("split", path)


def test_a_check_that_was_interrupted_goes_on_with_what_has_not_changed_and_says_so(
    held: Held, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, hashed = len(interrupted.read_text().splitlines()), list[Path]()
    monkeypatch.setattr(files, "sha256_file", lambda path: hashed.append(path) or sha256_file(path))  # type: ignore[func-returns-value]
    verdict = check(held.runs["split"], resume=True)
    assert verdict.whole
    assert len(hashed) == verdict.files - before
    assert len(verdict.kept) == before == len(verdict.as_json()["not_read_again"])
    assert verdict.kept[0].startswith(f"run {held.runs['split']}: ")
    assert f"{before} of them not read again; manifest sha256" in verdict.in_words()
    assert f"{before} files were not read again: a check of this record that was interrupted" in verdict.remarks[0]
    assert not interrupted.exists()
    assert check(held.runs["split"]).kept == []  # without `resume` nothing is kept, and nothing taken
    assert not interrupted.exists()


def test_a_file_that_was_altered_since_is_read_though_its_time_was_set_back(held: Held, interrupted: Path) -> None:
    name, path = known_file(held, interrupted)
    before = path.stat()
    with altered(path):
        flip(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        names(check(held.runs["split"], resume=True), held.runs["split"], f"artifact {name}")


def test_a_file_in_the_place_of_another_is_read(held: Held, interrupted: Path, tmp_path: Path) -> None:
    name, path = known_file(held, interrupted)
    shutil.copy2(path, tmp_path / "other")
    with altered(path):
        flip(tmp_path / "other")
        os.utime(tmp_path / "other", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        path.unlink()
        shutil.move(tmp_path / "other", path)
        names(check(held.runs["split"], resume=True), held.runs["split"], f"artifact {name}")


def test_where_a_digest_is_expected_every_file_is_read(
    held: Held, interrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = check(held.runs["split"]).digest
    # As if size, times and inode could be forged too.
    monkeypatch.setattr(files.Known, "digest", lambda known, *_: pytest.fail("taken") if known.path else _[3](_[2]))
    assert verify(held.runs["split"], digest) == 0
    assert "not read again" not in capsys.readouterr().out
    interrupted.unlink()


def test_an_alias_by_which_a_model_is_named_is_checked(held: Held) -> None:
    with restored(held):
        held.sql("UPDATE registered_model_aliases SET version = 2 WHERE alias = 'curriculum-s1'")
        verdict = check("models:/tiny@curriculum-s1")
        assert verdict.exit_code == 4
        assert verdict.breaks[0].startswith(
            "models:/tiny/2: models:/tiny@curriculum-s1: found version 2, which is flat"
        )
        held.sql("UPDATE model_versions SET source = 'models:/m-0' WHERE version = 2")
        assert "found models:/m-0, expected a model that is there" in check("models:/tiny/2").breaks[0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("registry.json", "{}"),
        ("bundle.json", "[]"),
        ("runs/{split}/run.json", "[]"),
        ("runs/{split}/run.json", "{"),
        ("runs/{split}/run.json", '{"run_id": "1"}'),
    ],
)
def test_a_bundle_that_is_none_is_one_line(
    held: Held, tmp_path: Path, path: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    bundle.write(Server(held.finished.client), held.runs["split"], folder)
    (folder / path.format(split=held.runs["split"])).write_text(text)
    capsys.readouterr()
    assert verify(str(folder)) == 5
    (verdict,) = capsys.readouterr().out.strip().splitlines()
    assert verdict.startswith(
        f"? cannot be checked: found no bundle: {folder / path.format(split=held.runs['split'])}: "
    )


def test_a_bundle_without_a_runs_files_names_its_manifest(held: Held, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    bundle.write(Server(held.finished.client), held.runs["split"], folder)
    shutil.rmtree(folder / "runs" / held.runs["split"] / "artifacts")
    names(check(str(folder)), held.runs["split"], "artifact manifest.json", "missing")


def test_a_bundle_of_a_study_whose_registry_was_cleared_is_made_and_says_so(held: Held, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    with restored(held):
        held.sql("DELETE FROM model_versions WHERE version = 2")
        held.sql("DELETE FROM registered_model_aliases WHERE version = 2")
        bundle.write(Server(held.finished.client), held.runs["pipeline"], folder)
    names(check(str(folder)), held.runs["pipeline"], "models:/tiny/2", "removed from the registry", exit_code=5)


def test_compiled_code_beside_a_model_is_said_and_not_checked(held: Held) -> None:
    place = held.model("c1", "__pycache__/completion.cpython-311.pyc")
    with altered(place):
        add(place)
        verdict = check(held.runs["train c1"])
    place.parent.rmdir()
    assert verdict.exit_code == 5
    (finding,) = (finding for _, finding in verdict.found)
    assert finding.where == "model curriculum-1-s1, file __pycache__/completion.cpython-311.pyc"
    assert "remove it" in finding.why


def test_what_mlflows_loaders_leave_in_a_model_is_no_break(held: Held) -> None:
    place = held.model("c1", "registered_model_meta")
    with altered(place):
        add(place)
        assert check(held.runs["train c1"]).whole
