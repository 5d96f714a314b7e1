"""One eval item answered by one checkpoint, as a line of predictions.jsonl.

The fields up to `flexible` are those of lm-evaluation-harness's sample log (`--log_samples`), so its
tools read our files; what follows is ours:

    {"doc_id": 0, "doc": {"id": "eval-001", "prompt": "What is 15+27?", …}, "target": "42",
     "arguments": [["What is 15+27?\\n", {"do_sample": false, "max_gen_toks": 128, "until": []}]],
     "resps": [["5+7=12 carry 1\\n42"]], "filtered_resps": ["42"], "filter": "flexible",
     "metrics": ["flexible", "strict"], "doc_hash": "…", "prompt_hash": "…", "target_hash": "…",
     "flexible": 1.0, "strict": 1.0, "extraction": {"rule": "last_line", "span": [15, 17]},
     "matched": "exact", "timed_out": false, "finish_reason": "stop", "prompt_tokens": 9,
     "output_tokens": 14, "arm": "curriculum", "phase": 3, "seed": 42, "checkpoint_sha256": "…"}
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stagewise.config import Evaluation
from stagewise.data.traces import Item
from stagewise.generation import Answer
from stagewise.hashing import sha256
from stagewise.scoring import Score


def row(
    item: Item,
    prompt_text: str,
    prompt_tokens: int,
    answer: Answer,
    score: Score,
    settings: Evaluation,
    checkpoint: Mapping[str, Any],
) -> dict[str, Any]:
    """`checkpoint`: arm, phase, seed and checkpoint_sha256."""
    doc = json.loads(item.line)
    extraction = score.extraction
    arguments = {"do_sample": False, "max_gen_toks": settings.max_new_tokens, "until": list(settings.stop)}
    return {
        "doc_id": item.row,
        "doc": doc,
        "target": item.expected_answer,
        "arguments": [[prompt_text, arguments]],
        "resps": [[answer.text]],
        "filtered_resps": [extraction.text if extraction else "[invalid]"],
        "filter": "flexible",
        "metrics": ["flexible", "strict"],
        "doc_hash": sha256(json.dumps(doc, indent=2, ensure_ascii=False).encode()),
        "prompt_hash": sha256(prompt_text.encode()),
        "target_hash": sha256(item.expected_answer.encode()),
        "flexible": float(score.flexible),
        "strict": float(score.strict),
        "extraction": {"rule": extraction.rule, "span": list(extraction.span)} if extraction else None,
        "matched": score.matched,
        "timed_out": score.timed_out,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": prompt_tokens,
        "output_tokens": answer.tokens,
        "item": item.id,
        "section": item.section,
        "category": item.category,
        "difficulty": item.difficulty,
        **checkpoint,
    }


def encode(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def decode(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.decode().split("\n") if line]


def metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Rates and means over the items of one checkpoint."""
    count = len(rows)

    def rate(holds: Any) -> float:
        return round(float(sum(map(holds, rows))) / count, 6)

    return {
        "eval/flexible": rate(lambda row: row["flexible"]),
        "eval/strict": rate(lambda row: row["strict"]),
        "eval/stopped": rate(lambda row: row["finish_reason"] == "stop"),
        "eval/answer_found": rate(lambda row: row["extraction"] is not None),
        "eval/timed_out": rate(lambda row: row["timed_out"]),
        "eval/output_tokens": rate(lambda row: row["output_tokens"]),
    }


def by(rows: Sequence[Mapping[str, Any]], field: str) -> dict[str, tuple[int, int]]:
    """(right by `flexible`, items) of each value of `section`, `category` or `difficulty`."""
    groups: dict[str, tuple[int, int]] = {}
    for row in rows:
        right, count = groups.get(row[field] or "none", (0, 0))
        groups[row[field] or "none"] = (right + int(row["flexible"]), count + 1)
    return dict(sorted(groups.items()))
