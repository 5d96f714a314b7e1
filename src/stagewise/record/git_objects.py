r"""Git's objects, named anew from their bytes: whether code is the commit's that a record names. Pure.

    code.commit   the commit as git keeps it                      b"tree 9c1e…\nparent 51d0…\nauthor Ada …\n\nWhy"
    code.tree     what is in it, as `git ls-tree -z` lists it     b"100644 blob 0d4f…\tsrc/stagewise/cli.py\0…"

An object's id is the hash of its type, its size and its bytes (sha1; sha256 in a repository of that kind), a commit
names its tree, and a tree the ids of all that is in it: so from these two the commit's id can be told again, and from a
file's bytes that it is one of the commit's. A folder that the listing does not go into is named by its id alone.

https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from stagewise.errors import CodeError

LINE = re.compile(rb"(\d{6}) (blob|tree|commit) ([0-9a-f]{40}|[0-9a-f]{64})\t(.+)", re.DOTALL)
LINK, FOLDER = "120000", "040000"


class Entry(NamedTuple):
    """One file, folder or submodule of a commit."""

    mode: str  # six digits, as ls-tree writes them
    kind: str  # blob, tree, commit
    id: str


class Mismatch(NamedTuple):
    """What is not what the id above it says."""

    what: str
    found: str
    expected: str


def object_id(kind: str, data: bytes, like: str) -> str:
    """The id of an object of this type and these bytes, by the hash that the id `like` was made with."""
    digest = hashlib.sha1(usedforsecurity=False) if len(like) == 40 else hashlib.sha256()
    digest.update(f"{kind} {len(data)}\0".encode() + data)
    return digest.hexdigest()


def tree_of(commit: bytes) -> str:
    """The id of a commit's tree. Raises `CodeError` for what is no commit."""
    match = re.match(rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n", commit)
    if match is None:
        raise CodeError("code.commit: found no commit, expected one as git keeps it, which begins with its tree")
    return match[1].decode()


def author_of(commit: bytes) -> str:
    """Name, address and time, as the commit has them; '' where it names none."""
    match = re.search(rb"^author (.*)$", commit.partition(b"\n\n")[0], re.MULTILINE)
    return match[1].decode(errors="replace") if match else ""


def entries(listing: bytes) -> dict[str, Entry]:
    """What is in a commit, by its path. Raises `CodeError` for what is no listing."""
    found = {}
    for line in listing.split(b"\0")[:-1]:
        match = LINE.fullmatch(line)
        if match is None:
            raise CodeError(f"code.tree: found {line[:80]!r}, expected a line of `git ls-tree -z`")
        mode, kind, name, path = (part.decode(errors="surrogateescape") for part in match.groups())
        found[path] = Entry(mode, kind, name)
    return found


def check(commit_id: str, commit: bytes, listing: Mapping[str, Entry]) -> Iterator[Mismatch]:
    """The commit by its id, its tree by the commit, and each folder that the listing goes into by the one above."""
    found = object_id("commit", commit, commit_id)
    if found != commit_id:
        yield Mismatch("code.commit", f"commit {found}", f"commit {commit_id}")
        return
    inside: dict[str, list[str]] = {"": []}
    for path in listing:
        inside.setdefault(path.rpartition("/")[0], []).append(path)
    for folder, paths in inside.items():
        named = listing.get(folder)
        expected = tree_of(commit) if not folder else named.id if named and named.kind == "tree" else "no such folder"
        found = object_id("tree", _tree(listing, paths), commit_id)
        if found != expected:
            yield Mismatch(f"code.tree, {folder or 'the top'}", f"tree {found}", f"tree {expected}")


def _tree(listing: Mapping[str, Entry], paths: list[str]) -> bytes:
    """A tree object: its entries by name, a folder's as if it ended in a slash."""
    named = {path.rpartition("/")[2].encode(errors="surrogateescape"): listing[path] for path in paths}
    ordered = sorted(named, key=lambda name: name + b"/" * (named[name].kind == "tree"))
    return b"".join(
        named[name].mode.lstrip("0").encode() + b" " + name + b"\0" + bytes.fromhex(named[name].id) for name in ordered
    )


def check_files(
    commit_id: str, listing: Mapping[str, Entry], files: Mapping[str, tuple[str, bytes]], folder: str
) -> Iterator[Mismatch]:
    """An archive's files, (mode, content) by path, by the commit's listing; and that it has all of what the listing
    has in `folder`."""
    expected = {path: entry for path, entry in listing.items() if entry.kind == "blob" and _within(path, folder)}
    for path in sorted(expected.keys() | files.keys()):
        if path not in files:
            yield Mismatch(f"code.tar, {path}", "none", f"blob {expected[path].id}")
            continue
        mode, content = files[path]
        found = f"{mode} blob {object_id('blob', content, commit_id)}"
        wanted = f"{expected[path].mode} blob {expected[path].id}" if path in expected else "none"
        if found != wanted:
            yield Mismatch(f"code.tar, {path}", found, wanted)


def _within(path: str, folder: str) -> bool:
    return not folder or PurePosixPath(path).is_relative_to(folder)
