import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from stagewise.credentials import kind_of
from stagewise.errors import CodeError
from stagewise.record import code, commits, git_objects


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # type: ignore[misc]
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
    monkeypatch.setattr(code, "PACKAGE", package)
    code.package_digest.cache_clear()
    yield package
    code.package_digest.cache_clear()


def test_a_clean_checkout_is_clean(repository: Path) -> None:
    state = code.code_state()
    assert len(state["commit"]) == 40
    assert (state["dirty"], state["diff"]) == (False, None)


def test_a_changed_file_is_dirty_and_its_diff_is_kept(repository: Path) -> None:
    (repository / "module.py").write_text("x = 2\n")
    state = code.code_state()
    assert state["dirty"] is True
    assert "+x = 2" in state["diff"]


def test_a_new_file_that_python_could_import_is_dirty(repository: Path) -> None:
    (repository / "new.py").write_text("y = 1\n")
    state = code.code_state()
    assert state["dirty"] is True
    assert "+++ b/src/stagewise/new.py" in state["diff"]
    assert "+y = 1" in state["diff"]


@pytest.mark.parametrize(
    "name", ["src/stagewise/fast.cpython-311-x86_64-linux-gnu.so", "src/stagewise/old.pyc", "src/other/__init__.py"]
)
def test_whatever_python_could_import_is_dirty(repository: Path, name: str) -> None:
    top = repository.parents[1]
    (top / name).parent.mkdir(exist_ok=True)
    (top / name).write_bytes(b"\0\1\2")
    assert code.code_state()["dirty"] is True
    with pytest.raises(CodeError, match=f"found changes that no commit holds: {name}; commit them"):
        code.check_clean()


def test_an_ignored_file_on_pythons_path_is_dirty_and_a_cached_one_is_not(repository: Path) -> None:
    top = repository.parents[1]
    (top / ".git" / "info" / "exclude").write_text("*.pyc\njson.py\nvenv/\n")
    (repository / "__pycache__").mkdir()
    (repository / "__pycache__" / "module.cpython-311.pyc").touch()
    (top / "venv").mkdir()
    (top / "venv" / "module.py").touch()
    (top / "notes.txt").touch()
    assert code.code_state()["dirty"] is False
    code.check_clean()
    (top / "json.py").write_text("it = 'shadows'\n")
    with pytest.raises(CodeError, match=r"json\.py"):
        code.check_clean()


def test_code_that_is_in_no_repository_is_not_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    with pytest.raises(CodeError, match="no commit names its code"):
        code.check_clean()


def test_a_new_binary_file_and_one_without_a_last_newline_are_in_the_diff(repository: Path) -> None:
    top = repository.parents[1]
    contents = {"fast.so": bytes(range(256)), "new.py": b"x = 1"}
    for name, data in contents.items():
        (repository / name).write_bytes(data)
    (top / "d.diff").write_text(code.code_state()["diff"])
    for name in contents:
        (repository / name).unlink()
    subprocess.run(["git", "apply", "d.diff"], cwd=top, check=True)
    assert {name: (repository / name).read_bytes() for name in contents} == contents


def test_a_new_template_of_the_package_is_dirty_and_in_the_diff(repository: Path) -> None:
    (repository / "page.html").write_text("<p>\n")
    state = code.code_state()
    assert state["dirty"] is True
    assert "page.html" in state["diff"]


def test_a_diff_of_a_file_that_is_not_utf_8_keeps_its_bytes(repository: Path) -> None:
    top = repository.parents[1]
    (repository / "module.py").write_bytes("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"))
    (top / "d.diff").write_bytes(code.code_state()["diff"].encode(errors="surrogateescape"))
    subprocess.run(["git", "checkout", "-q", "."], cwd=top, check=True)
    subprocess.run(["git", "apply", "d.diff"], cwd=top, check=True)
    assert (repository / "module.py").read_bytes().endswith(b"x = '\xe9'\n")


def test_a_password_in_changed_code_is_not_recorded_and_counted(repository: Path) -> None:
    (repository / "module.py").write_text('x = "https://me:sesame@example.org"\n')
    state = code.code_state()
    assert "sesame" not in state["diff"]
    assert state["redacted"] == 1


