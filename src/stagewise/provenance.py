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
from functools import cache
from pathlib import Path
from typing import Any

from stagewise.credentials import redact
from stagewise.errors import CodeError
from stagewise.hashing import digest_json, folder_digests, sha256_file

PACKAGE = Path(__file__).parent
# What each kind of result can depend on; all packages are recorded, but a change of another runs nothing again.
MODEL = ("torch", "transformers", "tokenizers", "accelerate", "safetensors", "numpy")
DECIDING = {
    "split": ("datasets", "matplotlib", "tokenizers", "transformers"),
    "train": (*MODEL, "gguf", "sentencepiece"),
    "eval": (*MODEL, "math-verify", "latex2sympy2-extended", "sympy"),
    "report": ("matplotlib", "numpy", "scipy", "statsmodels"),
}


def code_state() -> dict[str, Any]:
    """Commit, remote and dirtiness of the repository that this package is run from.

    `diff` (None when clean) holds all that differs from the commit, new files that Python could import
    among it, as `git apply` takes it, but for credentials: `***` stands for each, and `redacted` counts them.
    Everything but the package's own digest is None where it is not run from a repository.
    """
    package = digest_json({path: entry["sha256"] for path, entry in _sources().items()})
    # A package that is merely installed inside somebody's repository is not of that repository.
    ours = _git("ls-files", "--error-unmatch", str(PACKAGE / "__init__.py"))
    commit = _git("rev-parse", "HEAD") if ours else None
    state: dict[str, Any] = {"commit": commit, "dirty": None, "remote": None, "diff": None, "package_sha256": package}
    if commit:
        diff, redacted = redact((_git("diff", "--binary", "HEAD") or "") + "".join(map(_as_diff, _importable())))
        remote = scrub(_git("remote", "get-url", "origin") or "")
        state |= {"dirty": bool(diff), "diff": diff or None, "remote": remote or None, "redacted": redacted}
    return state


def check_clean() -> None:
    """Raises `CodeError` with the list of what differs from the commit, and where there is no commit."""
    if not code_state()["commit"]:
        raise CodeError(
            "require_clean: this stagewise is not run from a git repository, so no commit names its code; run it from "
            "a clone, or set require_clean to false"
        )
    changed = [*(_git("diff", "HEAD", "--name-only") or "").splitlines(), *_importable()]
    if changed:
        shown = ", ".join(changed[:10]) + (f", … {len(changed)} in all" if len(changed) > 10 else "")
        raise CodeError(f"require_clean: found changes that no commit holds: {shown}; commit them, or take them back")


def _importable() -> list[str]:
    """Files that no commit holds and Python could import, from the top of the repository.

    `src` and the top folder are on Python's path, so there also files count that git is told to ignore.
    """
    suffixes = tuple(importlib.machinery.all_suffixes())
    everywhere = _git("ls-files", "-z", "--others", "--exclude-standard", "--full-name", ":/") or ""
    on_path = _git("ls-files", "-z", "--others", "--full-name", ":/src", ":(top,glob)*") or ""
    names = {name for name in (everywhere + on_path).split("\0") if name.endswith(suffixes)}
    return sorted(name for name in names if "__pycache__/" not in name)


def _git(*arguments: str) -> str | None:
    """What git prints, or None where it fails: no repository, no commit, no such remote, no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, errors="replace", check=True
        )
    except subprocess.CalledProcessError as error:
        # Two files that differ: `diff --no-index` says 1.
        return str(error.stdout) if "--no-index" in arguments and error.returncode == 1 else None
    except OSError:
        return None
    return done.stdout if "diff" in arguments else done.stdout.strip()


def _as_diff(name: str) -> str:
    """A new file as git writes it into a patch, a binary one too."""
    top = str(_git("rev-parse", "--show-toplevel"))
    return _git("-C", top, "diff", "--no-index", "--binary", "--", os.devnull, name) or ""


def scrub(url: str) -> str:
    """A URL without credentials: no user:password@ and no query."""
    return re.sub(r"\?.*$", "", re.sub(r"//[^/@]*@", "//", url))


@cache
def _sources() -> dict[str, dict[str, Any]]:
    return {path: entry for path, entry in folder_digests(PACKAGE).items() if path.endswith(".py")}


@cache
def code_digest(module: str) -> str:
    """sha256 over the sources of `stagewise.<module>` and of all that it imports from this package.

    A step's result can depend on no other code of ours, so an edit elsewhere leaves its fingerprint alone.
    """
    seen: set[Path] = set()
    waiting = [_source(f"stagewise.{module}")]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in seen:
            seen.add(path)
            waiting += [_source(name) for name in _imports(path)]
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
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "packages": packages(),
    }


def deciding_versions(kind: str) -> dict[str, str]:
    installed = {name.lower().replace("_", "-"): version for name, version in packages().items()}
    return {name: installed[name] for name in DECIDING[kind] if name in installed}


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
