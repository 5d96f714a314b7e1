"""Ids of git's objects told again from their bytes; what is none is one error, whatever it is."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewise.errors import CodeError
from stagewise.record import commits, git_objects

COMMIT = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor Ada <ada@example.org> 1 +0000\n\nOne\n"
NONE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's own id of a tree with nothing in it


def test_ids_are_gits() -> None:
    assert git_objects.object_id("blob", b"", NONE) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_objects.object_id("blob", b"what is up, doc?", NONE) == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    assert git_objects.object_id("tree", b"", NONE) == NONE
    assert git_objects.object_id("blob", b"", "0" * 64).startswith("473a0f4c3be8a93681a267e3b1e9a7dc")


def test_a_commit_is_taken_apart() -> None:
    assert git_objects.tree_of(COMMIT) == NONE
    assert git_objects.author_of(COMMIT) == "Ada <ada@example.org> 1 +0000"
    assert git_objects.author_of(b"tree 0\n\nauthor in the message") == ""
    commit_id = git_objects.object_id("commit", COMMIT, NONE)
    assert list(git_objects.check(commit_id, COMMIT, {})) == []


lines = st.builds(
    lambda mode, kind, name, path: f"{mode} {kind} {name}\t{path}\0".encode(),
    st.sampled_from(["100644", "040000", "160000", "1", "120000"]),
    st.sampled_from(["blob", "tree", "commit", "x"]),
    st.sampled_from(["0" * 40, "f" * 64, "", NONE]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)


@given(st.binary(max_size=80) | st.lists(lines, max_size=5).map(b"".join), st.binary(max_size=80) | st.just(COMMIT))
def test_what_is_no_listing_or_commit_is_one_error(listing: bytes, commit: bytes) -> None:
    """Whatever somebody put in the place of them: a mismatch or one error, and nothing else."""
    for commit_id in (git_objects.object_id("commit", commit, NONE), "0" * 40):
        try:
            found = list(git_objects.check(commit_id, commit, git_objects.entries(listing)))
            assert all(each.found != each.expected for each in found)
        except CodeError as error:
            text = str(error)
        else:
            text = ""
        assert "\n" not in text


@given(st.binary(max_size=2000))
def test_what_is_no_archive_is_one_error(data: bytes) -> None:
    try:
        files = commits.tar_files(data)
    except CodeError as error:
        files = {str(error): ("", b"")}
    assert not files or next(iter(files)).startswith("code.tar: ")


def test_an_archive_holds_files_alone() -> None:
    files = {"a": ("100644", b"x"), "b/c": ("100755", b""), "d": ("120000", b"../../etc/passwd")}
    assert commits.tar_files(commits.tar(files)) == files
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("pipe")
        entry.type = tarfile.FIFOTYPE
        archive.addfile(entry)
    with pytest.raises(CodeError, match=r"found 'pipe', which is neither a file nor a symbolic link"):
        commits.tar_files(made.getvalue())
