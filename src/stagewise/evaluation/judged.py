"""An item, what a checkpoint said to it, and what that is worth, as a row of predictions (`predictions`)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stagewise.analysis.statistics import pass_at_k
from stagewise.config import Evaluation
from stagewise.data.traces import Item
from stagewise.evaluation.generation import Answer, Prompt
from stagewise.evaluation.predictions import SCHEMA, WEIGHTS
from stagewise.evaluation.scoring import EXTRACTORS, MATCHERS, Extractor, Matcher, MatchTimeout, Score, majority
from stagewise.evaluation.structure import MEASURES, Measure, measures
from stagewise.hashing import sha256


class Rubric(NamedTuple):
    """By what answers are judged: each thing that the config names, by its name."""

    extract: Mapping[str, Extractor]
    match: Mapping[str, Matcher]
    measures: Mapping[str, Measure]


def rubric_of(settings: Evaluation, folder: Path | None = None) -> Rubric:
    """What is a user's own is imported from `folder` first. Raises `CodeError` for what cannot serve."""
    return Rubric(
        EXTRACTORS.chosen(settings.extract, folder),
        MATCHERS.chosen(settings.match, folder),
        MEASURES.chosen(settings.measures, folder),
    )


def row(
    item: Item,
    prompt: Prompt,
    answers: Sequence[Answer],
    scores: Sequence[Score],
    settings: Evaluation,
    shared: Mapping[str, Any],
    rubric: Rubric,
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
            measure=rubric.measures,
        ),
        "near_ties": answer.near_ties,
        "weights": WEIGHTS[settings.engine],
        "item": item.id,
        "section": item.section,
        "category": item.category,
        "difficulty": item.difficulty,
        **shared,
    } | (_samples(answers, scores, rubric.match) if len(answers) > 1 else {})


def _said(verdict: bool | None) -> float | None:
    return None if verdict is None else float(verdict)


def _samples(answers: Sequence[Answer], scores: Sequence[Score], match: Mapping[str, Matcher]) -> dict[str, Any]:
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


def _majority(
    given: Sequence[str | None], verdicts: Sequence[bool | None], match: Mapping[str, Matcher]
) -> dict[str, Any]:
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
