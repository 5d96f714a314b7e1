"""Python and packages, held against pyproject.toml and the lock."""

import importlib.metadata
import platform
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stagewise.commands.doctor.finding import BAD, GOOD, INSTALL, WARNING, Said

ROOT = Path(__file__).resolve().parents[4]  # of a checkout; an installed package has nothing of it
LOCK = "constraints.txt"


def python() -> Said:
    project = _project()
    wanted = project["requires-python"] if project else importlib.metadata.metadata("stagewise")["Requires-Python"]
    found = platform.python_version()
    if wanted and not Requirement(f"python{wanted}").specifier.contains(found):
        yield BAD, f"{found}, expected {wanted}: make an environment with such a Python"
    else:
        yield GOOD, found


def packages() -> Said:
    project, lock = _project(), ROOT / LOCK
    asked = project["dependencies"] if project else importlib.metadata.requires("stagewise") or []
    pinned = lock.read_text(encoding="utf-8").splitlines() if project and lock.is_file() else []
    yield from compared(asked, pinned, {each.name: each.version for each in importlib.metadata.distributions()})


def compared(asked: Iterable[str], pinned: Iterable[str], installed: Mapping[str, str]) -> Said:
    """What is installed, held against the ranges that are asked for and the pins of a lock: each a requirement."""
    here = {canonicalize_name(name): version.partition("+")[0] for name, version in installed.items()}
    needed = [each for each in map(Requirement, asked) if each.marker is None or each.marker.evaluate({"extra": ""})]
    bad = []
    for each in needed:
        version = here.get(canonicalize_name(each.name))
        if version is None:
            bad.append(f"{each.name} is not installed")
        elif not each.specifier.contains(version, prereleases=True):
            bad.append(f"{each.name} {version}, expected {each.specifier}")
    if bad:
        yield BAD, f"{'; '.join(bad)}: {INSTALL}"
    pins = [Requirement(text) for text in pinned if text and not text.startswith("#")]
    wanted = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in pins}
    other = [
        f"{name} {here[name]}, pinned {version}"
        for name, version in wanted.items()
        if here.get(name, version) != version
    ]
    if other:
        yield WARNING, f"{'; '.join(other)}: results may differ from those of others; {INSTALL}"
    elif not bad and wanted:
        yield GOOD, f"{sum(name in here for name in wanted)} as {LOCK} pins them"
    elif not bad:
        yield GOOD, f"{len(needed)} in the tested ranges; {LOCK} is not here"


def _project() -> dict[str, Any] | None:
    """Of pyproject.toml, where this package is run from a checkout."""
    path = ROOT / "pyproject.toml"
    if not path.is_file():
        return None
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    return project if project.get("name") == "stagewise" else None
