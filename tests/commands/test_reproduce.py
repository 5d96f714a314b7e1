"""Records run again through the command line: the verdict, what is refused, and what stays as it was."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from conftest import TINY, Finished, Store, merged
from helpers.commands import ROOT, of, stagewise
from helpers.models import model, tokenizer
from helpers.studies import copied, experiment_id

from stagewise.cli import main
from stagewise.commands import reproduce as step
from stagewise.commands.verify import check
from stagewise.data import generate
from stagewise.errors import CodeError, LineageError, UserError
from stagewise.hashing import sha256
from stagewise.model import loading
from stagewise.model.loading import Loaded
from stagewise.record import manifest as manifests
from stagewise.tracking.records import Record, download, read
from stagewise.tracking.store import connect


@pytest.fixture(scope="module")
def study(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """The finished study, copied: runs may be added to it, and its records altered."""
    folder = tmp_path_factory.mktemp("reproduce")
    made = copied(finished.store, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        yield Finished(made, finished.config, finished.run_id, connect())


def ids(study: Finished, kind: str) -> dict[str, str]:
    """Run ids by the first two letters of the run's name: c3, f1, …"""
    return {run.info.run_name[:2]: run.info.run_id for run in study.runs(kind)}


def reproductions(study: Finished) -> list[Record]:
    """Those that came to their end; a test beside may have ended one."""
    finished = [run.info.run_id for run in study.runs("reproduction") if run.info.status == "FINISHED"]
    return [read(study.client, run_id, "reproduction") for run_id in finished]


