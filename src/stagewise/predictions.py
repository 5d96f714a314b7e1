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

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stagewise import schemas
from stagewise.config import Evaluation
from stagewise.data.jsonl import described, json_line, objects
from stagewise.data.traces import Item
from stagewise.errors import DataError
from stagewise.hashing import sha256
from stagewise.scoring import MatchTimeout, Score, majority
from stagewise.statistics import pass_at_k
from stagewise.structure import NAMES, measures

if TYPE_CHECKING:  # it imports torch, and whoever reads predictions need not wait for that
    from stagewise.generation import Answer, Prompt

SCHEMA = "stagewise.predictions/2"
FILE = "predictions.jsonl"
SCORES = ("flexible", "strict")
# What of a row follows from comparing answers.
JUDGED = (*SCORES, "extraction", "filtered_resps", "matched", "timed_out", "samples", "pass_at", "majority")
WEIGHTS = {"transformers": "verified", "openai": "unverified"}  # by engine


def row(
    item: Item,
    prompt: "Prompt",
    answers: Sequence["Answer"],
    scores: Sequence[Score],
    settings: Evaluation,
    shared: Mapping[str, Any],
) -> dict[str, Any]:
    """`answers` and `scores`: one a sample; `shared` by all rows: scoring, arm, phase, seed, checkpoint_sha256."""
    doc = json.loads(item.line)
    answer, score = answers[0], scores[0]
    extraction = score.extraction
    arguments: dict[str, Any] = {"do_sample": settings.temperature > 0, "max_gen_toks": settings.max_new_tokens}
    arguments |= {"until": list(settings.stop)}
    if settings.temperature:
        arguments |= {"temperature": settings.temperature, "top_p": settings.top_p}
    return {
        "schema": SCHEMA,
        "doc_id": item.row,
        "doc": doc,
        "target": item.expected_answer,
        "arguments": {"gen_args_0": {"arg_0": prompt.text, "arg_1": arguments}},
        "resps": [[answer.text for answer in answers]],
        "filtered_resps": [extraction.text if extraction else "[invalid]"],
        "filter": "flexible",
        "metrics": ["flexible", "strict"],
        "doc_hash": sha256(json.dumps(doc, indent=2, ensure_ascii=False).encode()),
        "prompt_hash": sha256(prompt.text.encode()),
        "target_hash": sha256(item.expected_answer.encode()),
        "flexible": _said(score.flexible),
        "strict": _said(score.strict),
        "extraction": {"rule": extraction.rule, "span": list(extraction.span)} if extraction else None,
        "matched": score.matched,
        "timed_out": score.timed_out,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": len(prompt.ids),
        "output_tokens": answer.tokens,
        "measures": measures(
            answer.text,
            prompt=item.prompt,
            expected=item.expected_answer,
            reference_steps=item.reference,
            tokens=answer.tokens,
            finish_reason=answer.finish_reason,
        ),
        "near_ties": answer.near_ties,
        "weights": WEIGHTS[settings.engine],
        "item": item.id,
        "section": item.section,
        "category": item.category,
        "difficulty": item.difficulty,
        **shared,
    } | (_samples(answers, scores, shared["scoring"]["match"]) if len(answers) > 1 else {})


def _said(verdict: bool | None) -> float | None:
    return None if verdict is None else float(verdict)


def _samples(answers: Sequence["Answer"], scores: Sequence[Score], match: Sequence[str]) -> dict[str, Any]:
    """What several samples of one item say together; null where it takes a verdict that one of them does not have."""
    given = [score.extraction.text.strip() if score.extraction else None for score in scores]
    verdicts = [score.flexible for score in scores]
    count, known = len(scores), None not in verdicts
    return {
        "samples": [
            {
                "answer": text,
                "flexible": _said(score.flexible),
                "strict": _said(score.strict),
                "finish_reason": answer.finish_reason,
                "output_tokens": answer.tokens,
            }
            for text, answer, score in zip(given, answers, scores, strict=True)
        ],
        "pass_at": {str(k): pass_at_k(count, verdicts.count(True), k) if known else None for k in _ks(count)},
        "majority": _majority(given, verdicts, match),
    }


def _majority(given: Sequence[str | None], verdicts: Sequence[bool | None], match: Sequence[str]) -> dict[str, Any]:
    try:
        chosen = majority(given, match)
    except MatchTimeout:
        return {"answer": None, "flexible": None}
    if chosen is None:
        return {"answer": None, "flexible": 0.0}
    return {"answer": given[chosen], "flexible": _said(verdicts[chosen])}


def _ks(samples: int) -> list[int]:
    """1, 2, 4, … and the number of samples itself."""
    return sorted({*(2**power for power in range(samples.bit_length())), samples})


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


def scored(rows: Sequence[Mapping[str, Any]], name: str) -> list[int]:
    """`flexible` or `strict` of the items that are scored, 0 or 1 each."""
    return [int(row[name]) for row in rows if row[name] is not None]


def paired(answers: Sequence[Sequence[Mapping[str, Any]]], name: str) -> list[list[int]]:
    """`flexible` or `strict` of each checkpoint's rows, of the items that are scored for all of them."""
    whole = [items for items in zip(*answers, strict=True) if all(row[name] is not None for row in items)]
    return [[int(items[number][name]) for items in whole] for number in range(len(answers))]


def measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The values of each trace-structure measure, over the items that have one."""
    values = {name: [row["measures"][name] for row in rows if name in row["measures"]] for name in NAMES}
    return {name: found for name, found in values.items() if found}


def question(row: Mapping[str, Any]) -> str:
    """What the item asks, without the template."""
    return str(row["doc"].get("prompt", row["doc"].get("question")))


def label(row: Mapping[str, Any]) -> str:
    """`[007] What is 12 × 3?`: unique in its eval set and the same for every checkpoint, so that rows pair."""
    return f"[{row['doc_id']:03d}] {question(row)}"


def table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The items as a table (`columns`, `data`) for MLflow's UI, which across runs groups by the first column and
    compares the second. Every run has the same columns; a measure or a score without a value is null."""
    columns = ["item", "prediction", "expected", "flexible", "strict", "rule", "section", *NAMES]
    columns += ["category", "difficulty", "finish_reason", "output"]
    return {"columns": columns, "data": [_table_row(row) for row in rows]}


def _table_row(row: Mapping[str, Any]) -> list[Any]:
    verdicts = [None if row[name] is None else bool(row[name]) for name in SCORES]
    judged = [row["filtered_resps"][0], row["target"], *verdicts]
    rule = row["extraction"]["rule"] if row["extraction"] else ""
    values = [row["measures"].get(name) for name in NAMES]
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
