"""What a model said to an eval set, read from a file in one of three formats.

    read(Path("predictions.jsonl")).outputs[0]
    ->  Output(item="eval-001", row=0, prompt="What is 15+27?", expected="42", text="5+7=12 carry 1\\n42",
               finish_reason="stop", section="core", category="arithmetic", difficulty="easy")

| format | its rows have | why generation ended |
| --- | --- | --- |
| `stagewise` | `schema` and what docs/predictions.md lists | known |
| `lm-evaluation-harness` | `doc_id`, `doc`, `target`, `arguments`, `resps`: its `--log_samples` | not known |
| `answers` | `id`, `predicted_answer`, and `prompt`, `expected_answer` unless an eval set gives them | not known |

Of a file that is not read to its end nothing is returned.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stagewise.data.jsonl import objects
from stagewise.data.layouts.gsm8k import RESULT
from stagewise.data.traces import Item, read_bytes
from stagewise.errors import DataError
from stagewise.evaluation import predictions
from stagewise.hashing import sha256
from stagewise.record import schemas

GROUPS = ("section", "category", "difficulty")


@dataclass(frozen=True, slots=True)
class Output:
    item: str
    row: int | None
    """0-based row of the item in its eval set; None where the file does not say."""
    prompt: str
    expected: str
    text: str
    """Of several samples the first."""
    finish_reason: str | None
    """`stop` or `length`; None where the file does not say."""
    section: str | None
    category: str | None
    difficulty: str | None


@dataclass(frozen=True, slots=True)
class OutputFile:
    name: str
    format: str
    sha256: str
    outputs: tuple[Output, ...]
    samples: int
    """The most that an item has."""
    scoring: Mapping[str, Any] | None
    """`extract`, `match` and `strict` that the file names; None where it names none."""


def read(path: Path, items: Iterable[Item] | None = None, finish_reason: str | None = None) -> OutputFile:
    """The outputs of a file; with `items`, their prompts, answers and groups count instead of the file's own.
    `finish_reason` is what ended the outputs of a file that does not say it.

    Raises `DataError`, in one line, for a file of another format, a duplicate item, items without an output
    or outputs without an item, and a `finish_reason` for a file that says its own.
    """
    data, name = read_bytes(path), path.name
    rows = list(objects(data, name))
    kind = _format(*rows[0])
    scoring: Mapping[str, Any] | None = None
    if kind == "stagewise":
        if finish_reason is not None:
            raise DataError(f"{name}: says itself why each output ended, expected no --finish-reason; leave it out")
        checked = predictions.decode(data, name)
        scoring = _one_scoring(name, checked)
        found = [_ours(row) for row in checked]
    elif kind == "lm-evaluation-harness":
        found = [_sample(row, where) for where, row in _one_an_item(rows)]
    else:
        found = [_answer(row, where, items is not None) for where, row in rows]
    _refuse_repeats(name, found)
    if items is not None:
        found = _joined(name, found, list(items))
    if kind != "stagewise":
        found = [replace(output, finish_reason=finish_reason) for output in found]
    samples = 1 if kind == "answers" else max(len(row["resps"][0]) for _, row in rows)
    return OutputFile(name, kind, sha256(data), tuple(found), samples, scoring)


def _format(where: str, row: Mapping[str, Any]) -> str:
    if "schema" in row:
        return "stagewise"
    if {"doc_id", "resps"} <= set(row):
        return "lm-evaluation-harness"
    if {"id", "predicted_answer"} <= set(row):
        return "answers"
    raise DataError(
        f"{where}: found the fields {', '.join(sorted(row)[:12]) or 'none'}, expected those of a predictions file: "
        f"schema ({predictions.SCHEMA}); doc_id and resps (lm-evaluation-harness); or id and predicted_answer"
    )


# --- formats ------------------------------------------------------------------------------------


def _ours(row: Mapping[str, Any]) -> Output:
    groups = {name: row[name] for name in GROUPS}
    asked, said = predictions.question(row), row["resps"][0][0]
    return Output(row["item"], row["doc_id"], asked, row["target"], said, row["finish_reason"], **groups)


def _one_scoring(name: str, rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    scoring: Mapping[str, Any] = rows[0]["scoring"]
    for number, row in enumerate(rows):
        if row["scoring"] != scoring:
            raise DataError(
                f'{name}: line {number + 1}, field "scoring": found another than on line 1, expected the same'
            )
    return scoring


def _one_an_item(rows: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """lm-evaluation-harness writes a row for each item and filter; the outputs are the same in each. Older versions do
    not name the filter: there every item has as many rows as the first."""
    kept: dict[str, tuple[str, dict[str, Any]]] = {}
    filters: set[tuple[str, str]] = set()
    seen: Counter[str] = Counter()
    for where, row in rows:
        item, its_filter = str(row.get("doc_id")), str(row.get("filter"))
        _, first = kept.setdefault(item, (where, row))
        seen[item] += 1
        again = (item, its_filter) in filters and "filter" in row
        if again or row.get("resps") != first.get("resps"):
            raise DataError(f"{where}: duplicate doc_id {item}, expected one output for each item")
        filters.add((item, its_filter))
    often = next(iter(seen.values()))
    for item, count in seen.items():
        if count != often and "filter" not in kept[item][1]:
            where = kept[item][0]
            raise DataError(f"{where}: doc_id {item} stands {count} times, expected {often}, like the first")
    return list(kept.values())


def _sample(row: Mapping[str, Any], where: str) -> Output:
    schemas.check(row, "sample", where)
    doc, arguments = row["doc"], row["arguments"]
    asked = arguments[0][0] if isinstance(arguments, list) else arguments["gen_args_0"]["arg_0"]
    question = next((doc[name] for name in ("question", "prompt") if isinstance(doc.get(name), str)), asked)
    expected = str(row["target"]).rpartition(RESULT)[2].strip()  # GSM8K's target is the whole solution
    groups = {name: doc.get(name) for name in GROUPS}
    identity = str(doc.get("id", row["doc_id"]))
    return Output(identity, row["doc_id"], question, expected, row["resps"][0][0], None, **groups)


def _answer(row: Mapping[str, Any], where: str, joined: bool) -> Output:
    schemas.check(row, "answer", where)
    missing = [name for name in ("prompt", "expected_answer") if name not in row]
    if missing and not joined:
        raise DataError(f'{where}, field "{missing[0]}": found nothing, expected a string, or an eval set (--items)')
    groups = {name: row.get(name) for name in GROUPS}
    asked, expected = row.get("prompt", ""), row.get("expected_answer", "")
    return Output(row["id"], None, asked, expected, row["predicted_answer"], None, **groups)


# --- items --------------------------------------------------------------------------------------


def _refuse_repeats(name: str, outputs: list[Output]) -> None:
    seen: set[str] = set()
    for output in outputs:
        if output.item in seen:
            raise DataError(f"{name}: duplicate item {output.item}, expected one output for each item")
        seen.add(output.item)


def _joined(name: str, outputs: list[Output], items: list[Item]) -> list[Output]:
    """The outputs with what the items say, in the order of the items."""
    by_id = {output.item: output for output in outputs}
    by_row = {output.row: output for output in outputs if output.item == str(output.row)}  # they have no id
    pairs = [(item, by_id.get(item.id) or by_row.get(item.row)) for item in items]
    missing = [item.id for item, output in pairs if output is None]
    found = [(item, output) for item, output in pairs if output is not None]
    extra = sorted({output.item for output in outputs} - {output.item for _, output in found})
    for ids, what in ((missing, "items have no output"), (extra, "outputs have no item in the eval set")):
        if ids:
            raise DataError(f"{name}: {len(ids)} {what}, expected one for each: {', '.join(ids[:5])}")
    for item, output in found:
        if item.prompt.strip() not in output.prompt and output.prompt:
            raise DataError(
                f"{name}: item {item.id}: found another prompt than the eval set's; expected outputs for these items"
            )
    return [
        replace(
            output,
            item=item.id,
            prompt=item.prompt,
            expected=item.expected_answer,
            **{group: getattr(item, group) for group in GROUPS},
        )
        for item, output in found
    ]
