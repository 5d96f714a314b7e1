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
import subprocess
import tarfile
import zlib
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from stagewise.credentials import kind_of, redact, without_home
from stagewise.errors import CodeError
from stagewise.hashing import digest_json, folder_digests, sha256_file

PACKAGE = Path(__file__).parent
SOURCES = (".py", ".html", ".css", ".js", ".json")  # the package's own files: code, templates of the report, schemas
UNUSED = ("tests", "docs", "benchmarks")  # folders of the repository from which nothing runs
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

    `diff` (None when clean) holds all that differs from the commit, new files that Python could import
    among it, as `git apply` takes it, but for credentials: `***` stands for each, and `redacted` counts them.
    `archive` is the commit's tree as a tar.gz where `origin` does not hold the commit, but for folders that
    nothing runs from; `withheld` says in words why it is not there after all.
    Everything but the package's own digest is None where it is not run from a repository.
    """
    # A package that is merely installed inside somebody's repository is not of that repository.
    ours = git(PACKAGE, "ls-files", "--error-unmatch", "__init__.py")
    commit = git(PACKAGE, "rev-parse", "HEAD") if ours else None
    state: dict[str, Any] = {"commit": commit, "dirty": None, "remote": None, "diff": None}
    state |= {"archive": None, "archived": None, "withheld": None, "package_sha256": package_digest(PACKAGE)}
    if commit:
        diff, redacted = redact((git(PACKAGE, *DIFF, "HEAD") or "") + "".join(map(_as_diff, _importable())))
        remote = without_home(scrub(git(PACKAGE, "remote", "get-url", "origin") or ""))
        state |= {"dirty": bool(diff), "diff": diff or None, "remote": remote or None, "redacted": redacted}
        archive, withheld = (None, None) if _published(commit, remote) else _archive(commit)
        state |= {"archive": archive, "archived": archive is not None, "withheld": withheld}
    return state


def _published(commit: str, remote: str) -> bool:
    """Whether `origin` was seen to hold the commit, and is more than a folder of this machine."""
    elsewhere = ":" in remote and not remote.startswith("file:")
    return elsewhere and bool(git(PACKAGE, "for-each-ref", "--contains", commit, "refs/remotes/origin"))


@cache
def _archive(commit: str) -> tuple[bytes | None, str | None]:
    """The same bytes for the same commit; or None, and which committed file holds a credential."""
    top = Path(str(git(PACKAGE, "rev-parse", "--show-toplevel")))
    data = _git_bytes(top, "archive", "--format=tar.gz", commit, "--", ".", *(f":!{name}" for name in UNUSED))
    if data is None:
        return None, "git archive failed"
    with tarfile.open(fileobj=BytesIO(data)) as files:
        for entry in files:
            content = files.extractfile(entry)
            kind = kind_of(content.read().decode(errors="replace")) if content else None
            if kind:
                return None, f"{entry.name} holds {kind}"
    return data, None


def check_clean() -> None:
    """Raises `CodeError` with the list of what differs from the commit, and where there is no commit."""
    if not code_state()["commit"]:
        raise CodeError(
            "require_clean: this stagewise is not run from a git repository, so no commit names its code; run it from "
            "a clone, or set require_clean to false"
        )
    changed = [*(git(PACKAGE, "diff", "HEAD", "--name-only") or "").splitlines(), *_importable()]
    if changed:
        shown = ", ".join(changed[:10]) + (f", … {len(changed)} in all" if len(changed) > 10 else "")
        raise CodeError(f"require_clean: found changes that no commit holds: {shown}; commit them, or take them back")


def _importable() -> list[str]:
    """Files that no commit holds and Python could import or this package reads, from the top of the repository.

    `src` and the top folder are on Python's path, so there also files count that git is told to ignore.
    """
    suffixes = tuple(importlib.machinery.all_suffixes())
    everywhere = git(PACKAGE, "ls-files", "-z", "--others", "--exclude-standard", "--full-name", ":/") or ""
    on_path = git(PACKAGE, "ls-files", "-z", "--others", "--full-name", ":/src", ":(top,glob)*") or ""
    ours = git(PACKAGE, "ls-files", "-z", "--others", "--full-name", ".") or ""
    names = {name for name in (everywhere + on_path).split("\0") if name.endswith(suffixes)}
    names |= {name for name in ours.split("\0") if name.endswith(SOURCES)}
    return sorted(name for name in names if "__pycache__/" not in name)


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints in `folder`, or None where it fails: no repository, no commit, no such remote, no git.

    It asks nobody for a password, and takes no lock that it can do without: a user may be at work there.
    """
    printed = _git_bytes(folder, *arguments)
    if printed is None:
        return None
    text = printed.decode(errors="surrogateescape")  # a patch is bytes, of whatever encoding its files are
    return text if "diff" in arguments else text.strip()  # a patch's last line ends in a newline


