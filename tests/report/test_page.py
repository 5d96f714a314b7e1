"""report.html: its numbers, what it holds, and that nothing in it can reach out or break out."""

import base64
import gzip
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import Finished
from helpers.reports import study

from stagewise.config import Primary
from stagewise.report import Checkpoint, comparison, page, tables
from stagewise.tracking.records import download

PNG = b"\x89PNG\r\n\x1a\n"
SHARES = {"curriculum": [0.8, 0.75, 0.825], "shuffled": [0.5, 0.475, 0.5], "flat": [0.3, 0.5, 0.2]}


class Parsed(HTMLParser):
    """The tags of a page with their attributes, and its table rows as lists of texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.rows[-1][-1] += data


def written(checkpoints: list[Checkpoint], server: str = "", seed: int = 0, primary: Primary | None = None) -> str:
    paths = {run: f"#/experiments/1/runs/{run}" for each in checkpoints for run in (each.eval_run, each.train_run)}
    compared = comparison("study <i>", primary or Primary(), checkpoints)
    setup = {"hypothesis": "<script>alert(2)</script>"}
    return page.write(compared, checkpoints, setup, page.Places(server, paths), {"loss.png": ("Loss.", PNG)}, seed)


def everything(html: str) -> dict[str, Any]:
    packed = re.search(r'id="everything">([^<]*)<', html)
    assert packed
    return dict(json.loads(gzip.decompress(base64.b64decode(packed.group(1)))))


@pytest.fixture(scope="module")
def checkpoints() -> list[Checkpoint]:
    return study(SHARES)


@pytest.fixture(scope="module")
def html(checkpoints: list[Checkpoint]) -> str:
    return written(checkpoints)


def test_its_numbers_are_the_comparisons(checkpoints: list[Checkpoint], html: str) -> None:
    compared = comparison("study <i>", Primary(), checkpoints)
    rows = Parsed(html).rows
    assert f"<h1>{compared['verdict']}</h1>" in html
    for each in compared["checkpoints"]:
        (found,) = [row for row in rows if row[0].strip() == each["name"] and len(row) > 10]
        texts = ["".join(cell.split()) for cell in found]
        assert texts[1] == f"{each['right']}/{each['items']}"
        for column, name in enumerate(page.COLUMNS, start=2):
            mean, interval = tables.with_interval(name, each["measures"].get(name))
            assert texts[column] == (mean + interval).replace(" ", "")
        assert texts[-2:] == [each["train_run"][:8], each["eval_run"][:8]]
    primary = compared["contrasts"]["curriculum - shuffled"]
    for text in (
        f"{100 * primary['test']['mean']:+.1f} points of flexible",
        tables.span(primary["test"]["interval"]),
        f"about {100 * primary['test']['detectable']:.1f} points",
        primary["sensitivity"],
    ):
        assert text in html
    for each, line in zip(primary["pairs"], tables.pairs(primary)[1:], strict=True):
        (found,) = [row for row in rows if [cell.strip() for cell in row[:-1]] == line and len(row) == len(line) + 1]
        assert [cell.strip() for cell in found[1:3]] == [str(each["only_a"]), str(each["only_b"])]


def test_a_primary_contrast_that_is_not_order_alone_is_headed_so(checkpoints: list[Checkpoint]) -> None:
    html = written(checkpoints, primary=Primary(arm="flat"))
    assert "<h1>Not only order, since flat is a baseline. " in html
    section = html[html.index("The primary contrast") : html.index("<h2>Checkpoints")]
    assert "flat: a baseline; beside order: learning-rate schedule and optimizer start afresh" in section


def test_what_a_model_wrote_is_text(html: str) -> None:
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "study <i>" not in html
    scripts = [attributes for tag, attributes in Parsed(html).tags if tag == "script"]
    assert [each.get("id") for each in scripts] == ["everything", None]  # the page's own two, and no other
    assert "innerHTML" not in (page.TEMPLATES / "report.js").read_text()


@pytest.mark.parametrize("server", ["", "https://mlflow.example"])
def test_it_loads_nothing(checkpoints: list[Checkpoint], server: str) -> None:
    html = written(checkpoints, server)
    for tag, attributes in Parsed(html).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert (attributes.get("src") or "data:").startswith("data:")
        if "href" in attributes:
            assert tag == "a"
            assert str(attributes["href"]).startswith("https://mlflow.example/#/experiments/1/runs/")
    assert "default-src 'none'" in html
    style = (page.TEMPLATES / "report.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_runs_and_comparisons_item_by_item_are_linked_or_told(checkpoints: list[Checkpoint], html: str) -> None:
    names = {each.name: each.eval_run for each in checkpoints}
    left, right = names["curriculum-1-s2"], names["shuffled-1-s2"]
    path = f"#/experiments/1/runs/{left}/traces?compareToRunUuid={right}"
    assert f"<code>{path}</code>" in html
    assert f'href="https://mlflow.example/{path}"' in written(checkpoints, "https://mlflow.example")
    for each in checkpoints:
        assert f"<code>#/experiments/1/runs/{each.train_run}</code>" in html


def test_every_item_of_every_checkpoint_is_in_it(checkpoints: list[Checkpoint], html: str) -> None:
    data = everything(html)
    assert [each["name"] for each in data["checkpoints"]] == [each.name for each in checkpoints]
    for number, item in enumerate(data["items"]):
        assert item["item"] == f"item-{number:04d}"
        assert [answer[4] for answer in item["answers"]] == [each.rows[number]["resps"][0][0] for each in checkpoints]
        assert [answer[0] for answer in item["answers"]] == [
            bool(each.rows[number]["flexible"]) for each in checkpoints
        ]
    assert len(data["items"]) == 40


def test_twenty_items_are_drawn_by_the_seed() -> None:
    assert page.drawn(100, 1) == page.drawn(100, 1) != page.drawn(100, 2)
    assert len(set(page.drawn(100, 1))) == 20
    assert page.drawn(6, 3) == [0, 1, 2, 3, 4, 5]


def test_the_drawn_items_stand_side_by_side_for_all_checkpoints(checkpoints: list[Checkpoint]) -> None:
    html = written(checkpoints, seed=5)
    shown = re.findall(r'<p class="quiet">(item-\d+)', html)
    assert shown == [f"item-{number:04d}" for number in page.drawn(40, 5)]
    assert html.count('<div class="answer ') == 20 * len(checkpoints)


def test_differences_are_marked_word_by_word_and_lose_nothing() -> None:
    held, row = ({"resps": [[text]]} for text in ("2+0=2\n1+3=4\n42", "2+0=2\n1+3=5\n  52"))
    parts = page.differences(held, row)
    assert "".join(text for text, _ in parts) == "2+0=2\n1+3=5\n  52"
    assert parts == [("2+0=2\n", False), ("1+3=5\n  52", True)]
    short = {"resps": [["2+0=2\n42"]]}
    assert page.differences(held, short) == [("2+0=2\n", False), ("", True), ("42", False)]  # a step is missing
    assert page.differences(held, held) == [("2+0=2\n1+3=4\n42", False)]


def test_a_study_of_gsm8ks_size_fits(checkpoints: list[Checkpoint]) -> None:
    """1,319 items by 13 checkpoints, 100 words an output. MLflow's UI shows files of up to 50 MiB."""
    html = written(study({"curriculum": [0.6], "shuffled": [0.5], "flat": [0.7], "reversed": [0.4]}, 1319, 3, 100))
    data = everything(html)
    assert (len(data["items"]), len(data["items"][0]["answers"])) == (1319, 13)
    assert len(html) < 10 * 2**20


