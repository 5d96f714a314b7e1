"""Records that contradict themselves, sealed again by whoever altered them: `verify` finds each, and says where.

Every row alters an honest record, or puts an honest run of another study into it, and corrects what names it, up to the
root and in the registry. What a forger can also correct is no row: it is in docs/verify.md's list.
"""

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from conftest import TINY, Finished, merged
from helpers.forging import Forger, Record
from helpers.studies import copied

from stagewise.commands.derivation.expected import config_of
from stagewise.data import generate
from stagewise.record import commits, git_objects
from stagewise.steps import evaluate, split, train
from stagewise.steps.common import Session, open_session, perform
from stagewise.tracking.records import read
from stagewise.tracking.runs import NOTE
from stagewise.tracking.source import Server
from stagewise.tracking.store import connect
from stagewise.verification import bundle
from stagewise.verification.findings import Verdict
from stagewise.verification.views import Owner


class Others(NamedTuple):
    """The study's own steps, and sessions whose configs differ from its in one thing."""

    split: Any
    base: Any
    flat: Any
    session: Callable[..., Session]


@pytest.fixture(scope="module")
def record(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """The finished study, and runs that are honest by themselves and not of it."""
    folder = tmp_path_factory.mktemp("tampering")
    store = copied(finished.store, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        client = connect()
        names = {}
        for kind in ("pipeline", "split", "report", "train", "eval"):
            for run in finished.runs(kind):
                short = run.info.run_name[:2]
                names[f"{kind} {short}" if kind in ("train", "eval") else kind] = run.info.run_id

        def session(**changes: Any) -> Session:
            path = folder / "config.yaml"
            path.write_text(yaml.safe_dump(merged(TINY, changes)))
            return open_session(path)

        own = Others(
            read(client, names["split"], "split"),
            read(client, names["train b0"], "train"),
            read(client, names["train f1"], "train"),
            session,
        )
        made = foreign(own, folder, patch)
        gc.freeze()  # statsmodels collects garbage at each correction, half of a check's time
        places = [folder / "bundle", *(folder / name for name in made)]
        for place, run_id in zip(places, [finished.run_id, *(each.run_id for each in made.values())], strict=True):
            place.mkdir()
            bundle.write(Server(client), run_id, place)
        yield Record(names | {name: each.run_id for name, each in made.items()}, *places)
        gc.unfreeze()


def foreign(own: Others, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Steps that other configs, data or parents gave; each eval run with what it was made from."""
    plain = own.session()
    traces = [json.loads(line) for line in generate.traces(1, 40, None, None, None).splitlines()]
    items = [json.loads(line) for line in generate.items(2, 6, None, None, None).splitlines()]
    for each in traces:
        each["final_answer"] = f"{each['final_answer']} "
    for each in items:
        each["expected_answer"] = "another answer"
    for name, rows in (("traces", traces), ("eval", items)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    data = {"data": {"train": {"path": "traces.jsonl"}, "eval": {"path": "eval.jsonl"}}}
    config = merged(TINY, {}) | data
    (folder / "other.yaml").write_text(yaml.safe_dump(config))
    other = open_session(folder / "other.yaml")
    made = {"other split": perform(other, split.specify(other))}
    base = perform(other, train.specify(other, made["other split"], "base", 0, 1, None))
    made["bytes train"] = perform(other, train.specify(other, made["other split"], "flat", 1, 1, base))
    made["bytes eval"] = perform(plain, evaluate.specify(plain, own.split, made["bytes train"]))
    made["items eval"] = perform(other, evaluate.specify(other, made["other split"], own.flat))
    faster = own.session(training={"learning_rate": 2.0e-3})
    made["lr train"] = perform(faster, train.specify(faster, own.split, "flat", 1, 1, own.base))
    made["lr eval"] = perform(plain, evaluate.specify(plain, own.split, made["lr train"]))
    longer = own.session(evaluation={"max_new_tokens": 9})
    made["long eval"] = perform(longer, evaluate.specify(longer, own.split, own.flat))
    seeds = own.session(seeds=[1, 2])
    made["seed base"] = perform(seeds, train.specify(seeds, own.split, "base", 0, 2, None))
    with patch.context() as unchecked:
        unchecked.setattr(train, "check_parent", lambda *_: None)
        made["seed train"] = perform(seeds, train.specify(seeds, own.split, "flat", 1, 1, made["seed base"]))
    made["seed eval"] = perform(plain, evaluate.specify(plain, own.split, made["seed train"]))
    return made


@pytest.fixture
def forged(record: Record) -> Forger:
    return Forger(record)


def test_the_record_in_memory_is_whole(forged: Forger) -> None:
    forged.seal()
    verdict = forged.check("pipeline")
    assert verdict.whole, verdict.breaks
    assert len([*verdict.root.walk()]) == 13


def test_a_record_that_was_sealed_again_without_a_change_is_whole(forged: Forger) -> None:
    """The forger corrects all: what a row of the table finds is the row's own."""
    steps = forged.manifest("pipeline")["facts"]["steps"]
    forged.put("split", "histogram.png", b"nothing follows from a picture")
    forged.splice(eval_flat_1_s1="eval f1")
    forged.seal()
    assert forged.manifest("pipeline")["facts"]["steps"] == steps
    verdict = forged.check("pipeline")
    assert verdict.whole, verdict.breaks


# --- other runs in the place of the study's -----------------------------------------------------

SPLICED = [
    ({"train": "lr train", "eval": "lr eval"}, "train flat-1-s1, its config's training"),
    ({"eval": "long eval"}, "eval flat-1-s1, its config's evaluation"),
    ({"eval": "items eval"}, "eval flat-1-s1, its split's eval"),
    ({"train": "bytes train", "eval": "bytes eval"}, "train flat-1-s1, its split's stages"),
    ({"train": "seed train", "eval": "seed eval"}, "train flat-1-s1, its parent"),
]


@pytest.mark.parametrize(("runs", "where"), SPLICED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_run_of_another_study_is_named(forged: Forger, runs: dict[str, str], where: str) -> None:
    forged.splice(**{f"{kind}_flat_1_s1": run for kind, run in runs.items()})
    forged.seal()
    names(forged.check("pipeline"), forged.names["pipeline"], where)


def names(verdict: Verdict, run_id: str, where: str, exit_code: int = 4) -> None:
    """The verdict says where, in a finding of this run, and not at every other place too."""
    found = [finding for node, finding in verdict.found if node.run_id == run_id and finding.where.startswith(where)]
    assert found, "\n".join(str(finding) for _, finding in verdict.found)
    assert verdict.exit_code == exit_code
    assert found[0].found != found[0].expected


def test_a_phase_whose_parent_is_of_another_seed_is_named_by_itself(forged: Forger) -> None:
    names(forged.check("seed train"), forged.names["seed train"], "the parent")


# --- one thing altered, and all that names it corrected -----------------------------------------

Alter = Callable[[Forger], None]


class Row(NamedTuple):
    name: str
    alter: Alter
    where: str
    """How the place begins that has to be named."""
    run: str = "pipeline"
    """That is verified."""
    at: str = ""
    """The run whose finding it is, if another."""
    exit_code: int = 4


def fact(run: str, path: str, value: Any) -> Alter:
    def alter(forged: Forger) -> None:
        *names, last = path.split("/")
        facts = forged.manifest(run)["facts"]
        for name in names:
            facts = facts[name]
        assert facts.get(last) != value
        facts[last] = value

    return alter


def code(run: str, **values: Any) -> Alter:
    def alter(forged: Forger) -> None:
        forged.manifest(run)["code"].update(values)
        for name in values.keys() & {"commit", "dirty"}:
            forged.tag(run, f"stagewise.{name}", str(values[name]).lower())

    return alter


def replaced(run: str, path: str, before: bytes, after: bytes) -> Alter:
    """A text in an artifact."""

    def alter(forged: Forger) -> None:
        data = forged.artifact(run, path)
        assert before in data
        forged.put(run, path, data.replace(before, after, 1))

    return alter


def in_model(run: str, path: str, before: bytes, after: bytes) -> Alter:
    def alter(forged: Forger) -> None:
        data = forged.model_file(run, path)
        assert before in data
        forged.put_model(run, path, data.replace(before, after, 1))

    return alter


def described(run: str, before: str, after: str) -> Alter:
    def alter(forged: Forger) -> None:
        note = forged.manifest(run)["recorded"]["tags"][NOTE]
        assert before in note
        forged.tag(run, NOTE, note.replace(before, after, 1))

    return alter


def rows_of(run: str, change: Callable[[dict[str, Any]], None]) -> Alter:
    """Each line of an eval run's predictions."""

    def alter(forged: Forger) -> None:
        rows = [json.loads(line) for line in forged.artifact(run, "predictions.jsonl").splitlines()]
        for row in rows:
            change(row)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        forged.put(run, "predictions.jsonl", "".join(lines).encode())

    return alter


def archive(change: Callable[[dict[str, tuple[str, bytes]]], None]) -> Alter:
    """The archive of the split's code, made here if a remote holds the commit."""

    def alter(forged: Forger) -> None:
        files = commits.tar_files(forged.artifact("split", "code.tar"))
        change(files)
        forged.put("split", "code.tar", commits.tar(files))

    return alter


def as_commit(forged: Forger) -> None:
    """Another commit's id, and a commit object that has it: but not of this tree."""
    commit = forged.artifact("split", "code.commit")
    tree = git_objects.tree_of(commit)
    other = commit.replace(tree.encode(), b"0" * len(tree), 1)
    forged.put("split", "code.commit", other)
    code("split", commit=git_objects.object_id("commit", other, tree))(forged)


def another_base(forged: Forger) -> None:
    """The initial weights of another seed."""
    data = forged.model_file("seed base", "model/model.safetensors")
    forged.put_model("train b0", "model/model.safetensors", data)
    digest = forged.manifest("seed base")["outputs"]["model"]["weights_sha256"]
    forged.manifest("train b0")["outputs"]["model"]["weights_sha256"] = digest


def swapped_roles(forged: Forger) -> None:
    runs = forged.manifest("pipeline")["inputs"]["runs"]
    one, other = "eval curriculum-1-s1", "eval curriculum-2-s1"
    runs[one], runs[other] = runs[other], runs[one]


def added_file(forged: Forger) -> None:
    forged.put("eval c1", "evidence.html", b"<p>it learned")


def extra_model_file(forged: Forger) -> None:
    forged.put_model("train c1", "model.pkl", b"cos\nsystem\n")


def model_param(name: str, value: str) -> Alter:
    def alter(forged: Forger) -> None:
        forged.manifest("train c2")["outputs"]["model"]["params"][name] = value
        forged.models[forged.model_id("train c2")]["params"][name] = value

    return alter


def rate(point: dict[str, Any]) -> None:
    point["learning_rate"] *= 2


def tokens(point: dict[str, Any]) -> None:
    point["tokens"] += 1


def machine(forged: Forger) -> None:
    told = forged.manifest("train c1")["machine"]
    told["threads"] = 7
    forged.edit("train c1", "environment.json", lambda value: value["machine"].update(threads=7))
    forged.param("train c1", "machine.threads", "7")


def made_again(change: Alter) -> Alter:
    """What is above the runs that are changed is made again from them."""

    def alter(forged: Forger) -> None:
        change(forged)
        config = config_of(forged.sealed(forged.names["pipeline"]))
        for _ in ("the runs that the report is made from", "the report, which the pipeline copies"):
            forged.seal()
            forged.remake(config, forged.manifest("pipeline")["facts"]["steps"])

    return alter


def without_commit(run: str) -> Alter:
    """As if it was made outside of a repository, by a package of which the record holds nothing."""

    def alter(forged: Forger) -> None:
        for name in ("code.commit", "code.tree", "code.diff", "code.tar"):
            if name in forged.manifest(run)["outputs"]["artifacts"]:
                forged.put(run, name, None)
        nothing = dict.fromkeys(("commit", "dirty", "archived", "path", "remote", "withheld"))
        code(run, **nothing, redacted=0, package_sha256="1" * 64, step_sha256="0" * 64)(forged)
        forged.tag(run, "stagewise.commit", "unknown")
        forged.tag(run, "stagewise.dirty", "none")

    return alter


def environment(run: str, change: Callable[[dict[str, Any]], Any]) -> Alter:
    def alter(forged: Forger) -> None:
        change(forged.manifest(run)["environment"])
        forged.edit(run, "environment.json", change)

    return alter


def old_torch(told: dict[str, Any]) -> None:
    told["packages"]["torch"] = "1.0.0"


def old_python(told: dict[str, Any]) -> None:
    told["python"] = "3.9.1"


def buffers(forged: Forger) -> None:
    """Values of the base that are said to be no parameters, and all that counts the parameters."""
    told = forged.manifest("train b0")
    before = told["facts"]["parameters"]
    told["facts"].update(buffers=1000, parameters=before - 1000)
    note = told["recorded"]["tags"][NOTE]
    assert f"{before:,} parameters" in note
    forged.tag("train b0", NOTE, note.replace(f"{before:,} parameters", f"{before - 1000:,} parameters"))
    note = told["outputs"]["model"]["tags"][NOTE]
    forged.model_note("train b0", note.replace(f"{before:,} parameters", f"{before - 1000:,} parameters"))


def metric_from_outside(run_id: str) -> Alter:
    def alter(forged: Forger) -> None:
        forged.models[forged.model_id("train f1")]["metrics"][forged.names.get(run_id, run_id)] = {"eval/strict": 1.0}

    return alter


def wrong_size(forged: Forger) -> None:
    forged.manifest("split")["outputs"]["artifacts"]["eval.jsonl"]["size"] += 1


def longer(row: dict[str, Any]) -> None:
    row["output_tokens"] = 99


def shorter_prompt(row: dict[str, Any]) -> None:
    row["prompt_tokens"] -= 1


def cut_early(row: dict[str, Any]) -> None:
    row["output_tokens"], row["finish_reason"] = 3, "length"


def junk(forged: Forger) -> None:
    forged.put("split", "code.tar", b"junk")


def test_a_fingerprint_that_is_not_that_of_its_parts_is_named(forged: Forger) -> None:
    forged.manifest("train c1")["fingerprint"] = "0" * 64
    forged.tag("train c1", "stagewise.fingerprint", "0" * 64)
    forged.seal(fingerprints=False)
    names(forged.check("train c1"), forged.names["train c1"], "manifest.json, fingerprint")


def archive_claimed(forged: Forger) -> None:
    forged.put("split", "code.tar", None)


ROWS = [
    # the code
    Row("archive is junk", junk, "its code", "split"),
    Row(
        "a file of the archive",
        archive(lambda files: files.update({"MLproject": ("100644", b"evil")})),
        "artifact code.tar, MLproject",
        "split",
    ),
    Row(
        "a file too many",
        archive(lambda files: files.update({"src/evil.py": ("100644", b"evil")})),
        "artifact code.tar, src/evil.py",
        "split",
    ),
    Row("a file too few", archive(lambda files: files.pop("MLproject")), "artifact code.tar, MLproject", "split"),  # type: ignore[arg-type]
    Row(
        "executable",
        archive(lambda files: files.update({"MLproject": ("100755", files["MLproject"][1])})),
        "artifact code.tar, MLproject",
        "split",
    ),
    Row("another commit", code("split", commit="1" * 40), "artifact code.commit", "split"),
    Row("the commit", replaced("split", "code.commit", b"author ", b"author X"), "artifact code.commit", "split"),
    Row("a commit of another tree", as_commit, "artifact code.tree, the top", "split"),
    Row(
        "the tree",
        replaced("split", "code.tree", b"\tMLproject", b"\tMLprojecu"),
        "artifact code.tree, the top",
        "split",
    ),
    Row(
        "dirty or not",
        lambda forged: code("split", dirty=not forged.manifest("split")["code"]["dirty"])(forged),
        "artifact code.diff",
        "split",
    ),
    Row(
        "dirty against its tag",
        lambda forged: forged.tag("split", "stagewise.dirty", "maybe"),
        "manifest.json, recorded.tags.stagewise.dirty",
        "split",
    ),
    Row("archived or not", code("split", archived=False), "artifact code.tar", "split"),
    Row("no archive", archive_claimed, "artifact code.tar", "split"),
    Row("package digest", code("split", package_sha256="0" * 64), "manifest.json, code.package_sha256", "split"),
    Row("step digest", code("split", step_sha256="0" * 64), "manifest.json, code.step_sha256", "split"),
    Row("credentials that are none", code("split", redacted=99), "manifest.json, code.redacted", "split"),
    # descriptions
    Row(
        "the study's verdict",
        described("pipeline", "No claim about order", "Order helps"),
        f"manifest.json, recorded.tags.{NOTE}",
    ),
    Row(
        "the study's models",
        described("pipeline", "is version 1", "is version 2"),
        f"manifest.json, recorded.tags.{NOTE}",
    ),
    Row(
        "the report's verdict",
        described("report", "No claim", "A claim"),
        f"manifest.json, recorded.tags.{NOTE}",
        "report",
    ),
    Row(
        "a phase's description",
        described("train c1", "examples", "thousand examples"),
        f"manifest.json, recorded.tags.{NOTE}",
        "train c1",
    ),
    Row(
        "an eval's description",
        described("eval c1", "0 of 6", "6 of 6"),
        f"manifest.json, recorded.tags.{NOTE}",
        "eval c1",
    ),
    Row(
        "a split's description", described("split", "eval 6", "eval 9"), f"manifest.json, recorded.tags.{NOTE}", "split"
    ),
    Row(
        "a model's description",
        lambda forged: forged.model_note("train c1", "**It reasons.**"),
        "manifest.json, outputs.model",
        "train c1",
    ),
    # facts, and what else is told in the manifest
    Row(
        "resumed",
        fact("train c1", "resumed_at_step", 1),
        "manifest.json, recorded.tags.stagewise.resumed_from",
        "train c1",
    ),
    Row(
        "resumed beyond the end",
        fact("train c1", "resumed_at_step", 99),
        "manifest.json, facts.resumed_at_step",
        "train c1",
    ),
    Row("state that was lost", fact("train c1", "lost", ["optimizer"]), "manifest.json, facts.lost", "train c1"),
    Row(
        "answers resumed",
        fact("eval c1", "resumed_at_answer", 2),
        "manifest.json, recorded.tags.stagewise.resumed_from",
        "eval c1",
    ),
    Row("steps reused", fact("pipeline", "steps_reused", 3), "manifest.json, facts.steps_reused"),
    Row("the server", fact("report", "server", "http://evil.example"), "artifact report.html", "report"),
    Row("parameters", fact("train c1", "parameters", 7_000_000_000), "manifest.json, facts.parameters", "train c1"),
    Row("what are no parameters", buffers, "manifest.json, facts.buffers", "train b0"),
    Row(
        "files that a model from scratch has none of",
        fact("train b0", "model_source", {"config.json": {"sha256": "0" * 64, "size": 1}}),
        "manifest.json, facts.model_source",
        "train b0",
    ),
    Row(
        "files of a phase",
        fact("train c1", "model_source", {"config.json": {"sha256": "0" * 64, "size": 1}}),
        "manifest.json, facts.model_source",
        "train c1",
    ),
    Row("batches of a base", fact("train b0", "layout", "padded"), "manifest.json, facts.layout", "train b0"),
    Row("saves of a base", fact("train b0", "passed_over", ["step 1"]), "manifest.json, facts.passed_over", "train b0"),
    Row(
        "examples left out",
        fact("train c1", "examples_left_out/a", {"dropped": 0, "truncated": 3}),
        "manifest.json, facts.examples_left_out",
        "train c1",
    ),
    Row("a chain", fact("train c1", "chain", ["0" * 64] * 2), "manifest.json, facts.chain", "train c1"),
    Row("more phases", fact("train f1", "phases", 2), "", "train f1"),
    Row("a fact that is none", fact("eval c1", "reviewed", True), "artifact manifest.json", "eval c1"),
    Row("traces", fact("eval c1", "traces/logged", 0), "manifest.json, facts.traces", "eval c1"),
    Row("engine", fact("eval c1", "engine", "openai"), "manifest.json, facts.engine", "eval c1"),
    Row("batch size", fact("eval c1", "batch_size", 999), "manifest.json, facts.batch_size", "eval c1"),
    Row("the source's name", fact("split", "source/name", "gsm8k"), "manifest.json, facts.source", "split"),
    Row("registered model", fact("pipeline", "registered/flat-s1/name", "other"), "manifest.json, facts.registered"),
    Row(
        "a param",
        lambda forged: forged.param("train c1", "training.secret", "1"),
        "manifest.json, recorded.params.training.secret",
        "train c1",
    ),
    Row(
        "the launcher's param",
        lambda forged: forged.param("train c1", "split_run", "0" * 32),
        "manifest.json, recorded.params.split_run",
        "train c1",
    ),
    Row(
        "a tag",
        lambda forged: forged.tag("train c1", "stagewise.arm", "flat"),
        "manifest.json, recorded.tags.stagewise.arm",
        "train c1",
    ),
    Row(
        "weights verified",
        lambda forged: forged.tag("eval c1", "stagewise.weights", "unverified"),
        "manifest.json, recorded.tags.stagewise.weights",
        "eval c1",
    ),
    Row(
        "the study's name",
        lambda forged: forged.tag("pipeline", "stagewise.study", "other"),
        "manifest.json, recorded.tags.stagewise.study",
    ),
    Row(
        "a metric",
        lambda forged: forged.metric("eval c1", "eval/flexible", 1.0),
        "manifest.json, recorded.metrics.eval/flexible",
        "eval c1",
    ),
    Row("a model's order", model_param("order_sha256", "0" * 64), "manifest.json, outputs.model", "train c2"),
    Row("a model's parent", model_param("parent_model", "flat-1-s1"), "manifest.json, outputs.model", "train c2"),
    Row("an artifact", added_file, "manifest.json, outputs.artifacts", "eval c1"),
    Row("roles", swapped_roles, "manifest.json, inputs.runs"),
    Row("another machine", machine, "train curriculum-1-s1, its machine"),
    Row("another code", made_again(without_commit("train f1")), "train flat-1-s1, its code"),
    Row("another code that answered", made_again(without_commit("eval f1")), "eval flat-1-s1, its code"),
    Row("another code that split", made_again(without_commit("split")), "split, its code"),
    Row("other packages", made_again(environment("eval f1", old_torch)), "eval flat-1-s1, its packages"),
    Row("another python", made_again(environment("train f1", old_python)), "train flat-1-s1, its python"),
    Row("a size", wrong_size, "manifest.json, size of artifact eval.jsonl", "split"),
    # a checkpoint's files
    Row(
        "what is served",
        in_model("train c1", "completion.py", b"do_sample=False", b"do_sample=True"),
        "model curriculum-1-s1, file completion.py",
        "train c1",
    ),
    Row(
        "how it is loaded",
        in_model("train c1", "MLmodel", b"completion.py", b"evil.py"),
        "model curriculum-1-s1, file MLmodel",
        "train c1",
    ),
    Row(
        "how it is prompted",
        in_model("train c1", "MLmodel", b"{prompt}", b"[prompt]"),
        "model curriculum-1-s1, file MLmodel",
        "train c1",
    ),
    Row(
        "its requirements",
        in_model("train c1", "requirements.txt", b"torch==", b"torch>="),
        "model curriculum-1-s1, file requirements.txt",
        "train c1",
    ),
    Row("a pickle", extra_model_file, "model curriculum-1-s1, file model.pkl", "train c1"),
    Row(
        "its config",
        in_model("train c1", "model/config.json", b'"rms_norm_eps": 1e-06', b'"rms_norm_eps": 1e-05'),
        "model curriculum-1-s1, file model/config.json",
        "train c1",
    ),
    Row(
        "its tokenizer",
        in_model("train c1", "model/tokenizer.json", b"<eos>", b"<end>"),
        "model curriculum-1-s1, file model/tokenizer.json",
        "train c1",
    ),
    Row("another seed's base", another_base, "model base-0-s1, file model/model.safetensors", "train b0"),
    Row("a metric by nobody", metric_from_outside("0" * 32), "model flat-1-s1, metric eval/strict", "train f1", "", 5),
    Row("a metric by no eval", metric_from_outside("other split"), "model flat-1-s1, metric eval/strict", "train f1"),
    Row("of another model", metric_from_outside("bytes eval"), "model flat-1-s1, metric eval/strict", "train f1"),
    Row("not as recorded", metric_from_outside("long eval"), "model flat-1-s1, metric eval/strict", "train f1"),
    # curves and predictions
    Row("learning rates", lambda forged: forged.curve("train c1", rate), "artifact curve.json, step 1", "train c1"),
    Row("tokens", lambda forged: forged.curve("train c1", tokens), "artifact curve.json, step 1", "train c1"),
    Row(
        "output tokens",
        rows_of("eval c1", longer),
        "artifact predictions.jsonl, item generated-2-0, output_tokens",
        "eval c1",
    ),
    Row(
        "cut early",
        rows_of("eval c1", cut_early),
        "artifact predictions.jsonl, item generated-2-0, output_tokens",
        "eval c1",
    ),
    Row(
        "prompt tokens",
        rows_of("eval c1", shorter_prompt),
        "artifact predictions.jsonl, item generated-2-0, prompt_tokens",
        "eval c1",
    ),
]


@pytest.mark.parametrize(
    "name", ["stagewise.owner_verified", "stagewise.manifest_sha256.audited", "stagewise.analysis.gate.passed"]
)
def test_a_tag_that_begins_like_one_around_the_seal_is_named(forged: Forger, name: str) -> None:
    for tags in (forged.views[forged.names["train c1"]]["tags"], forged.models[forged.model_id("train c1")]["tags"]):
        tags[name] = "yes"
    verdict = forged.check("train c1")
    for where in (f"tag {name}", f"model curriculum-1-s1, tag {name}"):
        names(verdict, forged.names["train c1"], where)


def test_a_commit_that_mlflow_shows_is_the_manifests(forged: Forger) -> None:
    tags, commit = forged.views[forged.names["split"]]["tags"], forged.manifest("split")["code"]["commit"]
    tags["mlflow.source.git.commit"] = commit
    assert forged.check("split").whole
    tags["mlflow.source.git.commit"] = "0" * 40
    names(forged.check("split"), forged.names["split"], "tag mlflow.source.git.commit")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_contradiction_is_named(forged: Forger, row: Row) -> None:
    row.alter(forged)
    forged.seal()
    names(forged.check(row.run), forged.names[row.at or row.run], row.where, row.exit_code)


# --- what the registry's names lead to ----------------------------------------------------------


def alias_to(run: str, **other: Any) -> Alter:
    """The curriculum's alias, moved to a new version of this run's checkpoint, which calls itself the curriculum's."""

    def alter(forged: Forger) -> None:
        version = forged.version_of(run, "3", **other)
        version["tags"] |= {"arm": "curriculum", "phase": "3", "seed": "1"}
        forged.pointed["tiny"]["curriculum-s1"] = "3"

    return alter


def champion(change: Callable[[Forger, dict[str, Any]], Any], before: str | None = None) -> Alter:
    """Version 2, promoted as `promote` would, but for what is changed of what is told of it."""

    def alter(forged: Forger) -> None:
        told = forged.promotion("eval f1", "2", before, before and "eval c3")
        changed = change(forged, told)
        forged.promoted("2", "20260101T000000.000000Z", told if changed is None else changed)

    return alter


def by_hand(forged: Forger) -> None:
    forged.pointed["tiny"]["champion"] = "2"


def set_back(forged: Forger) -> None:
    forged.promotion("eval c3", "1")
    forged.promoted("1", "20260102T000000.000000Z", {"event": "replaced", "alias": "champion", "by": "2"})


ALIAS, CHAMPION = "models:/tiny@curriculum-s1", "models:/tiny@champion"
NAMES = [
    Row("another arm's checkpoint", alias_to("train f1"), ALIAS),
    Row("not the last checkpoint", alias_to("train c2"), ALIAS),
    Row("a foreign folder", alias_to("train c3", source="/srv/models/evil"), ALIAS),
    Row("a model that is not there", alias_to("train c3", source="models:/m-0"), ALIAS),
    Row("an id that leads out", alias_to("train c3", source="models:/../../outside"), ALIAS),
    Row("other files", alias_to("train c3", location="/srv/models/evil"), "models:/tiny/3, storage location"),
    Row("a run that made another", alias_to("train c3", run_id="0" * 32), "models:/tiny/3, run"),
    Row("by hand", by_hand, CHAMPION),
    Row("set back by hand", set_back, CHAMPION),
    Row(
        "another model's eval",
        champion(
            lambda forged, told: told.update(
                eval_run=forged.names["eval c3"], manifest_sha256=forged.sealed(forged.names["eval c3"]).digest
            )
        ),
        CHAMPION,
    ),
    Row("no eval at all", champion(lambda forged, told: told.update(eval_run=forged.names["train f1"])), CHAMPION),
    Row("an eval that is not there", champion(lambda forged, told: told.update(eval_run="0" * 32)), CHAMPION),
    Row(
        "a gate that was not passed",
        champion(lambda forged, told: told.update(difference=0.5, low=0.4), "1"),
        f"{CHAMPION}, promotion, difference",
    ),
    Row(
        "against nobody",
        champion(lambda forged, told: told.update(against_eval_run=None), "1"),
        f"{CHAMPION}, promotion",
    ),
    Row(
        "against another",
        champion(lambda forged, told: told.update(against_eval_run=forged.names["eval b0"]), "1"),
        f"{CHAMPION}, promotion against version 1",
    ),
    Row("no promotion", champion(lambda forged, told: "x"), CHAMPION),
    Row("half a promotion", champion(lambda forged, told: {"event": "promoted", "alias": "champion"}), CHAMPION),
    Row(
        "a gate of its own",
        champion(lambda forged, told: told.update(margin=1.0), "1"),
        f"{CHAMPION}, the gate",
        exit_code=5,
    ),
]


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row.name)
def test_a_name_that_leads_elsewhere_is_named(forged: Forger, row: Row) -> None:
    row.alter(forged)
    names(forged.check("pipeline"), forged.names["pipeline"], row.where, row.exit_code)


def test_another_manifest_than_was_promoted_is_named_at_its_run(forged: Forger) -> None:
    champion(lambda _, told: told.update(manifest_sha256="0" * 64))(forged)
    names(forged.check("pipeline"), forged.names["eval f1"], "artifact manifest.json")


def test_a_champion_that_was_promoted_and_replaced_another_is_whole(forged: Forger) -> None:
    forged.promotion("eval f1", "2", "1", "eval c3")
    verdict = forged.check("pipeline")
    assert verdict.whole, verdict.breaks
    verdict = forged.check("train f1", version=forged.version("tiny", "2"), alias="champion")
    assert verdict.whole, verdict.breaks
    # Held against eval runs that are not of the checkpoint's own record, which is therefore walked too.
    assert {forged.names["eval f1"], forged.names["eval c3"]} < {node.run_id for node in verdict.root.walk()}


def test_an_alias_that_a_later_study_moved_on_leads_to_a_record_that_is_checked_too(forged: Forger) -> None:
    forged.version_of("lr train", "3")
    forged.pointed["tiny"]["flat-s1"] = "3"
    verdict = forged.check("pipeline")
    assert verdict.whole, verdict.breaks
    run_id = forged.names["lr train"]
    assert f"has moved on: from version 2, of this record, to version 3, which run {run_id} made" in verdict.remarks[0]
    assert run_id in {node.run_id for node in verdict.root.walk()}
    forged.data[Owner("models", forged.model_id("lr train")), "model/config.json"] = b"{}"
    names(forged.check("pipeline"), run_id, "model flat-1-s1, file model/config.json")


def test_a_model_that_its_run_did_not_seal_is_named(forged: Forger) -> None:
    verdict = forged.check("train f1", model_id="m-0")
    names(verdict, forged.names["train f1"], "the model that was named")


# --- what cannot be told, and is said -----------------------------------------------------------


def test_a_report_that_was_made_for_another_server_says_where_its_links_lead(forged: Forger) -> None:
    """Nothing tells where a record was made: it is taken as told, and said where it is not here."""
    manifest, steps = forged.manifest("report"), forged.manifest("pipeline")["facts"]["steps"]
    manifest["facts"]["server"] = "http://elsewhere.example"
    forged.manifest("pipeline")["facts"]["report"] = manifest["facts"]
    forged.remake(config_of(forged.sealed(forged.names["pipeline"])), steps)
    forged.seal()
    verdict = forged.check("pipeline")
    assert verdict.whole, verdict.breaks
    assert "The report's links lead to http://elsewhere.example; this record was read from memory." in verdict.remarks


def test_a_whole_verdict_says_in_short_what_it_took_as_recorded(forged: Forger) -> None:
    said = str(forged.check("pipeline"))
    assert "Taken as recorded, since nothing here can tell it again: what the models said, the losses" in said


def test_a_record_in_another_experiment_is_whole(forged: Forger) -> None:
    """As after a move to another server, which numbers its experiments by itself."""
    for view in forged.views.values():
        view["experiment_id"] = "77"
    verdict = forged.check("pipeline")
    assert verdict.whole, verdict.breaks
