"""Rows of predictions.jsonl that no model gave."""

import json
from typing import Any

from stagewise.config import Evaluation
from stagewise.data.traces import parse_items
from stagewise.evaluation import judged
from stagewise.evaluation.generation import Answer, Prompt
from stagewise.evaluation.scoring import DEFAULT_CHAIN, DEFAULT_MATCH, score

SHARED = {
    "scoring": {"extract": list(DEFAULT_CHAIN), "match": list(DEFAULT_MATCH), "strict": "last_line"},
    "arm": "flat",
    "phase": 1,
    "seed": 42,
    "checkpoint_sha256": "0" * 64,
}


def made(*outputs: str, expected: str = "4", **settings: Any) -> dict[str, Any]:
    """The row of an item that was answered so."""
    line = json.dumps({"id": "x-1", "prompt": "What is 2+2?", "expected_answer": expected, "section": "core"})
    (item,) = parse_items(line.encode(), "eval").rows
    answers = [Answer(output, 3, "stop") for output in outputs]
    scores = [score(output, expected, prompt=item.prompt, **SHARED["scoring"]) for output in outputs]  # type: ignore[arg-type]
    prompt = Prompt("x-1", "What is 2+2?\n", [1, 2], 0)
    evaluation = Evaluation(**settings)
    return judged.row(item, prompt, answers, scores, evaluation, SHARED, judged.rubric_of(evaluation))
