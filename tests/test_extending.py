"""docs/extending.md does what it says: its files are a study's, and its commands run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Store
from helpers.tables import DOCS, PLACE, written

from stagewise import registry
from stagewise.cli import main
from stagewise.record.manifest import decode
from stagewise.tracking.records import download
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


@pytest.fixture
def lab(store: Store) -> Path:
    """The page's files, and data of their layout, in the working directory."""
    named = re.findall(r"^```(?:yaml|python)\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in named] == [
        "lab.yaml",
        *(f"my_lab/{x}.py" for x in ("data", "difficulty", "answers", "style")),
    ]
    for name, content in named:
        path = store.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    for name, count in (("pairs", 12), ("held_out", 4)):
        rows = [pair(number + (100 if name == "held_out" else 0)) for number in range(count)]
        (store.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return store.folder


def pair(number: int) -> dict[str, str]:
    more = " + 1" * (number % 3)
    return {"q": f"{number} + 2{more}", "work": "count on; say it", "a": str(number + 2 + number % 3)}


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def runs(kind: str) -> list[Any]:
    client = connect()
    everywhere = [each.experiment_id for each in client.search_experiments()]
    return client.search_runs(everywhere, f"tags.`stagewise.kind` = '{kind}'", order_by=["attributes.start_time ASC"])


def change(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def test_the_page(lab: Path) -> None:
    commands = [shlex.split(line) for line in re.findall(r"^stagewise (.+)$", PAGE, re.MULTILINE)]
    assert [words[0] for words in commands] == ["plan", "main", "verify"]
    for words in commands[:2]:
        done = run(*words)
        assert done.exit_code == 0, done.output
    (study,) = (each.info.run_id for each in runs("pipeline"))
    for kind, expected in OWN.items():
        for each in runs(kind):
            manifest = decode(download(connect(), each.info.run_id, "manifest.json"))
            assert sorted(manifest.code.own or {}) == expected
            for files in (manifest.code.own or {}).values():
                for place, entry in files.items():
                    assert download(connect(), each.info.run_id, f"own_code/{place}") == (lab / place).read_bytes()
                    assert manifest.outputs.artifacts[f"own_code/{place}"] == entry
    evaluated = runs("eval")[-1]
    rows = map(json.loads, download(connect(), evaluated.info.run_id, "predictions.jsonl").splitlines())
    assert set().union(*(row["measures"] for row in rows)) == {"tokens", "eos", "steps", "hedges"}
    assert "eval/hedges" in evaluated.data.metrics

    unchecked = run("verify", "--run-id", study)
    assert unchecked.exit_code == 5, unchecked.output
    assert "give --trust-code" in unchecked.output
    trusted = run(*["verify", "--run-id", study, "--trust-code"])
    assert trusted.exit_code == 0, trusted.output

    before = [each.info.run_id for each in runs("train")]
    change(lab, "my_lab/style.py", '"maybe"', '"might"')
    assert run("main", "--config", "lab.yaml").exit_code == 0
    assert [each.info.run_id for each in runs("train")] == before
    assert len(runs("eval")) == 2 * len(before)  # each checkpoint, evaluated again