@pytest.fixture(scope="module")
def phase(study: Finished) -> Record:
    """The reproduction of c2, whose parent and stages come from the record."""
    done = of(study, "reproduce", "--run-id", ids(study, "train")["c2"], "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ bit-identical: weights, order, losses\n" in done.stdout
    return reproductions(study)[0]


def test_a_phase_is_bit_identical_in_a_new_run_that_names_the_recorded_one(study: Finished, phase: Record) -> None:
    original, again = ids(study, "train")["c2"], phase.manifest.inputs.runs["again"]["run_id"]
    assert phase.manifest.inputs.runs["original"]["run_id"] == original != again
    run = study.client.get_run(phase.run_id)
    assert run.data.tags["stagewise.reproduces"] == original
    assert run.data.tags["stagewise.verdict"] == "bit-identical"
    assert study.client.get_run(again).data.tags["stagewise.reproduces"] == original
    result = json.loads(phase.artifact("reproduction.json"))
    assert (result["differences"], result["environment"]) == ([], [])
    assert phase.manifest.code.commit[:12] in result["code"]["origin"]  # type: ignore[index]
    recorded, made = (read(study.client, run_id, "train").model for run_id in (original, again))
    assert made.weights_sha256 == recorded.weights_sha256
    assert made.model_id != recorded.model_id


def test_a_reproduction_is_a_whole_record(study: Finished, phase: Record) -> None:
    verdict = check(phase.run_id)
    assert verdict.whole, verdict.breaks
    runs = phase.manifest.inputs.runs.values()
    assert {phase.run_id, *(each["run_id"] for each in runs)} < {node.run_id for node in verdict.root.walk()}


def test_nothing_is_left_running_or_behind_and_no_alias_moves(study: Finished, phase: Record) -> None:
    found = study.client.search_runs([experiment.experiment_id for experiment in study.client.search_experiments()])
    assert {run.info.status for run in found} == {"FINISHED"}
    assert [path.name for path in (study.store.folder / "home" / "work").iterdir() if path.is_dir()] == []
    assert len(study.client.search_model_versions("name = 'tiny'")) == 2


# --- what another run is compared with, without training again ------------------------------------


@pytest.fixture
def made_again(study: Finished, phase: Record, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Stands for what a run gives: c2 as it was reproduced."""
    again = read(study.client, phase.manifest.inputs.runs["again"]["run_id"], "train")
    monkeypatch.setattr(step, "_run_again", lambda *arguments: again)
    return again


@pytest.fixture
def alter(study: Finished) -> Iterator[Callable[[str, Callable[[dict[str, Any]], None]], None]]:
    """Rewrites a run's manifest with a seal that fits, and at the end takes it back."""
    before: dict[Path, tuple[str, bytes]] = {}

    def rewrite(run_id: str, change: Callable[[dict[str, Any]], None]) -> None:
        path = Path(study.client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / manifests.FILE
        before[path] = run_id, path.read_bytes()
        value = json.loads(path.read_bytes())
        change(value)
        data, digest = manifests.encode(manifests.Manifest.model_validate(value))
        path.write_bytes(data)
        study.client.set_tag(run_id, "stagewise.manifest_sha256", digest)

    yield rewrite
    for path, (run_id, data) in before.items():
        path.write_bytes(data)
        study.client.set_tag(run_id, "stagewise.manifest_sha256", sha256(data))


def other_loss(manifest: dict[str, Any]) -> None:
    manifest["recorded"]["metrics"]["train/loss_last"] /= 2


def other_order(manifest: dict[str, Any]) -> None:
    manifest["facts"]["order_sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "named"), [(other_loss, "train/loss_last: recorded 2.9"), (other_order, "order sha256: recorded 0000")]
)
def test_an_altered_record_differs_and_the_first_difference_is_named(
    study: Finished, made_again: Record, alter: Any, change: Any, named: str
) -> None:
    original = ids(study, "train")["c2"]
    alter(original, change)
    done = CliRunner().invoke(main, ["reproduce", "--run-id", original, "--yes"])
    assert done.exit_code == 4, done.output
    assert f"✗ differs: 1 differences, the first: train curriculum-2-s1: {named}" in done.output
    run = study.client.get_run(reproductions(study)[-1].run_id)
    assert (run.info.status, run.data.tags["stagewise.verdict"]) == ("FINISHED", "differs")


def test_as_many_threads_as_were_recorded_and_no_requirement_of_a_clean_tree(
    study: Finished, alter: Any, tmp_path: Path
) -> None:
    original = ids(study, "train")["c2"]
    alter(original, lambda manifest: manifest["machine"].update(threads=3))
    config = step._config(read(study.client, original, "train"), "again", tmp_path)
    assert (config["study"], config["compute"]["threads"], config["require_clean"]) == ("again", 3, False)
    assert config["data"] == TINY["data"]  # a phase takes its data from the recorded split


def test_a_study_whose_chain_does_not_close_is_refused(study: Finished, made_again: Record, alter: Any) -> None:
    alter(ids(study, "train")["c2"], other_loss)
    with pytest.raises(LineageError, match=r"found manifest sha256 .* expected"):
        step.reproduce(study.run_id, yes=True)


def test_code_that_cannot_be_rebuilt_is_refused_and_the_run_closed(study: Finished, alter: Any) -> None:
    original = ids(study, "train")["c2"]
    alter(original, lambda manifest: manifest["code"].update(package_sha256="0" * 64))
    with pytest.raises(CodeError, match="the rebuilt package has sha256"):
        step.reproduce(original, yes=True)
    query = "tags.`stagewise.kind` = 'reproduction'"
    newest = study.client.search_runs([study.experiment_id], query, order_by=["attributes.start_time DESC"])[0]
    assert newest.info.status == "FAILED"


def test_what_cannot_be_reproduced_is_refused(study: Finished) -> None:
    for kind in ("split", "eval", "report"):
        found = next(iter(ids(study, kind).values()))
        with pytest.raises(LineageError, match=f"found a {kind} run, expected a pipeline or a train run"):
            step.reproduce(found, yes=True)
    running = study.client.create_run(study.experiment_id, tags={"stagewise.kind": "pipeline"}).info.run_id
    with pytest.raises(LineageError, match="found a pipeline run that is RUNNING, expected FINISHED"):
        step.reproduce(running, yes=True)
    study.client.set_terminated(running)
    done = CliRunner().invoke(main, ["reproduce", "--run-id", "0" * 32])
    assert (done.exit_code, done.output) == (
        2,
        f"LineageError: run '{'0' * 32}': no such run on this tracking server\n",
    )


@pytest.mark.parametrize(("answer", "runs"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_whose_code_would_run_is_said_and_asked_on_a_terminal(
    study: Finished, made_again: Record, monkeypatch: pytest.MonkeyPatch, answer: str, runs: bool
) -> None:
    original = ids(study, "train")["c2"]
    before = len(study.runs("reproduction"))
    with monkeypatch.context() as patch:
        patch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
        done = CliRunner().invoke(main, ["reproduce", "--run-id", original], input=answer)
    commit = study.client.get_run(original).data.tags["stagewise.commit"]
    assert (
        f"! reproduce runs the code that run {original} recorded, on this machine and with your rights" in done.output
    )
    assert f"!   commit {commit} by " in done.output
    assert "; the run was made by " in done.output
    assert "Run it? [y/N]: " in done.output
    assert (done.exit_code, len(study.runs("reproduction")) - before) == ((0, 1) if runs else (2, 0))


def test_without_a_terminal_nothing_runs_unless_it_was_said(study: Finished) -> None:
    before = len(study.runs("reproduction"))
    done = of(study, "reproduce", "--run-id", ids(study, "train")["c2"])
    assert done.returncode == 2
    assert done.stderr.endswith(
        "there is no terminal to ask on whether to run it; give --yes (-P yes=true) if you would\n"
    )
    assert len(study.runs("reproduction")) == before


def test_a_command_that_fails_is_one_line_and_leaves_no_run_running(study: Finished, tmp_path: Path) -> None:
    from stagewise.tracking.launcher import run_elsewhere

    experiment = study.experiment_id
    with pytest.raises(UserError, match="x: its process ended with exit code 2, and says why above"):
        run_elsewhere(study.client, experiment, "x", ["main", "--config", "none.yaml"], ROOT / "src", tmp_path)
    assert study.client.search_runs([experiment], "attributes.status = 'RUNNING'") == []


# --- whole studies ------------------------------------------------------------------------------


def test_a_whole_study_is_bit_identical(study: Finished, phase: Record) -> None:
    done = of(study, "reproduce", "--run-id", study.run_id, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    again = reproductions(study)[-1].manifest.inputs.runs["again"]["run_id"]
    assert read(study.client, again, "pipeline").manifest.facts["steps_reused"] == 0
    assert "✓ bit-identical: weights, order, losses, predictions and metrics of every step" in done.stdout
    assert len(study.client.search_model_versions("name = 'tiny'")) == 2


@pytest.mark.slow
def test_a_reproduction_that_is_ended_politely_closes_every_run_and_leaves_no_folder(study: Finished) -> None:
    command = [sys.executable, "-m", "stagewise", "reproduce", "--run-id", study.run_id, "--yes"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("▸ c1 s1 train"):
            break
    process.terminate()
    said = process.stdout.read()
    assert process.wait(60) == 130, said
    newest = study.client.search_runs([study.experiment_id], order_by=["attributes.start_time DESC"])[0]
    assert (newest.data.tags["stagewise.kind"], newest.info.status) == ("reproduction", "KILLED")
    everywhere = [experiment.experiment_id for experiment in study.client.search_experiments()]
    assert study.client.search_runs(everywhere, "attributes.status = 'RUNNING'") == []
    assert not (study.store.folder / "home" / "work" / f"reproduce-{newest.info.run_id}").exists()


def copy_of_this_repository(folder: Path) -> None:
    """Committed as it is now, and on no remote."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


@pytest.mark.slow
def test_a_record_of_changed_code_is_enough_where_clone_data_and_model_are_gone(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that no remote holds, and a change that no commit holds; traces with CRLF and a repeat; a model's folder."""
    clone, data = tmp_path / "clone", tmp_path / "data"
    copy_of_this_repository(clone)
    source = clone / "src" / "stagewise" / "evaluation" / "scoring" / "text.py"
    source.write_text(f"{source.read_text()}\n# changed\n")
    data.mkdir()
    traces = generate.traces(seed=1, count=40, families=None, categories=None, steps=None).split(b"\n")[:-1]
    (data / "traces.jsonl").write_bytes(b"\r\n".join([*traces, traces[0]]))
    vocabulary = tokenizer()
    loading.save(Loaded(model("llama", len(vocabulary)), vocabulary), data / "model")
    config = merged(TINY, {"arms": ["flat"], "launcher": "project", "require_clean": False})
    config["data"] = TINY["data"] | {"train": {"path": "traces.jsonl"}, "duplicates": "drop"}
    config["model"] = {"path": "model"}
    (data / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "stagewise", "main", "--config", str(data / "config.yaml")]
    monkeypatch.setenv("PYTHONPATH", str(clone / "src"))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(clone)
    shutil.rmtree(data)
    client = connect()
    (run,) = client.search_runs(
        [experiment_id(client, "tiny")],
        "tags.`stagewise.kind` = 'pipeline'",
    )
    assert b"+# changed" in download(client, run.info.run_id, "code.diff")
    done = stagewise("reproduce", "--run-id", run.info.run_id, "--yes")  # type: ignore[assignment]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from the record's code.tar, with its code.diff" in done.stdout
    assert "✓ bit-identical" in done.stdout
