"""What code ran, and where: commit and uncommitted changes, packages, device, threads.

code_state()   {"commit": "3f2a…", "dirty": false, "remote": "https://…", "package_sha256": "…"}
environment()  {"python": "3.11.7", "packages": {"torch": "2.13.0", …}, "device": "cpu AVX512", …}
"""

import ast
import importlib.machinery
import importlib.metadata
import os
import platform
import re
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stagewise.credentials import redact, without_home
from stagewise.errors import CodeError
from stagewise.hashing import digest_json, folder_digests, sha256_file
from stagewise.record.commits import git, held
from stagewise.record.manifest import Environment

PACKAGE = Path(__file__).parents[1]
SOURCES = (".py", ".html", ".css", ".js", ".json")  # the package's own files: code, templates of the report, schemas
# A patch that `git apply` takes, whatever the user's own settings make of diffs.
DIFF = (
    *("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
# What each kind of result can depend on; all packages are recorded, but a change of another runs nothing again.
MODEL = ("torch", "transformers", "tokenizers", "accelerate", "safetensors", "numpy")
DECIDING = {
    "split": ("datasets", "matplotlib", "tokenizers", "transformers"),
    "train": (*MODEL, "gguf", "sentencepiece"),
    "eval": (*MODEL, "math-verify", "latex2sympy2-extended", "sympy"),
    "report": ("jinja2", "matplotlib", "numpy", "scipy", "statsmodels"),
}


def code_state() -> dict[str, Any]:
    """Commit, remote and dirtiness of the repository that this package is run from.

    `path` is where in it the project lies, '' for its top. `diff` (None when clean) holds all that differs from the
    commit, new files that Python could import among it, as `git apply` takes it, but for credentials: `***` stands for
    each, and `redacted` counts them. `objects` are the commit and the listing of its tree, by which its id can be told
    again. `archive` is the project's part of the tree as a tar where `origin` does not hold the commit, but for folders
    that nothing runs from; `withheld` says in words why it, or the commit too, is not there after all.
    Everything but the package's own digest is None where it is not run from a repository.
    """
    # A package that is merely installed inside somebody's repository is not of that repository.
    ours = git(PACKAGE, "ls-files", "--error-unmatch", "__init__.py")
    commit = git(PACKAGE, "rev-parse", "HEAD") if ours else None
    state: dict[str, Any] = {"commit": commit, "path": None, "dirty": None, "remote": None, "diff": None}
    state |= dict.fromkeys(("objects", "archive", "archived", "withheld"))
    state["package_sha256"] = package_digest(PACKAGE)
    if commit:
        path = _path()
        diff, redacted = redact(
            (git(PACKAGE, *DIFF, "HEAD", f":/{path}") or "") + "".join(map(_as_diff, _importable()))
        )
        remote = without_home(scrub(git(PACKAGE, "remote", "get-url", "origin") or ""))
        state |= {"dirty": bool(diff), "diff": diff or None, "remote": remote or None, "redacted": redacted}
        found, published = held(_top(), commit, path), _published(commit, remote)
        archive = None if published else found.archive
        state |= {"path": path, "objects": found.objects, "archive": archive, "archived": archive is not None}
        state["withheld"] = None if published and found.objects else found.withheld
    return state


def _published(commit: str, remote: str) -> bool:
    """Whether `origin` was seen to hold the commit, and is more than a folder of this machine."""
    elsewhere = ":" in remote and not remote.startswith("file:")
    return elsewhere and bool(git(PACKAGE, "for-each-ref", "--contains", commit, "refs/remotes/origin"))


def _top() -> Path:
    """Of the repository."""
    return Path(str(git(PACKAGE, "rev-parse", "--show-toplevel")))


def _path() -> str:
    """Where in its repository the project lies, in which the package is `src/stagewise`."""
    return (git(PACKAGE.parents[1], "rev-parse", "--show-prefix") or "").strip("/")


def check_clean() -> None:
    """Raises `CodeError` with the list of what differs from the commit, and where there is no commit."""
    if not code_state()["commit"]:
        raise CodeError(
            "require_clean: this stagewise is not run from a git repository, so no commit names its code; run it from "
            "a clone, or set require_clean to false"
        )
    changed = [*(git(PACKAGE, "diff", "HEAD", "--name-only", f":/{_path()}") or "").splitlines(), *_importable()]
    if changed:
        shown = ", ".join(changed[:10]) + (f", … {len(changed)} in all" if len(changed) > 10 else "")
        raise CodeError(f"require_clean: found changes that no commit holds: {shown}; commit them, or take them back")


def _importable() -> list[str]:
    """Files of the project that no commit holds and Python could import or this package reads, from the top of the
    repository.

    `src` and the project's folder are on Python's path, so there also files count that git is told to ignore.
    """
    suffixes = tuple(importlib.machinery.all_suffixes())
    project = f"{path}/" if (path := _path()) else ""
    everywhere = git(PACKAGE, "ls-files", "-z", "--others", "--exclude-standard", "--full-name", f":/{project}") or ""
    on_path = (
        git(PACKAGE, "ls-files", "-z", "--others", "--full-name", f":/{project}src", f":(top,glob){project}*") or ""
    )
    ours = git(PACKAGE, "ls-files", "-z", "--others", "--full-name", ".") or ""
    names = {name for name in (everywhere + on_path).split("\0") if name.endswith(suffixes)}
    names |= {name for name in ours.split("\0") if name.endswith(SOURCES)}
    return sorted(name for name in names if "__pycache__/" not in name)


def _as_diff(name: str) -> str:
    """A new file as git writes it into a patch, a binary one too."""
    return git(_top(), *DIFF, "--no-index", "--", os.devnull, name) or ""


def scrub(url: str) -> str:
    """A URL without credentials: no user:password@, no query and no fragment."""
    return re.sub(r"[?#].*$", "", re.sub(r"//[^/]*@", "//", url))


@cache
def package_digest(folder: Path) -> str:
    """sha256 over the paths and bytes of the sources in a package's folder."""
    files = folder_digests(folder)
    return digest_json({path: entry["sha256"] for path, entry in files.items() if path.endswith(SOURCES)})


# What tells of a result, carries it to the server or waits for that, and decides none: no digest of a step's code
# enters it.
CARRIERS = frozenset(
    f"stagewise.{name}"
    for name in (
        *("interrupts", "progress"),
        *(f"tracking.{name}" for name in ("calls", "champion", "client", "failures", "journal", "launcher")),
        *(f"tracking.{name}" for name in ("leftovers", "lineage", "owners", "source", "store")),
    )
)


@cache
def code_digest(module: str, package: Path | None = None) -> str:
    """sha256 over the sources of `stagewise.<module>` and of all that it imports from this package, or from the one in
    the folder `package`.

    A folder `templates` belongs to the modules beside it; CARRIERS are left out.
    A step's result can depend on no other code of ours, so an edit elsewhere leaves its fingerprint alone.
    """
    package = package or PACKAGE
    seen: set[Path] = set()
    waiting = [_source(f"stagewise.{module}", package)]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in seen:
            seen.add(path)
            waiting += [_source(name, package) for name in _imports(path, package)]
    seen |= {template for path in seen for template in path.parent.glob("templates/*")}
    return digest_json({path.relative_to(package).as_posix(): sha256_file(path) for path in seen})


def _source(name: str, package: Path) -> Path | None:
    """The file of a module of this package; None for another package's, or for a name within a module."""
    parts = name.split(".")
    if parts[0] != "stagewise" or name in CARRIERS:
        return None
    path = package.joinpath(*parts[1:])
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


@cache  # the steps have most modules in common
def _imports(path: Path, package: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Registry":  # which imports by name
            beside = path.parent.relative_to(package).parts
            names += [".".join(["stagewise", *beside, module.stem]) for module in sorted(path.parent.glob("[a-z]*.py"))]
        elif isinstance(node, ast.Constant) and re.fullmatch(r"\w+\.py", str(node.value)):
            program = path.with_name(str(node.value))  # started as a program of its own
            names.append(".".join(["stagewise", *program.relative_to(package).with_suffix("").parts]))
    return names


@cache
def packages() -> dict[str, str]:
    found = ((entry.metadata["Name"], entry.version) for entry in importlib.metadata.distributions())
    return dict(sorted((name, version) for name, version in found if name))


def environment() -> Environment:
    """Python, packages and platform: an allow-list; no environment variable, host or home path is in it."""
    return Environment(
        python=platform.python_version(),
        zlib=zlib.ZLIB_RUNTIME_VERSION,
        platform=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)),
        packages=packages(),
    )


def normalized(versions: Mapping[str, str]) -> dict[str, str]:
    """By the names that packages are known by, however they spell themselves."""
    return {name.lower().replace("_", "-"): version for name, version in versions.items()}


def deciding(kind: str, versions: Mapping[str, str]) -> dict[str, str]:
    """Of some package versions those that decide a result of this kind."""
    found = normalized(versions)
    return {name: found[name] for name in DECIDING.get(kind, ()) if name in found}


def deciding_versions(kind: str) -> dict[str, str]:
    return deciding(kind, packages())


def identity(
    kind: str, part: Any, inputs: Any, machine: Any, code: str, versions: Mapping[str, str], python: str
) -> dict[str, Any]:
    """All that determines a step's result: `code` is the digest of its module's sources."""
    return {
        "kind": kind,
        "config": part,
        "inputs": inputs,
        "code": code,
        "packages": versions,
        "python": python,
        "machine": machine,
    }


def fingerprint_parts(kind: str, module: str, part: Any, inputs: Any, machine: Any) -> dict[str, Any]:
    """The identity of a step that is done here and now."""
    return identity(
        kind, part, inputs, machine, code_digest(module), deciding_versions(kind), platform.python_version()
    )


def fingerprint(kind: str, module: str, part: Any, inputs: Any, machine: Any) -> str:
    return digest_json(fingerprint_parts(kind, module, part, inputs, machine))
