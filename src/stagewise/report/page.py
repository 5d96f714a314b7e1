"""report.html: everything about a study in one file that opens without a network. Pure.

write(compared, checkpoints, setup, places, figures, seed)    "<!doctype html> …"

What a model wrote is untrusted: Jinja escapes it, and the table of all items reaches the page's script as
compressed JSON that is never read as HTML. The page's own policy forbids it to load anything.
"""

import base64
import difflib
import gzip
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stagewise.evaluation import predictions
from stagewise.report import GROUPS, SCORES, Checkpoint, tables, words

SHOWN = 20  # items side by side
COLUMNS = (*SCORES, "eos", "cap_hit", "tokens", "steps", "equations_true")  # of the table of checkpoints
TEMPLATES = Path(__file__).parent / "templates"
ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
ENVIRONMENT.filters |= {"points": words.points, "probability": words.probability, "span": tables.span}


@dataclass(frozen=True, slots=True)
class Places:
    """Where MLflow's UI shows the runs."""

    server: str
    """Its address, `https://…`; '' where the tracking store has none, and only paths can be told."""
    paths: Mapping[str, str]
    """By run id, to be put behind the address: `#/experiments/1/runs/9c1e…`"""

    def url(self, path: str) -> str:
        """The path behind the address, where there is one."""
        return f"{self.server}/{path}" if self.server else path

    def side_by_side(self, left: str, right: str) -> str:
        """The page that compares two eval runs item by item."""
        return f"{self.paths[left]}/traces?compareToRunUuid={right}"


def write(
    compared: Mapping[str, Any],
    checkpoints: Sequence[Checkpoint],
    setup: Mapping[str, str],
    places: Places,
    figures: Mapping[str, tuple[str, bytes]],
    seed: int,
) -> str:
    """`setup`: what the study was, by name; `figures`: caption and PNG by file name; `seed` draws the items that
    are shown side by side."""
    contrasts = list(compared["contrasts"].values())
    return ENVIRONMENT.get_template("report.html").render(
        compared=compared,
        primaries=[each for each in contrasts if each["primary"]],
        secondary=[each for each in contrasts if not each["primary"]],
        tables=tables,
        scores=SCORES,
        columns=COLUMNS,
        groups=[group for group in GROUPS if tables.groups(compared, group)],
        limits=words.limits(compared),
        setup=setup,
        places=places,
        figures={name: (caption, _base64(png)) for name, (caption, png) in figures.items()},
        shown=[_side_by_side(checkpoints, reference(compared), item) for item in drawn(len(compared["items"]), seed)],
        reference=reference(compared),
        everything=_packed(_all_items(checkpoints)),
        style=(TEMPLATES / "report.css").read_text(),
        script=(TEMPLATES / "report.js").read_text(),
    )


def drawn(items: int, seed: int) -> list[int]:
    """Which items are shown side by side, by their places in the eval set: a draw, so that nobody picks."""
    return sorted(random.Random(seed).sample(range(items), min(SHOWN, items)))


def reference(compared: Mapping[str, Any]) -> str:
    """The checkpoint that the others' outputs are held against: the primary arm's last, or else any arm's."""
    finals = [each for each in compared["checkpoints"] if each["final"]]
    return str(min(finals, key=lambda each: each["arm"] != compared["primary"]["arm"])["name"])


def _side_by_side(checkpoints: Sequence[Checkpoint], reference: str, item: int) -> dict[str, Any]:
    """What every checkpoint answered to one item, and where that differs from the reference."""
    (held,) = [each.rows[item] for each in checkpoints if each.name == reference]
    answers = []
    for each in checkpoints:
        row = each.rows[item]
        answers.append(_answer(row) | {"name": each.name, "eval_run": each.eval_run, "parts": differences(held, row)})
    return _question(held) | {"answers": answers}


def differences(held: Mapping[str, Any], row: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The output in pieces, and whether each is not in the reference's output, word by word; an empty piece that
    differs stands where words of the reference are missing."""
    before, after = (re.findall(r"\S+\s*|\s+", each["resps"][0][0]) for each in (held, row))
    found = difflib.SequenceMatcher(a=before, b=after).get_opcodes()
    return [("".join(after[low:high]), what != "equal") for what, _, _, low, high in found]


def _all_items(checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """For the page's script: every item, with every checkpoint's answer to it."""
    items = []
    for number, row in enumerate(checkpoints[0].rows):
        answers = [_answer(each.rows[number]) | {"output": each.rows[number]["resps"][0][0]} for each in checkpoints]
        items.append(_question(row) | {"answers": [list(answer.values()) for answer in answers]})
    return {
        "checkpoints": [{"name": each.name, "final": each.is_final} for each in checkpoints],
        "groups": list(GROUPS),
        "items": items,
    }


def _question(row: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"item": row["item"], "prompt": predictions.question(row), "expected": row["target"]}
    return asked | {name: row[name] for name in GROUPS}


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "flexible": None if row["flexible"] is None else bool(row["flexible"]),
        "strict": None if row["strict"] is None else bool(row["strict"]),
        "extracted": row["filtered_resps"][0] if row["extraction"] else None,
        "finish": row["finish_reason"],
    }


def _packed(value: Any) -> str:
    """A study of GSM8K's size is then a quarter as large, and no text in it can end the script element it is in."""
    return _base64(gzip.compress(json.dumps(value, ensure_ascii=False).encode(), compresslevel=6, mtime=0))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
