"""One eval item answered by one checkpoint, as a line of predictions.jsonl.

The fields from `doc_id` up to `flexible` are those of lm-evaluation-harness's sample log (`--log_samples`), so its
tools read our files; the others are ours:

    {"schema": "stagewise.predictions/2",
     "doc_id": 0, "doc": {"id": "eval-001", "prompt": "What is 15+27?", …}, "target": "42",
     "arguments": {"gen_args_0": {"arg_0": "What is 15+27?\\n",
                                  "arg_1": {"do_sample": false, "max_gen_toks": 128, "until": []}}},
     "resps": [["5+7=12 carry 1\\n42"]], "filtered_resps": ["42"], "filter": "flexible",
     "metrics": ["flexible", "strict"], "doc_hash": "…", "prompt_hash": "…", "target_hash": "…",
     "flexible": 1.0, "strict": 1.0, "extraction": {"rule": "last_line", "span": [15, 17]},
     "matched": "exact", "timed_out": false, "finish_reason": "stop", "prompt_tokens": 9,
     "output_tokens": 14, "measures": {"steps": 2.0, "equations_true": 1.0, …}, "near_ties": 0,
     "weights": "verified", "scoring": {"extract": ["gsm8k", …], "match": ["exact", …], "strict": "last_line"},
     "arm": "curriculum", "phase": 3, "seed": 42, "checkpoint_sha256": "…"}

A score of null is none: the item is unscored, because a comparison took too long (`timed_out`).
Where an item has several samples, all of this but `resps` is about the first, and `samples`, `pass_at` and
`majority` come on top. `weights` is `unverified` where a server answered: it says which weights, and we believe it.
schemas/predictions.json is the JSON Schema of a line, docs/predictions.md the same in words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewise.data.jsonl import described, json_line, objects
from stagewise.errors import DataError
from stagewise.evaluation.structure.kinds import NAMES
from stagewise.record import schemas

SCHEMA = "stagewise.predictions/2"
FILE = "predictions.jsonl"
SCORES = ("flexible", "strict")
# What of a row follows from comparing answers.
JUDGED = (*SCORES, "extraction", "filtered_resps", "matched", "timed_out", "samples", "pass_at", "majority")
WEIGHTS = {"transformers": "verified", "openai": "unverified"}  # by engine


def encode(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """predictions.jsonl. Raises `DataError` for a row that its schema does not allow."""
    for number, row in enumerate(rows):
        _check(row, f"{FILE}: line {number + 1}")
    return b"".join(json_line(row) + b"\n" for row in rows)


def decode(data: bytes, name: str = FILE) -> list[dict[str, Any]]:
    """The rows of predictions.jsonl. Raises `DataError` for the first line that is none."""
    rows = []
    for where, row in objects(data, name):
        _check(row, where)
        rows.append(row)
    return rows


def _check(row: Mapping[str, Any], where: str) -> None:
    if row.get("schema") != SCHEMA:
        found = described(row["schema"]) if "schema" in row else "none"
        raise DataError(f'{where}, field "schema": found {found}, expected "{SCHEMA}"')
    schemas.check(row, "predictions", where)


def metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Rates and means over the items of one checkpoint that have a value; of near ties and of unscored items, their
    number. What no item has a value of is absent, as is a measure of trace structure (docs/scoring.md).
    """
    values: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in SCORES} | measured(rows)
    if "samples" in rows[0]:
        for k in rows[0]["pass_at"]:
            values[f"pass_at_{k}"] = [row["pass_at"][k] for row in rows]
        values[f"majority_at_{len(rows[0]['samples'])}"] = [row["majority"]["flexible"] for row in rows]
    means = {"eval/unscored": float(sum(row["timed_out"] for row in rows))}
    for name, found in values.items():
        known = [float(value) for value in found if value is not None]
        means |= {f"eval/{name}": round(sum(known) / len(known), 6)} if known else {}
    if rows[0]["near_ties"] is not None:
        means["eval/near_ties"] = float(sum(row["near_ties"] for row in rows))
    return means


def measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The values of each trace-structure measure, over the items that have one."""
    names = dict.fromkeys([*NAMES, *(name for row in rows for name in row["measures"])])
    values = {name: [row["measures"][name] for row in rows if name in row["measures"]] for name in names}
    return {name: found for name, found in values.items() if found}


def question(row: Mapping[str, Any]) -> str:
    """What the item asks, without the template."""
    return str(row["doc"].get("prompt", row["doc"].get("question")))


def label(row: Mapping[str, Any]) -> str:
    """`[007] What is 12 × 3?`: unique in its eval set and the same for every checkpoint, so that rows pair."""
    return f"[{row['doc_id']:03d}] {question(row)}"


def table(rows: Sequence[Mapping[str, Any]], measures: Sequence[str] = NAMES) -> dict[str, Any]:
    """The items as a table (`columns`, `data`) for MLflow's UI, which across runs groups by the first column and
    compares the second. Every run has the same columns; a measure or a score without a value is null."""
    columns = ["item", "prediction", "expected", "flexible", "strict", "rule", "section", *measures]
    columns += ["category", "difficulty", "finish_reason", "output"]
    return {"columns": columns, "data": [_table_row(row, measures) for row in rows]}


def _table_row(row: Mapping[str, Any], measures: Sequence[str]) -> list[Any]:
    verdicts = [None if row[name] is None else bool(row[name]) for name in SCORES]
    judged = [row["filtered_resps"][0], row["target"], *verdicts]
    rule = row["extraction"]["rule"] if row["extraction"] else ""
    values = [row["measures"].get(name) for name in measures]
    rest = [row["category"] or "", row["difficulty"] or "", row["finish_reason"], row["resps"][0][0]]
    return [label(row), *judged, rule, row["section"] or "", *values, *rest]


def by(rows: Sequence[Mapping[str, Any]], field: str) -> dict[str, tuple[int, int]]:
    """(right by `flexible`, items that are scored) of each value of `section`, `category` or `difficulty`."""
    groups: dict[str, tuple[int, int]] = {}
    for row in rows:
        right, count = groups.get(row[field] or "none", (0, 0))
        scored = row["flexible"] is not None
        groups[row[field] or "none"] = (right + int(row["flexible"] or 0), count + scored)
    return dict(sorted(groups.items()))
