"""The code of a record, rebuilt in a folder of its own; the user's clone is read, and nothing in it changes.

    rebuild(record.manifest.code, diff, archive, folder)
        Checkout(source=Path("…/code/src"), origin="commit 3f2a… of this repository, with its code.diff", remarks=[])

The commit comes from this repository's objects if they hold it, else from the recorded remote, else from the
archive in the record; then the recorded diff is applied. What was rebuilt has to have the recorded digest.
"""

import tarfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from stagewise.errors import CodeError
from stagewise.record.code import PACKAGE, package_digest
from stagewise.record.commits import UNUSED, git
from stagewise.record.manifest import Code

ALONE = ("-c", "core.hooksPath=/dev/null")  # no hook of the user's runs at the checkout


class Checkout(NamedTuple):
    source: Path  # the folder that goes on Python's path
    origin: str  # where the code comes from, in words
    remarks: list[str]  # what it lacks


def rebuild(code: Code, diff: bytes | None, archive: bytes | None, folder: Path) -> Checkout:
    """The code of a manifest (`code`) in the new folder. Raises `CodeError` where nothing gives it.

    `diff` and `archive` are the record's code.diff and code.tar, where it has them.
    """
    if code.commit is None:
        return _installed(code)
    folder.mkdir(parents=True)
    # Without a repository of its own git would take the folder for a part of one around it.
    _must("init a repository", folder, "init", "--quiet", "--template=")
    origin, whole = _committed(code, archive, folder)
    if diff:
        _apply(diff, code, whole, folder)
        origin += ", with its code.diff"
    remarks = []
    if code.redacted:
        remarks.append(f"code.diff: {code.redacted} credentials stand as *** in it, and so in the rebuilt code")
    source = folder / (code.path or "") / "src"
    found = package_digest(source / "stagewise")
    if found != code.package_sha256:
        mismatch = f"the rebuilt package has sha256 {found}, the recorded one {code.package_sha256}"
        if not remarks:
            raise CodeError(f"{origin}: {mismatch}; the record's code cannot be rebuilt")
        remarks.append(mismatch)
    return Checkout(source, origin, remarks)


def archived(code: Code, diff: bytes | None, archive: bytes, folder: Path) -> Path:
    """The folder of the package as the record's own code.tar and code.diff give it. Raises `CodeError`."""
    unpack(archive, folder)
    if diff:
        _must("init a repository", folder, "init", "--quiet", "--template=")
        _apply(diff, code, False, folder)
    return folder / (code.path or "") / "src" / "stagewise"


def _installed(code: Code) -> Checkout:
    """Code that no repository held is here only if it is what runs now."""
    if package_digest(PACKAGE) != code.package_sha256:
        raise CodeError(
            f"the record was made from no repository, by a package with sha256 {code.package_sha256}; install that "
            "release of stagewise and reproduce with it"
        )
    return Checkout(PACKAGE.parent, "the installed package, which is the recorded one", [])


def _committed(code: Code, archive: bytes | None, folder: Path) -> tuple[str, bool]:
    """Puts the commit's tree into the folder; returns where it came from, and whether it is the whole tree."""
    commit, remote = str(code.commit), code.remote
    if remote:
        git(folder, "remote", "add", "--", "origin", remote)  # what is recorded from here names it again
    here = git(PACKAGE, "rev-parse", "--show-toplevel")
    for source, name in ((here, "this repository"), (remote, remote)):
        # Version 2 of the protocol gives a commit by its id, on whatever branch it is.
        fetch = ("-c", "protocol.version=2", "fetch", "--quiet", "--no-tags", "--depth=1", "--")
        if source and git(folder, *fetch, source, commit) is not None:
            _must(f"check out {commit}", folder, *ALONE, "checkout", "--quiet", "--detach", commit)
            return f"commit {commit} of {name}", True
    if archive is None:
        raise CodeError(
            f"commit {commit}: neither this repository nor the recorded remote ({remote or 'none'}) gives it, and the "
            f"record holds no code.tar{_withheld(code)}; run this in a clone that has the commit"
        )
    unpack(archive, folder)
    return f"commit {commit} from the record's code.tar", False


def unpack(archive: bytes, folder: Path) -> None:
    """Puts an archive's files below the folder, and none elsewhere. Raises `CodeError` for what is no archive."""
    try:
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise CodeError(f"code.tar: cannot be unpacked ({error})") from None


def _withheld(code: Code) -> str:
    return f" ({code.withheld})" if code.withheld else ""


def _apply(diff: bytes, code: Code, whole: bool, folder: Path) -> None:
    patch = folder / ".git" / "code.diff"
    patch.write_bytes(diff)
    project = f"{code.path}/" if code.path else ""
    left_out = () if whole else tuple(f"--exclude={project}{name}/*" for name in UNUSED)
    redacted = ", in which *** stands for credentials," if code.redacted else ""
    _must(
        f"apply the recorded code.diff{redacted} to commit {code.commit}",
        folder,
        *("apply", "--whitespace=nowarn", *left_out, str(patch)),
    )


def _must(what: str, folder: Path, *arguments: str) -> None:
    if git(folder, *arguments) is None:
        raise CodeError(f"git cannot {what}; the record's code cannot be rebuilt")
