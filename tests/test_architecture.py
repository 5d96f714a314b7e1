"""What may import what: an arrow runs down the list of layers, never up."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagewise import registry

SOURCE = Path(__file__).parents[1] / "src" / "stagewise"
# From the top down: a room may import those of the lines below its own, and none beside it.
LAYERS = (
    "__main__",
    "cli",
    "pipeline",
    "commands",
    "steps",
    "report export",
    "tracking",
    "verification",
    "self_check",
    "training evaluation",
    "curriculum model",
    "record analysis",
    "data",
    "config",
    "registry",
    "own_code",
    "progress credentials hashing",
    "errors interrupts atomic tree",
)
DEPTH = {room: number for number, layer in enumerate(LAYERS) for room in layer.split()}
MODULES = sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_every_room_has_its_layer() -> None:
    assert {room_of(path) for path in MODULES} - {"__init__"} == DEPTH.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_arrow_runs_up(path: Path) -> None:
    here = room_of(path)
    wrong = []
    for name in imports(path):
        package, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if package == "stagewise" and there in DEPTH and there != here and DEPTH[there] <= DEPTH[here]:
            wrong.append(f"{path.relative_to(SOURCE)} imports {name}: {there} is no layer below {here}")
    assert wrong == []


@pytest.mark.parametrize(("library", "rooms"), [("mlflow", {"tracking"}), ("click", {"cli", "progress"})])
def test_a_library_stays_in_its_rooms(library: str, rooms: set[str]) -> None:
    found = {room_of(path) for path in MODULES if any(name.split(".")[0] == library for name in imports(path))}
    assert found <= rooms


def test_no_two_modules_have_one_name_but_what_stands_for_one_thing() -> None:
    """A command, a step and what derives its record share theirs; a registry is that of models, too."""
    shared = {"common", "export", "plan", "report", "split", "train", "eval", "code", "pipeline", "registry", "own"}
    named = [SOURCE.joinpath(*place.split(".")) for place in registry.PLACES.values()]  # as configs call their things
    names = [path.stem for path in MODULES if path.stem not in ("__init__", *shared) and path.parent not in named]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_folder_is_of_one_file() -> None:
    for folder in {path.parent for path in MODULES}:
        inside = [path for path in folder.iterdir() if path.name != "__pycache__"]
        bare = [path for path in inside if path.name == "__init__.py" and not list(imports(path))]
        assert len(inside) - len(bare) > 1, folder


def test_no_test_module_imports_another() -> None:
    tests = Path(__file__).parent
    found = {
        f"{path.relative_to(tests)} imports {name}"
        for path in tests.rglob("*.py")
        for name in imports(path)
        if any(part.startswith("test_") for part in name.split("."))
    }
    assert found == set()


def test_the_files_that_the_docs_name_exist() -> None:
    root = SOURCE.parents[1]
    for page in [root / "README.md", *(root / "docs").glob("*.md")]:
        named = re.findall(
            r"`((?:src|tests|benchmarks|configs|stagewise)/[\w./-]+\.\w+)`", page.read_text(encoding="utf-8")
        )
        assert [path for path in named if not (root / path).exists()] == [], page.name