def test_the_studys_page_has_its_figures_and_its_set_up(finished: Finished) -> None:
    (report,) = finished.runs("report")
    names = {entry.path for entry in finished.client.list_artifacts(finished.run_id, "report")}
    figures = {"accuracy.png", "loss.png", "structure.png", "items.png", "contrasts.png"}
    assert names == {f"report/{name}" for name in figures | {"report.html", "report.md", "comparison.json"}}
    html = download(finished.client, finished.run_id, "report/report.html").decode()
    for name in figures:
        png = download(finished.client, report.info.run_id, name)
        assert png.startswith(PNG)
        assert base64.b64encode(png).decode() in html
    for text in ("generated-1", "batch_size 8", "curriculum: what the others are held against", "package sha256"):
        assert text in html
    assert html.count('<div class="answer ') == 6 * 5
    short = download(finished.client, finished.run_id, "report/report.md").decode()
    for text in ("generated-1", "batch_size 8", "curriculum: what the others are held against", "package sha256"):
        assert text in short


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium to open the page with")
def test_a_browser_lists_all_items(html: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(html)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run(
        [*command, f"file://{tmp_path}/report.html"], capture_output=True, text=True, timeout=120, check=True
    )
    assert "20 of 40 items that fit, of 40 in all" in done.stdout
    assert "<script>alert" not in done.stdout