def _git_bytes(folder: Path, *arguments: str) -> bytes | None:
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")  # set in a hook of another repository
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    except subprocess.CalledProcessError as error:
        # Two files that differ: `diff --no-index` says 1.
        return bytes(error.stdout) if "--no-index" in arguments and error.returncode == 1 else None
    except OSError:
        return None


def _as_diff(name: str) -> str:
    """A new file as git writes it into a patch, a binary one too."""
    top = Path(str(git(PACKAGE, "rev-parse", "--show-toplevel")))
    return git(top, *DIFF, "--no-index", "--", os.devnull, name) or ""


def scrub(url: str) -> str:
    """A URL without credentials: no user:password@, no query and no fragment."""
    return re.sub(r"[?#].*$", "", re.sub(r"//[^/]*@", "//", url))


@cache
def package_digest(folder: Path) -> str:
    """sha256 over the paths and bytes of the sources in a package's folder."""
    files = folder_digests(folder)
    return digest_json({path: entry["sha256"] for path, entry in files.items() if path.endswith(SOURCES)})


@cache
def code_digest(module: str) -> str:
    """sha256 over the sources of `stagewise.<module>` and of all that it imports from this package.

    A folder `templates` belongs to the modules beside it.
    A step's result can depend on no other code of ours, so an edit elsewhere leaves its fingerprint alone.
    """
    seen: set[Path] = set()
    waiting = [_source(f"stagewise.{module}")]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in seen:
            seen.add(path)
            waiting += [_source(name) for name in _imports(path)]
    seen |= {template for path in seen for template in path.parent.glob("templates/*")}
    return digest_json({path.relative_to(PACKAGE).as_posix(): sha256_file(path) for path in seen})


def _source(name: str) -> Path | None:
    """The file of a module of this package; None for another package's, or for a name within a module."""
    parts = name.split(".")
    if parts[0] != "stagewise":
        return None
    path = PACKAGE.joinpath(*parts[1:])
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


@cache  # the steps have most modules in common
def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and re.fullmatch(r"\w+\.py", str(node.value)):
            program = path.with_name(str(node.value))  # started as a program of its own
            names.append(".".join(["stagewise", *program.relative_to(PACKAGE).with_suffix("").parts]))
    return names


@cache
def packages() -> dict[str, str]:
    found = ((entry.metadata["Name"], entry.version) for entry in importlib.metadata.distributions())
    return dict(sorted((name, version) for name, version in found if name))


def device_kind(device: str) -> str:
    """The kind of machine on which bits repeat: the GPU's name, or the CPU's widest vector instructions."""
    import torch  # heavy, and a split does not need it

    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return torch.cuda.get_device_name()
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def environment() -> dict[str, Any]:
    """Python, packages and platform: an allow-list; no environment variable, host or home path is in it."""
    return {
        "python": platform.python_version(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,  # a measure of the outputs, and the report's table, are made by it
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "packages": packages(),
    }


def normalized(versions: Mapping[str, str]) -> dict[str, str]:
    """By the names that packages are known by, however they spell themselves."""
    return {name.lower().replace("_", "-"): version for name, version in versions.items()}


def deciding_versions(kind: str) -> dict[str, str]:
    installed = normalized(packages())
    return {name: installed[name] for name in DECIDING.get(kind, ()) if name in installed}


def fingerprint_parts(kind: str, module: str, part: Any, inputs: Any, machine: Any) -> dict[str, Any]:
    """All that determines a step's result."""
    return {
        "kind": kind,
        "config": part,
        "inputs": inputs,
        "code": code_digest(module),
        "packages": deciding_versions(kind),
        "python": platform.python_version(),
        "machine": machine,
    }


def fingerprint(kind: str, module: str, part: Any, inputs: Any, machine: Any) -> str:
    return digest_json(fingerprint_parts(kind, module, part, inputs, machine))
