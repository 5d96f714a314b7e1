"""Code rebuilt from what a record holds of it: from this repository, its remote, the archive."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from stagewise.errors import CodeError
from stagewise.record import checkout, commits
from stagewise.record import code as provenance
from stagewise.record.manifest import Code

IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@t")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a package and a test of two commits, from which the package is made to believe it runs."""
    top = tmp_path / "clone"
    for name in ("src/stagewise/__init__.py", "src/stagewise/module.py", "tests/test_module.py"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x = 1\n")
    git(top, "init", "-q")
    git(top, "add", ".")
    git(top, "commit", "-qm", "one")
    run_from(top, monkeypatch)
    return top


def run_from(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", top / "src" / "stagewise")
    monkeypatch.setattr(checkout, "PACKAGE", top / "src" / "stagewise")


def state() -> dict[str, Any]:
    provenance.package_digest.cache_clear()
    commits.held.cache_clear()
    return provenance.code_state()


def rebuild(code: dict[str, Any], folder: Path, archive: bool = True) -> checkout.Checkout:
    provenance.package_digest.cache_clear()
    diff = code["diff"].encode() if code["diff"] else None
    told = {name: value for name, value in code.items() if name not in ("diff", "objects", "archive")}
    recorded = Code(**told, step_sha256="f" * 64)
    return checkout.rebuild(recorded, diff, code["archive"] if archive else None, folder)


def change(top: Path) -> None:
    """What `git status` would show: a changed module, a changed test, a new module."""
    (top / "src" / "stagewise" / "module.py").write_text("x = 2\n")
    (top / "tests" / "test_module.py").write_text("x = 3\n")
    (top / "src" / "stagewise" / "new.py").write_bytes(b"y = 1\r\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def commit_again(top: Path) -> None:
    git(top, "add", ".")
    git(top, "commit", "-qm", "another")


def test_a_dirty_tree_is_rebuilt_from_this_repository_which_is_left_as_it_is(clone: Path, tmp_path: Path) -> None:
    change(clone)
    code, expected = state(), contents(clone / "src")
    git(clone, "stash", "-qu")  # the user went on
    (clone / "src" / "stagewise" / "module.py").write_text("x = 9\n")
    commit_again(clone)
    before = contents(clone)
    rebuilt = rebuild(code, tmp_path / "code", archive=False)
    assert contents(rebuilt.source) == expected
    assert contents(clone) == before  # index, refs and objects among it
    assert rebuilt.origin == f"commit {code['commit']} of this repository, with its code.diff"
    assert git(rebuilt.source, "rev-parse", "HEAD") == code["commit"]
    assert (tmp_path / "code" / "tests" / "test_module.py").read_text() == "x = 3\n"


def test_elsewhere_the_recorded_remote_gives_the_commit(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = state() | {"remote": str(clone)}
    (clone / "src" / "stagewise" / "later.py").touch()
    commit_again(clone)  # the commit is not the remote's newest
    run_from(tmp_path / "nowhere", monkeypatch)
    rebuilt = rebuild(code, tmp_path / "code", archive=False)
    assert rebuilt.origin == f"commit {code['commit']} of {clone}"
    assert not (rebuilt.source / "stagewise" / "later.py").exists()


def test_the_archive_gives_it_where_nothing_else_does_and_the_diff_leaves_out_what_it_lacks(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(clone)
    code, expected = state(), contents(clone / "src")
    run_from(tmp_path / "nowhere", monkeypatch)
    # Inside another repository, whose own patches the diff must not be taken for.
    git(tmp_path, "init", "-q")
    rebuilt = rebuild(code, tmp_path / "home" / "code")
    assert contents(rebuilt.source) == expected
    assert "from the record's code.tar, with its code.diff" in rebuilt.origin
    assert not (tmp_path / "home" / "code" / "tests").exists()


@pytest.mark.parametrize("anywhere", [True, False])
def test_a_project_in_a_folder_of_a_repository_is_rebuilt_there(
    anywhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the repository with all that is in it; from the archive the project alone."""
    project = tmp_path / "clone" / "ml" / "steps"
    for name in ("src/stagewise/__init__.py", "src/stagewise/module.py", "tests/test_module.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x = 1\n")
    (tmp_path / "clone" / "other.py").touch()
    git(tmp_path / "clone", "init", "-q")
    commit_again(tmp_path / "clone")
    run_from(project, monkeypatch)
    change(project)
    code, expected = state(), contents(project / "src")
    if not anywhere:
        run_from(tmp_path / "nowhere", monkeypatch)
    rebuilt = rebuild(code, tmp_path / "code")
    assert rebuilt.source == tmp_path / "code" / "ml" / "steps" / "src"
    assert contents(rebuilt.source) == expected
    assert (tmp_path / "code" / "other.py").exists() is anywhere


def test_an_archive_that_is_none_is_one_line(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = state() | {"archive": b"junk"}
    run_from(tmp_path / "nowhere", monkeypatch)
    with pytest.raises(CodeError, match=r"code\.tar: cannot be unpacked"):
        rebuild(code, tmp_path / "code")


def test_a_diff_of_tests_alone_is_no_obstacle_to_the_archive(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "tests" / "test_module.py").write_text("x = 3\n")
    code = state()
    run_from(tmp_path / "nowhere", monkeypatch)
    assert rebuild(code, tmp_path / "code").remarks == []


def test_without_commit_and_archive_it_says_what_is_missing(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = state() | {"withheld": "a.py holds an access token"}
    run_from(tmp_path / "nowhere", monkeypatch)
    with pytest.raises(CodeError, match=r"holds no code\.tar \(a\.py holds an access token\); run this in a clone"):
        rebuild(code, tmp_path / "code", archive=False)


def test_a_diff_of_another_commit_is_refused(clone: Path, tmp_path: Path) -> None:
    code = state() | {"diff": "--- a/src/stagewise/module.py\n+++ b/src/stagewise/module.py\n@@ -1 +1 @@\n-z\n+y\n"}
    with pytest.raises(CodeError, match=r"git cannot apply the recorded code\.diff to commit"):
        rebuild(code, tmp_path / "code")


def test_code_of_another_digest_is_refused(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=r"the rebuilt package has sha256 .* the recorded one 0000"):
        rebuild(state() | {"package_sha256": "0" * 64}, tmp_path / "code")


def test_a_redacted_diff_is_said_and_does_not_stop_it(clone: Path, tmp_path: Path) -> None:
    (clone / "src" / "stagewise" / "module.py").write_text(f'KEY = "hf_{"x" * 20}"\n')
    rebuilt = rebuild(state(), tmp_path / "code")
    assert (rebuilt.source / "stagewise" / "module.py").read_text() == 'KEY = "***"\n'
    assert "1 credentials stand as ***" in rebuilt.remarks[0]
    assert "the rebuilt package has sha256" in rebuilt.remarks[1]


def test_an_installed_package_is_reproduced_by_itself_alone(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib" / "src" / "stagewise").mkdir(parents=True)
    (tmp_path / "lib" / "src" / "stagewise" / "__init__.py").touch()
    run_from(tmp_path / "lib", monkeypatch)
    code = state()
    assert code["commit"] is None
    assert rebuild(code, tmp_path / "code").source == tmp_path / "lib" / "src"
    run_from(clone, monkeypatch)
    with pytest.raises(CodeError, match="install that release"):
        rebuild(code, tmp_path / "code")
