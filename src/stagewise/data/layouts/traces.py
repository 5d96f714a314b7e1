"""Our own: `prompt`, `steps` of `i`, `type` and `content`, `final_answer`, `meta.category`; an eval item has `id`,
`prompt`, `expected_answer`, and may have `section`, `category`, `difficulty` and `steps`.

    {"prompt": "What is 47+38?", "steps": [{"i": 0, "type": "calculation", "content": "7+8=15 carry 1 so 5"},
     {"i": 1, "type": "result", "content": "4+3+1=8 so 85"}], "final_answer": "85",
     "meta": {"category": "synthetic"}}
    {"id": "eval-001", "prompt": "What is 15+27?", "expected_answer": "42", "section": "core",
     "category": "arithmetic", "difficulty": "easy"}
"""

from stagewise.data.jsonl import described
from stagewise.data.layouts import Item, Layout, Row, Trace


def _trace(row: Row) -> Trace:
    meta = row.fields.get("meta")
    if not isinstance(meta, dict):
        found = described(meta) if "meta" in row.fields else "nothing"
        row.refuse("meta", found, "an object with a category")
        meta = {"category": ""}
    category = row.text("category", within=meta, path="meta.")
    return row.trace(row.text("prompt", blank=False), row.steps(), row.text("final_answer"), category)


def _item(row: Row) -> Item:
    has_steps = row.fields.get("steps") is not None
    return row.item(
        row.text("id", blank=False),
        row.text("prompt", blank=False),
        row.text("expected_answer", blank=False),
        section=row.optional_text("section"),
        category=row.optional_text("category"),
        difficulty=row.optional_text("difficulty"),
        reference=[step.content for step in row.steps()] if has_steps else None,
    )


traces = Layout(trace=_trace, item=_item)
