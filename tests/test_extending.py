"""docs/extending.md does what it says: its files are a study's, and its commands run."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Store
from helpers.tables import DOCS, PLACE, written

from stagewise import own_code, registry
from stagewise.cli import main
from stagewise.commands.derivation import own
from stagewise.record.manifest import Sealed
from stagewise.tracking.records import Record, download, read
from stagewise.tracking.store import connect

PAGE = (DOCS / "extending.md").read_text(encoding="utf-8")
OWN = {
    "split": ["my_lab.data:pairs", "my_lab.difficulty:numbers"],
    "train": ["my_lab.data:pairs"],
    "eval": ["my_lab.answers:last_bold", "my_lab.answers:same_digits", "my_lab.data:pairs", "my_lab.style:hedges"],
}


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md") if PLACE.search(path.read_text())))
def test_the_tables_are_what_the_docstrings_say(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert written(text) == text, "python tests/helpers/tables.py writes them"


def test_every_kind_of_thing_has_its_table() -> None:
    kinds = {match[1] for path in DOCS.glob("*.md") for match in PLACE.finditer(path.read_text(encoding="utf-8"))}
    assert kinds == {kind for kind in registry.PLACES if registry.names(kind)}


COMMANDS = [shlex.split(line) for line in re.findall(r"^stagewise (.+)$", PAGE, re.MULTILINE)]


def written_out(folder: Path) -> None:
    """The page's files, and data of their layout."""
    named = re.findall(r"^```(?:yaml|python)\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    modules = [f"my_lab/{name}.py" for name in ("data", "difficulty", "answers", "style")]
    assert [name for name, _ in named] == ["lab.yaml", *modules]
    for name, content in named:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    for name, first, count in (("pairs", 0, 12), ("held_out", 100, 4)):
        rows = [json.dumps(pair(number)) + "\n" for number in range(first, first + count)]
        (folder / f"{name}.jsonl").write_text("".join(rows))


def pair(number: int) -> dict[str, str]:
    more = " + 1" * (number % 3)
    return {"q": f"{number} + 2{more}", "work": "count on; say it", "a": str(number + 2 + number % 3)}


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def runs(kind: str) -> list[str]:
    """Their ids, the oldest first."""
    client = connect()
    everywhere = [each.experiment_id for each in client.search_experiments()]
    query = f"tags.`stagewise.kind` = '{kind}'"
    found = client.search_runs(everywhere, query, order_by=["attributes.start_time ASC"])
    return [each.info.run_id for each in found]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> Iterator[Path]:
    """The page's study, run by the page's commands in the working directory; tests may add runs."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "mlflow.db").write_bytes(fresh_database)
    written_out(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in Store(folder).environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        assert [words[0] for words in COMMANDS] == ["plan", "main", "verify"]
        for words in COMMANDS[:2]:
            done = run(*words)
            assert done.exit_code == 0, done.output
        yield folder


def test_each_run_records_what_it_ran(lab: Path) -> None:
    for kind, expected in OWN.items():
        for run_id in runs(kind):
            manifest = read(connect(), run_id, kind).manifest
            assert sorted(manifest.code.own or {}) == expected
            for files in (manifest.code.own or {}).values():
                for place, entry in files.items():
                    assert manifest.outputs.artifacts[f"own_code/{place}"] == entry
                    assert download(connect(), run_id, f"own_code/{place}") == (lab / place).read_bytes()


def test_what_it_measured_and_ordered_by_is_its_own(lab: Path) -> None:
    evaluated, split = runs("eval")[-1], runs("split")[0]
    rows = [json.loads(line) for line in download(connect(), evaluated, "predictions.jsonl").splitlines()]
    assert [list(row["measures"]) for row in rows] == [["tokens", "eos", "steps", "hedges"]] * 4
    assert "eval/hedges" in connect().get_run(evaluated).data.metrics
    easy = download(connect(), split, "stages/easy.jsonl").splitlines()
    assert [len(re.findall(r"\d+", json.loads(line)["q"])) for line in easy] == [2, 3] * 4
    criteria = download(connect(), split, "split_criteria.md").decode()
    assert "**easy**: at most 3 my_lab.difficulty:numbers. 8 traces." in criteria
    assert "hedges" in download(connect(), runs("report")[-1], "report.html").decode()


def test_verify_runs_none_of_it_unless_told_to(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (study, *_) = runs("pipeline")
    with monkeypatch.context() as patch:
        patch.setattr(own_code, "load", lambda *_: pytest.fail("code of the record's was run"))
        unchecked = run("verify", "--run-id", study)
    assert unchecked.exit_code == 5, unchecked.output
    for reference in {name for names in OWN.values() for name in names}:
        assert reference in unchecked.output
    assert "can't be checked without running the study's own code" in unchecked.output
    trusted = run(*COMMANDS[2][:2], study, *COMMANDS[2][3:])
    assert trusted.exit_code == 0, trusted.output
    assert "scores follow from the outputs" in trusted.output


def test_what_the_recorded_code_does_not_give_is_a_break(lab: Path, tmp_path: Path) -> None:
    evaluated = read(connect(), runs("eval")[0], "eval")
    place = "own_code/my_lab/style.py"
    with changed(evaluated, place, b"len(found)", b"1 + len(found)"):
        done = run("verify", "--run-id", evaluated.run_id, "--trust-code")
    assert done.exit_code == 4
    assert f"artifact {place}" in done.output


@contextmanager
def changed(record: Record, path: str, old: bytes, new: bytes) -> Iterator[None]:
    root = connect().get_run(record.run_id).info.artifact_uri.removeprefix("file://")
    file = Path(root, path)
    before = file.read_bytes()
    assert old in before
    file.write_bytes(before.replace(old, new))
    try:
        yield
    finally:
        file.write_bytes(before)


def test_the_manifest_tells_of_the_configs_references_and_of_the_files(lab: Path) -> None:
    evaluated = read(connect(), runs("eval")[0], "eval")
    assert list(own.check(evaluated)) == []
    told = dict(evaluated.manifest.code.own or {})
    hedges = told.pop("my_lab.style:hedges")
    places = [(altered(evaluated, {}), "code.own"), (altered(evaluated, told), "own_code/my_lab/style.py")]
    wrong = {place: {"sha256": "0" * 64, "size": 1} for place in hedges}
    places.append((altered(evaluated, {**told, "my_lab.style:hedges": wrong}), "own_code/my_lab/style.py"))
    places.append((altered(evaluated, {**told, "my_lab.style:other": hedges}), "code.own"))
    for sealed, where in places:
        assert any(where in finding.where for finding in own.check(sealed)), where


def altered(record: Record, told: Any) -> Sealed:
    code = record.manifest.code.model_copy(update={"own": told})
    return replace(record, manifest=record.manifest.model_copy(update={"code": code}))


def test_a_change_of_it_does_again_what_depends_on_it(lab: Path) -> None:
    trained, evaluated = runs("train"), runs("eval")
    text = (lab / "my_lab" / "style.py").read_text()
    (lab / "my_lab" / "style.py").write_text(text.replace('"maybe"', '"might"'))
    assert run("main", "--config", "lab.yaml").exit_code == 0
    (lab / "my_lab" / "style.py").write_text(text)
    assert runs("train") == trained
    assert len(runs("eval")) == len(evaluated) + len(trained)


def test_it_is_reproduced_from_the_record_alone(lab: Path) -> None:
    for path in lab.glob("my_lab/*.py"):
        path.rename(path.with_suffix(".away"))
    try:
        done = run("reproduce", "--run-id", runs("train")[-1], "--yes")
    finally:
        for path in lab.glob("my_lab/*.away"):
            path.rename(path.with_suffix(".py"))
    assert done.exit_code == 0, done.output
    assert "bit-identical" in done.output


def test_a_broken_one_ends_the_study_before_it_begins(lab: Path) -> None:
    text = (lab / "my_lab" / "answers.py").read_text()
    before = runs("pipeline")
    (lab / "my_lab" / "answers.py").write_text(text.replace("last_bold(output: str, prompt", "last_bold(prompt"))
    try:
        done = run("main", "--config", "lab.yaml")
    finally:
        (lab / "my_lab" / "answers.py").write_text(text)
    assert (done.exit_code, runs("pipeline")) == (2, before)
    assert "my_lab.answers:last_bold: cannot be called with (output, prompt)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_secret_in_it_is_refused_since_the_file_is_recorded(lab: Path) -> None:
    text = (lab / "my_lab" / "style.py").read_text()
    (lab / "my_lab" / "style.py").write_text(f'{text}KEY = "hf_{"a1B2" * 8}xy"\n')
    try:
        done = run("main", "--config", "lab.yaml")
    finally:
        (lab / "my_lab" / "style.py").write_text(text)
    assert done.exit_code == 2
    assert "my_lab/style.py: line" in done.stderr