def test_a_diff_applies_to_the_commit(repository: Path) -> None:
    (repository / "new.py").write_text("y = 1\nz = 2\n")
    (repository / "module.py").write_text("x = 3\n")
    (repository.parents[1] / "d.diff").write_text(code.code_state()["diff"])
    subprocess.run(["git", "stash", "-q"], cwd=repository, check=True)
    (repository / "new.py").unlink()
    subprocess.run(["git", "apply", "d.diff"], cwd=repository.parents[1], check=True)
    assert (repository / "new.py").read_text() == "y = 1\nz = 2\n"
    assert (repository / "module.py").read_text() == "x = 3\n"


def test_a_diff_applies_whatever_the_users_settings_and_the_lines_endings(repository: Path) -> None:
    top = repository.parents[1]
    for setting in (["diff.noprefix", "true"], ["color.ui", "always"], ["diff.external", "/bin/true"]):
        subprocess.run(["git", "config", *setting], cwd=top, check=True)
    (repository / "module.py").write_bytes(b"x = 2\r\n")
    (top / "d.diff").write_text(code.code_state()["diff"], newline="")
    subprocess.run(["git", "checkout", "-q", "."], cwd=top, check=True)
    subprocess.run(["git", "apply", "d.diff"], cwd=top, check=True)
    assert (repository / "module.py").read_bytes() == b"x = 2\r\n"


# --- the archive --------------------------------------------------------------------------------


def commit(top: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "add", "."], cwd=top, check=True)
    subprocess.run(["git", *identity, "commit", "-qm", "more"], cwd=top, check=True)
    return str(code.git(top, "rev-parse", "HEAD"))  # type: ignore[attr-defined]


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        return [entry.name for entry in files if entry.isfile()]


def test_a_commit_that_is_on_no_remote_is_archived_without_what_nothing_runs_from(repository: Path) -> None:
    top = repository.parents[1]
    (top / "tests").mkdir()
    (top / "tests" / "test_x.py").touch()
    found = commit(top)
    state = code.code_state()
    assert (state["archived"], state["withheld"]) == (True, None)
    assert names(state["archive"]) == ["src/stagewise/__init__.py", "src/stagewise/module.py"]
    commits.held.cache_clear()
    assert commits.held(top, found, "").archive == state["archive"]  # the same bytes each time


@pytest.mark.parametrize(
    ("remote", "archived"),
    [("https://example.org/x.git", False), ("git@example.org:x.git", False), ("/srv/x", True), ("file:///srv/x", True)],
)
def test_a_commit_that_a_remote_elsewhere_holds_is_not_archived(repository: Path, remote: str, archived: bool) -> None:
    top = repository.parents[1]
    subprocess.run(["git", "remote", "add", "origin", remote], cwd=top, check=True)
    assert code.code_state()["archived"] is True  # nothing was pushed yet
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=top, check=True)
    assert code.code_state()["archived"] is archived


def test_a_remote_in_the_home_folder_is_recorded_without_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    subprocess.run(["git", "remote", "add", "origin", "/home/alice/x.git"], cwd=repository, check=True)
    assert code.code_state()["remote"] == "~/x.git"


def test_an_archive_with_a_credential_in_it_is_withheld(repository: Path) -> None:
    (repository / "module.py").write_text(f'KEY = "hf_{"x" * 20}"\n')
    commit(repository.parents[1])
    state = code.code_state()
    assert (state["archive"], state["archived"]) == (None, False)
    assert state["withheld"] == "src/stagewise/module.py holds an access token"


def test_a_commit_whose_message_holds_a_credential_is_withheld_whole(repository: Path) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    (repository / "module.py").write_text("x = 2\n")
    subprocess.run(["git", *identity, "commit", "-qam", f"with hf_{'x' * 20}"], cwd=repository, check=True)
    state = code.code_state()
    assert (state["objects"], state["archive"]) == (None, None)
    assert state["withheld"] == "the commit's message holds an access token"


def objects_of(state: dict[str, Any]) -> dict[str, git_objects.Entry]:
    """The listing, after the commit's id was told again from what is held of it."""
    commit, listing = state["objects"]
    entries = git_objects.entries(listing)
    assert list(git_objects.check(state["commit"], commit, entries)) == []
    if state["archive"]:
        files = commits.tar_files(state["archive"])
        assert list(git_objects.check_files(state["commit"], entries, files, state["path"])) == []
    return entries


