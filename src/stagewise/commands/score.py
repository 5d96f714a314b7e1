"""A predictions file scored again, by section, category and difficulty: `stagewise score FILE`.

    post_stage_c_predictions.jsonl: 53 of 100 right, read as answers
    group       value        right  flexible     95 %  strict
    all                     53/100     53.0%  43%–62%       –
    section     core         22/40     55.0%  40%–69%       –
    …

A file of stagewise names how it was scored, and is scored so; any other by the default chain and matchers. Where
neither the file nor the user says why generation ended, every end counts as cut, and nothing can be said of `strict`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stagewise.analysis.statistics import wilson
from stagewise.data.traces import Item, parse_items, read_bytes
from stagewise.errors import ConfigError, DataError
from stagewise.evaluation.outputs import GROUPS, Output, OutputFile, read
from stagewise.evaluation.scoring import DEFAULT_CHAIN, DEFAULT_MATCH, Score, score
from stagewise.report.tables import aligned

DEFAULT = {"extract": list(DEFAULT_CHAIN), "match": list(DEFAULT_MATCH), "strict": "last_line"}


@dataclass(frozen=True, slots=True)
class Group:
    group: str
    """`all`, `section`, `category` or `difficulty`."""
    value: str
    items: int
    """That are scored: of the others, how many is told with the file."""
    right: int
    flexible: float | None
    low: float | None
    high: float | None
    """Wilson's interval of `flexible`, 95 %. None, like `flexible`, where no item is scored."""
    strict: float | None
    """None where the file does not say why generation ended."""


def show(path: Path, items: Path | None, finish_reason: str | None, as_json: bool) -> str:
    """What `stagewise score` prints."""
    file = read(path, None if items is None else read_items(items), finish_reason)
    scores = rescore(file)
    groups = list(grouped(file.outputs, scores))
    if as_json:
        return json.dumps(_everything(file, scores, groups), indent=1, ensure_ascii=False)
    return _text(file, scores, groups)


def read_items(path: Path) -> tuple[Item, ...]:
    """An eval set of either layout."""
    data = read_bytes(path)
    return parse_items(data, path.name, "traces" if b'"prompt"' in data.partition(b"\n")[0] else "gsm8k").rows


def rescore(file: OutputFile) -> list[Score]:
    """Raises `DataError` where the file names an extraction or a matcher that does not exist."""
    scoring: Any = file.scoring or DEFAULT
    try:
        return [
            score(
                output.text,
                output.expected,
                prompt=output.prompt,
                finish_reason=output.finish_reason or "length",
                **scoring,
            )
            for output in file.outputs
        ]
    except ConfigError as error:
        raise DataError(f"{file.name}: scoring: {error}") from None


def grouped(outputs: Sequence[Output], scores: Sequence[Score]) -> Iterator[Group]:
    """All items, then those of each value of each group that the items have."""
    pairs = list(zip(outputs, scores, strict=True))
    yield _group("all", "", pairs)
    for name in GROUPS:
        values = {getattr(output, name) or "none" for output in outputs}
        for value in sorted(values) if values != {"none"} else ():
            yield _group(name, value, [pair for pair in pairs if (getattr(pair[0], name) or "none") == value])


def _group(name: str, value: str, pairs: Sequence[tuple[Output, Score]]) -> Group:
    verdicts = [score.flexible for _, score in pairs if score.flexible is not None]
    strictly = [score.strict for output, score in pairs if output.finish_reason and score.strict is not None]
    count, right = len(verdicts), sum(verdicts)
    known = all(output.finish_reason for output, _ in pairs) and strictly
    strict = sum(strictly) / len(strictly) if known else None
    if not count:
        return Group(name, value, 0, 0, None, None, None, strict)
    interval = wilson(right, count)
    return Group(name, value, count, right, right / count, interval.low, interval.high, strict)


def _text(file: OutputFile, scores: Sequence[Score], groups: Sequence[Group]) -> str:
    rows = [["group", "value", "right", "flexible", "95 %", "strict"]]
    for each in groups:
        interval = "–" if each.low is None else f"{each.low:.0%}–{each.high:.0%}"
        flexible, strict = ("–" if rate is None else f"{rate:.1%}" for rate in (each.flexible, each.strict))
        rows.append([each.group, each.value, f"{each.right}/{each.items}", flexible, interval, strict])
    said = [f"{file.name}: {groups[0].right} of {groups[0].items} right, read as {file.format}"]
    if not all(output.finish_reason for output in file.outputs):
        said.append(
            "Why generation ended is not known (--finish-reason): every end counts as cut, and strict is not known."
        )
    if file.samples > 1:
        said.append(f"An item has up to {file.samples} samples, of which only the first is scored.")
    if late := sum(score.timed_out for score in scores):
        said.append(f"{late} items are unscored, as a comparison took too long; rates are of the others.")
    return "\n".join([*said, "", aligned(rows)])


def _everything(file: OutputFile, scores: Sequence[Score], groups: Sequence[Group]) -> dict[str, Any]:
    return {
        "schema": "stagewise.score/2",
        "file": file.name,
        "sha256": file.sha256,
        "format": file.format,
        "scoring": file.scoring or DEFAULT,
        "samples": file.samples,  # of which only the first is scored
        "groups": [asdict(group) for group in groups],
        "unscored": sum(score.timed_out for score in scores),
        "items": [{"item": output.item, **asdict(score)} for output, score in zip(file.outputs, scores, strict=True)],
    }
