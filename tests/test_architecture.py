"""What may import what: the core is used and tested without a command line and without a server."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stagewise"
FORBIDDEN = ("click", "mlflow", *(f"stagewise.{name}" for name in ("tracking", "progress", "steps", "pipeline", "cli")))
OUTER = ("cli.py", "__main__.py", "progress.py", "pipeline.py", "steps/", "tracking/")
CORE = [path for path in SOURCE.rglob("*.py") if not path.relative_to(SOURCE).as_posix().startswith(OUTER)]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_the_core_imports_neither_click_nor_mlflow_nor_what_uses_them(path: Path) -> None:
    found = {name for name in imports(path) if name.startswith(FORBIDDEN)}
    assert not found, f"{path.name} imports {found}"


def test_mlflow_is_imported_in_tracking_alone() -> None:
    elsewhere = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if not path.relative_to(SOURCE).as_posix().startswith("tracking/")
        and any(name.split(".")[0] == "mlflow" for name in imports(path))
    ]
    assert elsewhere == []
