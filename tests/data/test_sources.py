import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stagewise.config import GenerateSource, Generator, HubSource, PathSource
from stagewise.data import generate
from stagewise.data.sources import load_items, load_traces, open_traces
from stagewise.errors import DataError
from stagewise.hashing import canonical_json

ROWS = [
    {
        "prompt": f"What is {k}+1?",
        "steps": [{"i": 0, "type": "result", "content": f"{k}+1={k + 1}"}],
        "final_answer": str(k + 1),
        "meta": {"category": "synthetic", "note": "é"},
    }
    for k in range(3)
]
ITEMS = [{"id": name, "prompt": f"{name}+1", "expected_answer": "2"} for name in "ab"]
REVISION = "0" * 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder of JSONL that serves as a file, and as a dataset that `datasets` can load."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def hub(name: str, split: str) -> HubSource:
    return HubSource(hub=name, split=split, revision=REVISION)


def test_a_path_is_meant_from_the_base(folder: Path) -> None:
    dataset = load_traces(PathSource(path="sums/train.jsonl"), folder)
    assert dataset.name == "sums/train.jsonl"
    assert dataset.rebuilt() == (folder / "sums" / "train.jsonl").read_bytes()


def test_a_missing_path_is_one_line(folder: Path) -> None:
    with pytest.raises(DataError, match="No such file") as caught:
        load_items(PathSource(path="absent.jsonl"), folder)
    assert "\n" not in str(caught.value)


def test_a_hub_dataset_gives_the_same_traces_as_its_file(folder: Path) -> None:
    by_hub = load_traces(hub("sums", "train"), folder)
    by_path = load_traces(PathSource(path="sums/train.jsonl"), folder)
    assert [trace.key for trace in by_hub.rows] == [trace.key for trace in by_path.rows]
    assert [trace.category for trace in by_hub.rows] == ["synthetic"] * 3
    assert by_hub.rebuilt() == b"".join(canonical_json(row) + b"\n" for row in ROWS)


def test_hub_items_may_have_columns_of_nulls(folder: Path) -> None:
    (folder / "eval").mkdir()
    rows = [{**ITEMS[0], "section": "core"}, ITEMS[1]]
    (folder / "eval" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = load_items(hub("eval", "test"), folder)
    assert [(item.id, item.section) for item in dataset.rows] == [("a", "core"), ("b", None)]


def test_the_revision_goes_to_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = {}
    monkeypatch.setattr(datasets, "load_dataset", lambda **options: asked.update(options) or ROWS)
    dataset = load_traces(hub("someone/sums", "train"), folder)
    assert asked == {"path": "someone/sums", "name": None, "split": "train", "revision": REVISION}
    assert (dataset.name, len(dataset.rows)) == ("someone/sums", 3)


@pytest.mark.parametrize("source", [hub("sums", "no_such_split"), hub("someone/no-such-dataset", "train")])
def test_what_cannot_be_loaded_is_one_line_with_a_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, source: Any
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="check hub, name, split and revision") as caught:
        load_traces(source, folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(source.hub)


def test_a_hub_row_that_is_no_json_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda **_: [{"prompt": b"bytes"}])
    with pytest.raises(DataError, match="row 0 is no JSON"):
        load_traces(hub("someone/sums", "train"), folder)


def test_the_generator_is_a_source_like_any_other(tmp_path: Path) -> None:
    source = GenerateSource(generate=Generator(seed=3, count=30, families=("addition", "parity")))
    traces, items = load_traces(source, tmp_path), load_items(source, tmp_path)
    assert traces.rebuilt() == generate.traces(3, 30, ["addition", "parity"])
    assert items.rebuilt() == generate.items(3, 30, ["addition", "parity"])
    assert traces.name == "generated-3"


def test_a_pipe_is_read_as_often_as_is_needed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_bytes, data)
        opened = open_traces(PathSource(path="pipe"), tmp_path)
    assert opened.size == len(data)
    assert [trace.prompt for trace in opened.traces()] == [trace.prompt for trace in opened.traces()]