def test_the_commit_can_be_told_again_from_what_is_held_of_it(repository: Path) -> None:
    top = repository.parents[1]
    (top / "docs" / "more").mkdir(parents=True)
    (top / "docs" / "more" / "page.md").touch()
    (top / "a.b").mkdir()
    (top / "a.b" / "c").write_text("x")
    (top / "a-b").write_text("x")  # git orders a folder as if its name ended in a slash
    (top / "a").mkdir()
    (top / "a" / "c").write_text("x")
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "link").symlink_to("run.sh")
    (top / "é.txt").write_text("x")
    (repository / "two\nlines.txt").write_text("x")
    commit(top)
    state = code.code_state()
    entries = objects_of(state)
    assert entries["run.sh"].mode == "100755"
    assert entries["docs"].kind == "tree"
    assert not [path for path in entries if path.startswith("docs/")]  # by its id alone
    assert commits.tar_files(state["archive"])["link"] == ("120000", b"run.sh")


def test_a_repository_of_sha256_has_longer_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src" / "stagewise").mkdir(parents=True)
    (tmp_path / "src" / "stagewise" / "__init__.py").touch()
    if subprocess.run(["git", "init", "-q", "--object-format=sha256"], cwd=tmp_path, check=False).returncode:
        pytest.skip("this git makes no repositories of sha256")
    monkeypatch.setattr(code, "PACKAGE", tmp_path / "src" / "stagewise")
    assert len(commit(tmp_path)) == 64
    objects_of(code.code_state())


def test_a_published_commit_is_held_without_its_files(repository: Path) -> None:
    top = repository.parents[1]
    subprocess.run(["git", "remote", "add", "origin", "https://example.org/x.git"], cwd=top, check=True)
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=top, check=True)
    state = code.code_state()
    assert (state["archive"], state["archived"], state["withheld"]) == (None, False, None)
    assert "src/stagewise/module.py" in objects_of(state)


@pytest.fixture
def subfolder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that lies in a folder of a larger repository."""
    package = tmp_path / "ml" / "steps" / "src" / "stagewise"
    for path in (package / "__init__.py", tmp_path / "big" / "data.py", tmp_path / "ml" / "steps" / "tests" / "t.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(tmp_path)
    monkeypatch.setattr(code, "PACKAGE", package)
    code.package_digest.cache_clear()
    return package


def test_of_a_larger_repository_the_projects_part_is_held(subfolder: Path) -> None:
    state = code.code_state()
    assert (state["path"], state["dirty"]) == ("ml/steps", False)
    entries = objects_of(state)
    assert sorted(entries) == [
        *("big", "ml", "ml/steps", "ml/steps/src", "ml/steps/src/stagewise", "ml/steps/src/stagewise/__init__.py"),
        "ml/steps/tests",
    ]
    assert names(state["archive"]) == ["ml/steps/src/stagewise/__init__.py"]


def test_of_a_larger_repository_only_the_projects_changes_count(subfolder: Path) -> None:
    top = subfolder.parents[3]
    (top / "big" / "data.py").write_text("x = 2\n")
    (top / "big" / "new.py").touch()
    assert code.code_state()["dirty"] is False
    (subfolder.parent / "new.py").touch()
    with pytest.raises(CodeError, match=r"found changes that no commit holds: ml/steps/src/new\.py; commit"):
        code.check_clean()


def test_this_repository_holds_nothing_that_would_withhold_it() -> None:
    top = Path(__file__).parents[2]
    files = [*(top / "src").rglob("*.py"), *(path for path in top.glob("*.*") if path.is_file())]
    held = {path.name: kind_of(path.read_text(errors="replace")) for path in files}
    assert {name: kind for name, kind in held.items() if kind} == {}


def test_outside_a_repository_the_packages_digest_is_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    state = code.code_state()
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
    assert code.scrub(url) == shown


def test_a_step_depends_on_what_it_imports_and_on_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "sub" / "__init__.py").touch()
    (tmp_path / "step.py").write_text("from stagewise.sub import used\nimport os\n")
    (tmp_path / "sub" / "used.py").write_text("from stagewise import deeper\n")
    (tmp_path / "deeper.py").write_text("")
    (tmp_path / "unused.py").write_text("")
    monkeypatch.setattr(code, "PACKAGE", tmp_path)

    def digest() -> str:
        code.code_digest.cache_clear()
        return code.code_digest("step")

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
    code.code_digest.cache_clear()


@pytest.mark.parametrize(
    "url", ["https://me:p@ss@host/x.git?token=1", "https://ss@host/x.git#access_token=2", "https://host/x.git"]
)
def test_a_remote_is_recorded_without_what_lets_in(url: str) -> None:
    assert code.scrub(url) == "https://host/x.git"
