"""A user's own code: found in the folder first, digested with what it imports, and refused in one line."""

import sys
from pathlib import Path
from typing import Any

import pytest

from stagewise import own_code
from stagewise.errors import CodeError


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with a package of two modules, of which one imports the other."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "__init__.py").write_text('"""Ours."""\n')
    (tmp_path / "my_lab" / "answers.py").write_text(
        "import re\nfrom .words import BOLD\n\ndef last(x): return BOLD + x\n"
    )
    (tmp_path / "my_lab" / "words.py").write_text("BOLD = '**'\n")
    (tmp_path / "my_lab" / "other.py").write_text("raise RuntimeError\n")
    return tmp_path


def test_a_reference_is_a_module_and_an_attribute() -> None:
    assert own_code.is_reference("my_lab.answers:last_bold")
    wrong = ("last_bold", "my_lab.answers", "my_lab:", ":x", "a:b:c", "a-b:c", "../a:b", "a.b:c.d")
    assert [name for name in wrong if own_code.is_reference(name)] == []


def test_sources_are_the_module_and_what_it_imports_beside_it(lab: Path) -> None:
    found = own_code.sources("my_lab.answers:last", lab)
    assert list(found) == ["my_lab/__init__.py", "my_lab/answers.py", "my_lab/words.py"]
    assert found["my_lab/words.py"] == b"BOLD = '**'\n"


def test_it_is_imported_from_the_folder_and_leaves_nothing_there(lab: Path) -> None:
    assert own_code.load("my_lab.answers:last", lab)("a") == "**a"
    assert list(lab.rglob("__pycache__")) == []


def test_a_change_and_another_folder_of_the_same_names_are_other_code(lab: Path, tmp_path: Path) -> None:
    first = own_code.load("my_lab.answers:last", lab)
    (lab / "my_lab" / "words.py").write_text("BOLD = '__'\n")
    assert own_code.load("my_lab.answers:last", lab)("a") == "__a"
    other = tmp_path / "other"
    (other / "my_lab").mkdir(parents=True)
    (other / "my_lab" / "answers.py").write_text("def last(x): return x * 2\n")
    assert own_code.load("my_lab.answers:last", other)("a") == "aa"
    assert first("a") == "**a"


def test_an_installed_module_is_found_on_the_path(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "their_lab.py").write_text("import my_lab.other\nimport pydantic\ndef f(): return 1\n")
    assert list(own_code.sources("their_lab:f", tmp_path / "elsewhere")) == ["their_lab.py"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("no_lab:f", "no module no_lab in"),
        ("my_lab.nothing:f", "no module my_lab.nothing in"),
        ("my_lab.answers:first", "has no first; it has last"),
        ("my_lab.other:f", "cannot be imported: RuntimeError"),
        ("broken:f", "broken.py, line 1: found no Python"),
        ("leaves:f", "cannot be imported: SystemExit: 0"),
        ("random:f", "random is a module of Python; rename yours"),
        ("stagewise.errors:listed", "stagewise is a module of stagewise; rename yours"),
        ("pytest:f", "Python has already loaded another module pytest; rename yours"),
    ],
)
def test_what_cannot_be_imported_is_one_line(lab: Path, reference: str, said: str) -> None:
    (lab / "broken.py").write_text("def (\n")
    (lab / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    (lab / "pytest.py").write_text("f = 1\n")
    before: list[Any] = list(sys.path)
    with pytest.raises(CodeError) as caught:
        own_code.load(reference, lab)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert set(sys.path) <= {*before, str(lab)}
