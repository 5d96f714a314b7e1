"""What a record holds of a commit: the commit and the listing of its tree, and its files as a tar.

    held(top, "3f2a…", "")      Held(objects=(b"tree 9c1e…", b"100644 blob 51d0…"), archive=b"…", withheld=None)

Everything is read from git's objects: what a checkout or an archive makes of line endings is no part of a commit.
"""

import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from stagewise.credentials import kind_of
from stagewise.errors import CodeError
from stagewise.record import git_objects

UNUSED = ("tests", "docs", "benchmarks")  # folders of the project from which nothing runs


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints in `folder`, or None where it fails: no repository, no commit, no such remote, no git.

    It asks nobody for a password, and takes no lock that it can do without: a user may be at work there.
    """
    printed = git_bytes(folder, *arguments)
    if printed is None:
        return None
    text = printed.decode(errors="surrogateescape")  # a patch is bytes, of whatever encoding its files are
    return text if "diff" in arguments else text.strip()  # a patch's last line ends in a newline


def git_bytes(folder: Path, *arguments: str, given: bytes | None = None) -> bytes | None:
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")  # set in a hook of another repository
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, input=given, capture_output=True, check=True, env=environment).stdout
    except subprocess.CalledProcessError as error:
        # Two files that differ: `diff --no-index` says 1.
        return bytes(error.stdout) if "--no-index" in arguments and error.returncode == 1 else None
    except OSError:
        return None


class Held(NamedTuple):
    """What a record can hold of a commit."""

    objects: tuple[bytes, bytes] | None  # the commit and its listing (gitobjects)
    archive: bytes | None
    withheld: str | None  # why not all of it


@cache
def held(top: Path, commit: str, path: str) -> Held:
    """Of the repository at `top`, in which the project lies at `path`: the same bytes for the same commit; or which
    part of it holds a credential."""
    raw = git_bytes(top, "cat-file", "commit", commit)
    listing = _listing(top, commit, path)
    if raw is None or listing is None:
        return Held(None, None, "git does not give the commit")
    kind = kind_of(raw.decode(errors="replace")) or kind_of(listing.decode(errors="replace"))
    if kind:
        return Held(None, None, f"the commit's message holds {kind}")
    listed = git_objects.entries(listing)
    blobs = {name: entry for name, entry in listed.items() if entry.kind == "blob" and _of_project(name, path)}
    contents = _blobs(top, [entry.id for entry in blobs.values()])
    if contents is None:
        return Held((raw, listing), None, "git does not give all of the commit's files")
    for name, entry in blobs.items():
        kind = kind_of(contents[entry.id].decode(errors="replace"))
        if kind:
            return Held((raw, listing), None, f"{name} holds {kind}")
    return Held((raw, listing), tar({name: (entry.mode, contents[entry.id]) for name, entry in blobs.items()}), None)


def _of_project(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}/")


def _listing(top: Path, commit: str, path: str) -> bytes | None:
    """Of the commit's tree what names the project: its folder whole, but for folders that nothing runs from, and of
    each folder above it what is directly in it."""
    list_tree = ("ls-tree", "-z", "--full-tree")
    parts = path.split("/") if path else []
    above = ["/".join(parts[: depth + 1]) + "/" for depth in range(len(parts) - 1)]
    asked = [(commit,)] * bool(path) + [(commit, each) for each in above]
    lists = [git_bytes(top, *list_tree, *each) for each in asked]
    whole = git_bytes(top, *list_tree, "-r", "-t", commit, *([f"{path}/"] if path else []))
    if whole is None or None in lists:
        return None
    unused = tuple(f"{path}/{name}/".lstrip("/").encode() for name in UNUSED)
    kept = [line for line in whole.split(b"\0")[:-1] if not line.partition(b"\t")[2].startswith(unused)]
    # What the project's own listing begins with, the folders that lead to it, stands in those above already.
    known = {line for each in lists for line in (each or b"").split(b"\0")}
    return b"".join(each or b"" for each in lists) + b"".join(line + b"\0" for line in kept if line not in known)


def _blobs(top: Path, ids: Sequence[str]) -> dict[str, bytes] | None:
    """The bytes of each, in one call of git."""
    printed = git_bytes(top, "cat-file", "--batch", given="".join(f"{each}\n" for each in ids).encode())
    found: dict[str, bytes] = {}
    rest = memoryview(printed or b"")
    for each in ids:
        head, _, _ = bytes(rest[:200]).partition(b"\n")
        words = head.split()
        if len(words) != 3:
            return None  # "missing": a clone that left it out
        start = len(head) + 1
        found[each] = bytes(rest[start : start + int(words[2])])
        rest = rest[start + int(words[2]) + 1 :]
    return found


def tar(files: Mapping[str, tuple[str, bytes]]) -> bytes:
    """The files, (mode, content) by path, as a tar whose bytes depend on nothing else."""
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (mode, content) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            if mode == git_objects.LINK:
                entry.type, entry.linkname = tarfile.SYMTYPE, content.decode(errors="surrogateescape")
                archive.addfile(entry)
                continue
            entry.size, entry.mode = len(content), int(mode[-3:], 8)
            archive.addfile(entry, BytesIO(content))
    return made.getvalue()


def tar_files(data: bytes) -> dict[str, tuple[str, bytes]]:
    """(mode, content) of each file in such a tar, by its path. Raises `CodeError` for what is none."""
    found: dict[str, tuple[str, bytes]] = {}
    try:
        with tarfile.open(fileobj=BytesIO(data), mode="r:") as archive:
            for entry in archive:
                if entry.name in found:
                    raise CodeError(f"code.tar: found {entry.name!r} twice")
                if entry.issym():
                    found[entry.name] = git_objects.LINK, entry.linkname.encode(errors="surrogateescape")
                elif entry.isreg():
                    content = archive.extractfile(entry)
                    found[entry.name] = f"100{entry.mode:03o}", content.read() if content else b""
                else:
                    raise CodeError(f"code.tar: found {entry.name!r}, which is neither a file nor a symbolic link")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise CodeError(f"code.tar: found no tar ({error})") from None
    return found
