"""The rates of the gate in docs/statistics.md are those that enumerating all outcomes gives."""

import importlib.util
import math
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").split("### The gate of a promotion")[1]
DRAWS = 100_000


@pytest.fixture(scope="module")
def gate() -> Any:
    spec = importlib.util.spec_from_file_location("gate", ROOT / "benchmarks" / "gate.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def table(first: str) -> dict[int, list[str]]:
    """The rows of the table whose head begins so, by their first cell."""
    lines = TEXT[TEXT.index(first) :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {int(row[0].replace(",", "")): row[1:] for row in rows}


def close(stated: str, exact: float) -> bool:
    """Up to the error of so many draws, and to one decimal of a percent."""
    return abs(float(stated) / 100 - exact) <= 4.5 * math.sqrt(exact * (1 - exact) / DRAWS) + 0.0005


@pytest.mark.parametrize("items", [10, 20, 50, 100])
def test_false_promotions_are_as_documented(gate: Any, items: int) -> None:
    cells = [(margin, share, -margin) for margin in gate.MARGINS for share in (margin, *gate.SHARES)]
    stated, exact = table("| items | 1: least")[items], gate.enumerated(items, cells)
    assert [each for each in zip(stated, exact, cells, strict=True) if not close(*each[:2])] == []


@pytest.mark.parametrize("items", [50, 73, 100])
def test_right_promotions_are_as_documented(gate: Any, items: int) -> None:
    cells = [(0.05, share, 0.0) for share in gate.ALIKE]
    stated, exact = table("| items | 0 % differ")[items], gate.enumerated(items, cells)
    assert [each for each in zip(stated, exact, cells, strict=True) if not close(*each[:2])] == []


def test_the_worst_cells_are_as_documented(gate: Any) -> None:
    for stated, where, less, elsewhere in table("| from items on").values():
        for rate, cell in ((stated, where), (less, elsewhere)):
            items, margin, share = map(float, re.match(r"(\d+) items, (\S+) points, (\S+) %", cell).groups())  # type: ignore[union-attr]
            (exact,) = gate.enumerated(int(items), [(margin / 100, share / 100, -margin / 100)])
            assert float(rate) == pytest.approx(100 * exact, abs=0.051)


def test_the_simulation_is_of_the_same_gate_and_repeats(gate: Any) -> None:
    (exact,) = gate.enumerated(50, [(0.05, 0.4, -0.05)])
    drawn = gate.promoted(50, 0.05, 0.4, -0.05, 20_000)
    assert drawn == pytest.approx(exact, abs=4.5 * math.sqrt(exact / 20_000))
    assert drawn == gate.promoted(50, 0.05, 0.4, -0.05, 20_000)
