import subprocess
from pathlib import Path

import pytest

from stagewise import provenance


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed repository with one module, from which the package is made to believe it runs."""
    package = tmp_path / "src" / "stagewise"
    package.mkdir(parents=True)
    (package / "module.py").write_text("x = 1\n")
    (package / "__init__.py").touch()
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "PACKAGE", package)
    provenance._sources.cache_clear()
    yield package
    provenance._sources.cache_clear()


def test_a_clean_checkout_is_clean(repository: Path) -> None:
    state = provenance.code_state()
    assert len(state["commit"]) == 40
    assert (state["dirty"], state["diff"]) == (False, None)


def test_a_changed_file_is_dirty_and_its_diff_is_kept(repository: Path) -> None:
    (repository / "module.py").write_text("x = 2\n")
    state = provenance.code_state()
    assert state["dirty"] is True
    assert "+x = 2" in state["diff"]


def test_a_new_file_that_python_could_import_is_dirty(repository: Path) -> None:
    (repository / "new.py").write_text("y = 1\n")
    state = provenance.code_state()
    assert state["dirty"] is True
    assert "+++ b/src/stagewise/new.py" in state["diff"]
    assert "+y = 1" in state["diff"]


def test_a_diff_applies_to_the_commit(repository: Path) -> None:
    (repository / "new.py").write_text("y = 1\nz = 2\n")
    (repository / "module.py").write_text("x = 3\n")
    (repository.parents[1] / "d.diff").write_text(provenance.code_state()["diff"])
    subprocess.run(["git", "stash", "-q"], cwd=repository, check=True)
    (repository / "new.py").unlink()
    subprocess.run(["git", "apply", "d.diff"], cwd=repository.parents[1], check=True)
    assert (repository / "new.py").read_text() == "y = 1\nz = 2\n"
    assert (repository / "module.py").read_text() == "x = 3\n"


def test_outside_a_repository_the_packages_digest_is_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    state = provenance.code_state()
    assert (state["commit"], state["dirty"]) == (None, None)
    assert len(state["package_sha256"]) == 64


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:password@example.org/x.git", "https://example.org/x.git"),
        ("https://token@example.org/x?access_token=1", "https://example.org/x"),
        ("git@example.org:x.git", "git@example.org:x.git"),
    ],
)
def test_credentials_are_taken_out_of_urls(url: str, shown: str) -> None:
    assert provenance.scrub(url) == shown


def test_a_step_depends_on_what_it_imports_and_on_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "sub" / "__init__.py").touch()
    (tmp_path / "step.py").write_text("from stagewise.sub import used\nimport os\n")
    (tmp_path / "sub" / "used.py").write_text("from stagewise import deeper\n")
    (tmp_path / "deeper.py").write_text("")
    (tmp_path / "unused.py").write_text("")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)

    def digest() -> str:
        provenance.code_digest.cache_clear()
        return provenance.code_digest("step")

    (tmp_path / "sub" / "used.py").write_text('from stagewise import deeper\nPROGRAM = "program.py"\n')
    (tmp_path / "sub" / "program.py").touch()
    before = digest()
    (tmp_path / "unused.py").write_text("changed = 1\n")
    assert digest() == before
    (tmp_path / "deeper.py").write_text("changed = 1\n")
    assert digest() != before
    before = digest()
    (tmp_path / "sub" / "program.py").write_text("changed = 1\n")
    assert digest() != before
    provenance.code_digest.cache_clear()
