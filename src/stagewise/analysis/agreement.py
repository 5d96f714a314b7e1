"""Two records of one study held against each other: how near the second comes to the first. Pure.

    compare([Made("train flat-1-s42", {"order": "9c1e…"}, weights="77c0…", losses=[3.9, 3.1])], again)
        Comparison("within tolerance", [Difference("train flat-1-s42", "weights sha256", "77c0…", "12ab…", …), …])

A difference allows a verdict: other weights under the same answers may pass as `identical predictions`, another
order of the examples never does. The verdict is the worst that any difference allows.

The tolerance: the last loss of a phase within 1 %, accuracies within the recorded 95 % Wilson interval. Another
summation order (threads, GPU, library) moved a quickstart's last loss by 0.03 %, another seed by 15 %.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stagewise.analysis.scores import scored
from stagewise.analysis.statistics import wilson

BITS, PREDICTIONS, TOLERANCE, DIFFERS = "bit-identical", "identical predictions", "within tolerance", "differs"
VERDICTS = (BITS, PREDICTIONS, TOLERANCE, DIFFERS)  # best first
LOSS_TOLERANCE = 0.01  # relative
RATES = {"eval/flexible": "flexible", "eval/strict": "strict"}  # metric: field of a prediction
FROM_WEIGHTS = ("checkpoint_sha256", "near_ties")  # fields of a prediction that the answer does not depend on
WIDTH = 60  # characters of a value in a line


@dataclass(frozen=True, slots=True)
class Made:
    """What a step made, of one record."""

    step: str
    """The same in both records: `train curriculum-1-s42`."""
    fixed: Mapping[str, str]
    """Digests, by what they are of, that no rounding can change: data, order."""
    weights: str | None = None
    losses: Sequence[float] = ()
    """By optimizer step."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    """Predictions, in the eval set's order."""


class Difference(NamedTuple):
    step: str
    what: str
    recorded: Any
    found: Any
    allows: str  # the best verdict that it leaves possible

    def __str__(self) -> str:
        return f"{self.step}: {self.what}: recorded {_short(self.recorded)}, found {_short(self.found)}"


class Comparison(NamedTuple):
    verdict: str
    differences: list[Difference]

    @property
    def first(self) -> Difference | None:
        """The first of those that decide the verdict."""
        return next((each for each in self.differences if each.allows == self.verdict), None)


def compare(recorded: Sequence[Made], found: Sequence[Made]) -> Comparison:
    """Of all steps, in the order in which they were made."""
    again = {made.step: made for made in found}
    # Without answers there is nothing between equal bits and a tolerance.
    rounding = PREDICTIONS if any(made.rows for made in recorded) else TOLERANCE
    differences = []
    for made in recorded:
        if made.step in again:
            differences += list(_differences(made, again.pop(made.step), rounding))
        else:
            differences.append(Difference(made.step, "step", "made", "not made", DIFFERS))
    differences += [Difference(name, "step", "not made", "made", DIFFERS) for name in again]
    return Comparison(max((each.allows for each in differences), key=VERDICTS.index, default=BITS), differences)


def _differences(made: Made, again: Made, rounding: str) -> Iterator[Difference]:
    for name in sorted(made.fixed.keys() | again.fixed.keys()):
        if made.fixed.get(name) != again.fixed.get(name):
            yield Difference(made.step, f"{name} sha256", made.fixed.get(name), again.fixed.get(name), DIFFERS)
    yield from _losses(made, again, rounding)
    if made.weights != again.weights:
        yield Difference(made.step, "weights sha256", made.weights, again.weights, rounding)
    yield from _rows(made, again)
    for name in sorted(made.metrics.keys() | again.metrics.keys()):
        before, after = made.metrics.get(name), again.metrics.get(name)
        if before != after:
            yield Difference(made.step, name, before, after, _metric_allows(name, before, after, made.rows, rounding))


def _losses(made: Made, again: Made, rounding: str) -> Iterator[Difference]:
    if len(made.losses) != len(again.losses):
        yield Difference(made.step, "optimizer steps", len(made.losses), len(again.losses), DIFFERS)
        return
    unequal = [step for step, pair in enumerate(zip(made.losses, again.losses, strict=True), 1) if pair[0] != pair[1]]
    if unequal:
        step = unequal[0]
        allows = rounding if _near(made.losses[-1], again.losses[-1]) else DIFFERS
        what = f"loss at {len(unequal)} of {len(made.losses)} steps, first at step {step}"
        yield Difference(made.step, what, made.losses[step - 1], again.losses[step - 1], allows)


def _rows(made: Made, again: Made) -> Iterator[Difference]:
    """The first answer that differs stands for all of them."""
    if len(made.rows) != len(again.rows):
        yield Difference(made.step, "items answered", len(made.rows), len(again.rows), DIFFERS)
        return
    pairs = list(zip(made.rows, again.rows, strict=True))
    unequal = [(name, row, other) for row, other in pairs if (name := _unequal(row, other))]
    if unequal:
        name, row, other = unequal[0]
        what = f"{len(unequal)} of {len(pairs)} predictions, first of item {row['item']}, {name}"
        # Another question is no other answer.
        allows = DIFFERS if any(name in ("doc", "target", "arguments") for name, _, _ in unequal) else TOLERANCE
        yield Difference(made.step, what, row.get(name), other.get(name), allows)


def _unequal(row: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first field in which two predictions differ."""
    names = [*row, *(name for name in other if name not in row)]
    return next((name for name in names if name not in FROM_WEIGHTS and row.get(name) != other.get(name)), None)


def _metric_allows(
    name: str, before: float | None, after: float | None, rows: Sequence[Mapping[str, Any]], rounding: str
) -> str:
    if before is None or after is None:
        return DIFFERS
    if name in RATES:
        known = scored(rows, RATES[name])  # some, as there is a metric
        interval = wilson(sum(known), len(known))
        return TOLERANCE if all(interval.low <= value <= interval.high for value in (before, after)) else DIFFERS
    if name == "train/loss_last":
        return rounding if _near(before, after) else DIFFERS
    return rounding if name == "eval/near_ties" else TOLERANCE


def _near(before: float, after: float) -> bool:
    return abs(after - before) <= LOSS_TOLERANCE * abs(before)


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def environment_differences(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """`torch: recorded 2.13.0, found 2.12.1`, a line each; packages, python, platform, cores, device, threads."""
    before, after = _flat(recorded), _flat(found)
    return [
        f"{name}: recorded {before.get(name, 'none')}, found {after.get(name, 'none')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {name: value}
    return flat
