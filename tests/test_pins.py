"""What pyproject.toml asks for, what constraints.txt and conda.yaml pin, and what is installed agree."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONDA = yaml.safe_load((ROOT / "conda.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def conda_pins() -> list[str]:
    (pip,) = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    return list(pip)


def lock() -> dict[str, str]:
    """Version by name, for every system and Python that the lock covers."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"==[\w.]+", str(each.specifier)) for each in pinned)
    assert len({each.name for each in pinned}) == len(pinned)
    return {canonicalize_name(each.name): str(each.specifier)[2:] for each in pinned}


def asked() -> Iterator[Requirement]:
    for text in [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]:
        if (found := Requirement(text)).name != "stagewise":
            yield found


def test_the_lock_satisfies_every_range() -> None:
    pinned = lock()
    wrong = [str(each) for each in asked() if not each.specifier.contains(pinned[canonicalize_name(each.name)])]
    assert wrong == []


def test_a_run_needs_ranges_with_both_ends() -> None:
    calendar = {"regex"}
    for text in [*PROJECT["dependencies"], *EXTRAS["export"], *EXTRAS["services"]]:
        ends = {each.operator for each in Requirement(text).specifier}
        assert ends == ({">="} if Requirement(text).name in calendar else {">=", "<"}), text


def test_conda_pins_what_is_asked_for_as_the_lock_does_and_the_rest_by_it() -> None:
    constraint, *pins = conda_pins()
    assert constraint == "-c constraints.txt"  # relative to conda.yaml for conda, for uv and for MLflow's virtualenv
    names = [Requirement(text).name for text in PROJECT["dependencies"]]
    assert pins == [f"{name}=={lock()[canonicalize_name(name)]}" for name in names]


def test_what_export_needs_is_there_for_the_tests() -> None:
    assert "stagewise[export]" in EXTRAS["dev"]


def test_whatever_installs_does_so_by_the_lock() -> None:
    installs = re.findall(r"^.*pip install.*$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in line for line in installs)
    assert "pip install" not in (ROOT / ".ci" / "run").read_text()  # by make
    assert (
        ".venv/installed: pyproject.toml constraints.txt" in (ROOT / "Makefile").read_text()
    )  # a new lock: installed anew


def test_the_python_is_the_same_everywhere() -> None:
    assert "python=3.11" in CONDA["dependencies"]
    assert PROJECT["requires-python"].startswith(">=3.11.4,")  # tarfile has a filter since 3.11.4
    assert "PYTHON ?= python3.11" in (ROOT / "Makefile").read_text()


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = lock()
    needed = [Requirement(text).name for text in [*PROJECT["dependencies"], *EXTRAS["export"]]]
    for name in needed:
        installed, wanted = version(name).split("+")[0], pinned[canonicalize_name(name)]
        assert installed == wanted, f"{name} is installed as {installed}, not {wanted}; run `make test`"


def test_what_those_need_in_turn_is_what_is_pinned() -> None:
    found = {}
    for name, wanted in lock().items():
        try:
            installed = version(name).split("+")[0]
        except PackageNotFoundError:
            continue  # of another system, or of an extra
        if installed != wanted:
            found[name] = installed
    assert found == {}
