"""conda.yaml is checked as far as it can be without conda, and all places that state a pin agree."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CONDA = yaml.safe_load((ROOT / "conda.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def conda_pins() -> list[str]:
    (pip,) = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    return list(pip)


def test_conda_and_pyproject_state_the_same_exact_pins() -> None:
    assert conda_pins() == PROJECT["dependencies"]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+==[0-9][0-9.]*", pin) for pin in conda_pins())


def test_development_pins_are_exact() -> None:
    assert all("==" in pin for pin in PROJECT["optional-dependencies"]["dev"])


def test_what_the_services_need_is_pinned_exactly() -> None:
    extra = PROJECT["optional-dependencies"]["services"]
    assert all(re.fullmatch(r"[a-z0-9\[\]-]+==[0-9][0-9.]*", pin) for pin in extra)


def test_what_export_needs_is_pinned_exactly_and_there_for_the_tests() -> None:
    extra = PROJECT["optional-dependencies"]["export"]
    assert all(re.fullmatch(r"[a-z-]+==[0-9][0-9.]*", pin) for pin in extra)
    assert set(extra) <= set(PROJECT["optional-dependencies"]["dev"])


def test_the_python_is_the_same_everywhere() -> None:
    assert "python=3.11" in CONDA["dependencies"]
    assert PROJECT["requires-python"] == ">=3.11.4,<3.12"  # tarfile has a filter since 3.11.4
    assert "PYTHON ?= python3.11" in (ROOT / "Makefile").read_text()


def test_what_is_installed_is_what_is_pinned() -> None:
    from importlib.metadata import version

    for pin in conda_pins() + PROJECT["optional-dependencies"]["export"]:
        name, _, wanted = pin.partition("==")
        assert version(name).split("+")[0] == wanted, f"{name} is installed as {version(name)}; run `make test`"
