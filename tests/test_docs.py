"""What the pages say of the project is so: links resolve, named modules exist, releases agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from stagewise import __version__
from stagewise.data.traces import parse_traces

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_resolves(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:|/?#/", target):
            continue
        place, _, anchor = target.partition("#")
        there = (page.parent / place).resolve() if place else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)
    assert wrong == []


def test_every_module_of_how_it_works_exists() -> None:
    text = (DOCS / "how_it_works.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)`", text)
    assert len(set(named)) > 30
    assert [name for name in named if not (ROOT / "src" / "stagewise" / name).is_file()] == []


def test_the_trace_of_how_it_works_is_one() -> None:
    line = re.search(r"^{.+}$", (DOCS / "how_it_works.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert line is not None
    (trace,) = parse_traces(f"{line[0]}\n".encode(), "page").rows
    assert trace.final_answer == "36"


def test_the_index_lists_every_page() -> None:
    listed = re.findall(r"^\| \[(\w+\.md)\]", (DOCS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in DOCS.glob("*.md") if page.name != "README.md")


def test_the_recipes_of_contributing_name_what_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    cells = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py|cli\.py)`", text)
    assert len(cells) > 5
    assert [name for name in cells if not any((base / name).exists() for base in (ROOT, ROOT / "src/stagewise"))] == []


def test_every_marker_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    markers = {line.partition(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {name for name in markers if f"| `{name}` |" in text} == markers


def test_the_changelog_has_its_form_and_the_newest_release_is_this_one() -> None:
    releases = re.findall(r"^## (.+)$", CHANGES, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", each) for each in releases[1:])
    assert releases[1].startswith(f"[{__version__}] - ")
    kinds = re.findall(r"^### (\w+)", CHANGES, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_a_citation_names_this_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert f"## [{__version__}] - {citation['date-released']}" in CHANGES


def test_pre_commit_checks_with_the_releases_of_the_lock() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    lock = (ROOT / "constraints.txt").read_text().splitlines()
    for repository, package in zip(hooks["repos"], ("ruff", "typos"), strict=True):
        assert package in repository["repo"]
        assert f"{package}=={repository['rev'].removeprefix('v')}" in lock


def test_the_workflow_runs_what_ci_runs() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]
    assert job["steps"][-1] == {"run": "bash .ci/run"}
