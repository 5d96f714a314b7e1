"""One comparison across the checkpoints of a study, from their records. Pure.

checkpoints = [Checkpoint("base-0-s42", "base", 0, 0, 42, eval_run="9c1e…", rows=[…predictions…], …), …]
compared = comparison("quickstart", Primary(), checkpoints)
compared["verdict"]    "No effect visible: curriculum minus shuffled is +1.3 points (95 % interval -8.7 to …"
compared["checkpoints"][0]["measures"]["flexible"]    {"mean": 0.356, "low": 0.299, "high": 0.417, "items": 250}

`compared` is comparison.json: every number that the page, the Markdown, the figures and the terminal show is
taken from it, and each of its checkpoints names the runs that its numbers come from.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stagewise.analysis.paired import Interval
from stagewise.analysis.scores import paired, scored
from stagewise.analysis.statistics import Result, contrast, holm, mean_interval, wilson
from stagewise.config import BASELINE, Primary
from stagewise.curriculum.confounds import Shares, in_words, is_control
from stagewise.errors import DataError
from stagewise.evaluation import predictions
from stagewise.evaluation.structure.kinds import RATES, SHARES
from stagewise.report import words

SCHEMA = "stagewise.comparison/3"
SCORES = predictions.SCORES
GROUPS = ("section", "category", "difficulty")
DIGITS = 9  # significant: two machines may differ in the last bits of a t distribution


@dataclass(frozen=True, slots=True)
class Checkpoint:
    name: str
    arm: str
    phase: int
    phases: int  # of its arm
    seed: int | None
    eval_run: str
    train_run: str
    model_uri: str
    rows: Sequence[Mapping[str, Any]]  # its predictions
    counted: Mapping[str, int]  # training so far: examples, loss tokens, optimizer steps …
    curve: Sequence[tuple[int, float]]  # (step, loss) of its own phase
    multiset: str  # digest of the examples it was trained on so far, and how often
    separations: Sequence[str]  # what separates its arm from the one that it is held against
    against: str = BASELINE  # that arm
    shares: Shares = field(default_factory=dict)  # of a mixture, asked for and given

    @property
    def right(self) -> int:
        return sum(scored(self.rows, "flexible"))

    @property
    def scored(self) -> int:
        """Items of which `flexible` is known."""
        return len(scored(self.rows, "flexible"))

    @property
    def is_final(self) -> bool:
        return self.phase == self.phases and self.phase > 0


def comparison(study: str, primary: Primary, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """Raises `DataError` where the checkpoints did not answer the same items in the same order."""
    items = [row["item"] for row in checkpoints[0].rows]
    for each in checkpoints:
        if [row["item"] for row in each.rows] != items:
            raise DataError(f"{each.name} answered other items than {checkpoints[0].name}, expected one eval set")
    contrasts = _contrasts(primary, checkpoints)
    arms = {each.arm: each for each in reversed(checkpoints) if each.is_final}
    compared = {
        "schema": SCHEMA,
        "study": study,
        "verdict": _verdict(primary, contrasts),
        "best": _best_in_words(checkpoints),
        "primary": primary.model_dump(),
        "contrasts": contrasts,
        "not_compared": _not_compared(primary, checkpoints, contrasts),
        # Of several seeds the first, whose spacing of repeats it tells.
        "arms": {arm: in_words(arm, each.separations, each.against, each.shares) for arm, each in sorted(arms.items())},
        "checkpoints": [_compare(checkpoint) for checkpoint in checkpoints],
        "items": items,
    }
    rounded: dict[str, Any] = _rounded(compared)
    return rounded


# --- one checkpoint -----------------------------------------------------------------------------


def _compare(checkpoint: Checkpoint) -> dict[str, Any]:
    rows = checkpoint.rows
    scores = {name: found for name in SCORES if (found := scored(rows, name))}
    structure = predictions.measured(rows)
    return {
        "name": checkpoint.name,
        "arm": checkpoint.arm,
        "phase": checkpoint.phase,
        "seed": checkpoint.seed,
        "final": checkpoint.is_final,
        "model": checkpoint.model_uri,
        "train_run": checkpoint.train_run,
        "eval_run": checkpoint.eval_run,
        "weights": rows[0]["weights"],
        "items": len(rows),
        "scored": checkpoint.scored,
        "right": checkpoint.right,
        "right_by_item": [None if row["flexible"] is None else int(row["flexible"]) for row in rows],
        "measures": {name: _measure(name, values) for name, values in (scores | structure).items()},
        "metrics": predictions.metrics(rows),
        "trained_on": dict(checkpoint.counted),
        "curve": [list(point) for point in checkpoint.curve],
        **{f"by_{group}": _by(rows, group) for group in GROUPS},
    }


def _measure(name: str, values: Sequence[float]) -> dict[str, Any]:
    """A mean over the items that have a value, with Wilson's interval of a rate, of any other what is possible of
    Student's."""
    is_rate = name in SCORES or name in RATES
    interval = wilson(round(sum(values)), len(values)) if is_rate else mean_interval(values)
    if interval is not None:
        interval = interval.within(0, 1 if name in SHARES else math.inf)
    return {"mean": sum(values) / len(values), "items": len(values), **_ends(interval)}


def _by(rows: Sequence[Mapping[str, Any]], group: str) -> dict[str, dict[str, Any]]:
    counts = predictions.by(rows, group)
    return {
        name: {"right": right, "items": items, **_ends(wilson(right, items) if items else None)}
        for name, (right, items) in counts.items()
    }


def _ends(interval: Interval | None) -> dict[str, float | None]:
    return {"low": None, "high": None} if interval is None else {"low": interval.low, "high": interval.high}


def _best_in_words(checkpoints: Sequence[Checkpoint]) -> str:
    finals = [each for each in checkpoints if each.is_final]
    shares = {each.name: each.right / each.scored if each.scored else 0.0 for each in finals}
    tied = [each for each in finals if shares[each.name] == max(shares.values())]
    names = ", ".join(each.name for each in tied)
    who = f"Best final checkpoint: {names}" if len(tied) == 1 else f"Best final checkpoints, tied: {names}"
    return f"{who}, {tied[0].right} of {tied[0].scored} right."


# --- what can be concluded ----------------------------------------------------------------------


def _contrasts(primary: Primary, checkpoints: Sequence[Checkpoint]) -> dict[str, dict[str, Any]]:
    """The final checkpoints of two arms by `a - b`: the primary contrasts, and the primary arm against every other
    comparable one. Holm's p is over the secondary ones, and over the primary ones where they are several."""
    finals = _finals(checkpoints)
    pairs = _pairs(primary, finals)
    scores = _scores(primary, finals, list(dict.fromkeys(arm for pair in pairs for arm in pair)))
    items = max((len(each) for chains in scores.values() for each in chains.values()), default=0)
    named = {f"{one} - {other}": (one, other) for one, other in pairs if items}
    results = {name: contrast(scores[one], scores[other]) for name, (one, other) in named.items()}
    first = {name: result.test.p for name, result in results.items() if named[name] in primary.pairs}
    rest = {name: result.test.p for name, result in results.items() if name not in first}
    adjusted = holm(rest) | (holm(first) if len(first) > 1 else {})
    both = {"left_out": len(checkpoints[0].rows) - items}
    return {
        name: _contrast(finals, *named[name], result, adjusted.get(name)) | {"primary": name in first} | both
        for name, result in results.items()
    }


def _contrast(
    finals: Mapping[str, Mapping[int, Checkpoint]], one: str, other: str, result: Result, adjusted: float | None
) -> dict[str, Any]:
    baselines = _baselines(finals, one, other)
    return {
        "arm": one,
        "against": other,
        "order_alone": not baselines,
        "sentence": words.caveat(baselines) + words.verdict(result, one, other, adjusted),
        "sensitivity": words.sensitivity(result, adjusted),
        "p_holm": adjusted,
        "eval_runs": {
            str(each.seed): [finals[which][each.seed].eval_run for which in (one, other)] for each in result.pairs
        },
        **_plain(result),
    }


def _pairs(primary: Primary, finals: Mapping[str, Mapping[int, Checkpoint]]) -> list[tuple[str, str]]:
    """The contrasts of arms that saw the same examples, each as often: of others nothing follows about order."""
    seen = {arm: {each.multiset for each in chains.values()} for arm, chains in finals.items()}
    pairs = [*primary.pairs, *((primary.arm, arm) for arm in finals)]
    return [
        (one, other)
        for one, other in dict.fromkeys(pairs)
        if one != other and one in seen and seen[one] == seen.get(other)
    ]


def _scores(
    primary: Primary, finals: Mapping[str, Mapping[int, Checkpoint]], arms: Sequence[str]
) -> dict[str, dict[int, list[int]]]:
    """Of the arms that are compared, by seed; an item that is unscored in one is left out of all."""
    compared = [(arm, seed, each) for arm in arms for seed, each in finals[arm].items()]
    found = paired([each.rows for _, _, each in compared], primary.measure)
    scores: dict[str, dict[int, list[int]]] = {}
    for (arm, seed, _), each in zip(compared, found, strict=True):
        scores.setdefault(arm, {})[seed] = each
    return scores


def _finals(checkpoints: Sequence[Checkpoint]) -> dict[str, dict[int, Checkpoint]]:
    finals: dict[str, dict[int, Checkpoint]] = {}
    for each in checkpoints:
        if each.is_final and each.seed is not None:
            finals.setdefault(each.arm, {})[each.seed] = each
    return finals


def _baselines(finals: Mapping[str, Mapping[int, Checkpoint]], one: str, other: str) -> list[str]:
    """Which of two arms more than order separates from what both are held against: from each other, where one is held
    against the other, and so from any other control of it."""
    held = {each.against for arm in (one, other) for each in finals[arm].values()}
    root = next((arm for arm in (one, other) if arm in held), BASELINE)

    def alone(arm: str) -> bool:
        return arm == root or all(
            each.against == root and is_control(each.separations) for each in finals[arm].values()
        )

    return [arm for arm in (one, other) if not alone(arm)]


def _not_compared(
    primary: Primary, checkpoints: Sequence[Checkpoint], contrasts: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    finals = _finals(checkpoints)
    compared = {primary.arm, *(arm for each in contrasts.values() for arm in (each["arm"], each["against"]))}
    why = "saw other examples, or the same ones in other numbers, so it can show nothing about order"
    return [f"{arm} {why}" for arm in finals if primary.arm in finals and arm not in compared]


def _plain(result: Result) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(result) | {"pairs": [asdict(each) for each in result.pairs]}


def _verdict(primary: Primary, contrasts: Mapping[str, Mapping[str, Any]]) -> str:
    """What the study shows about order, a sentence for each primary contrast; of one without its control, that it
    shows nothing."""
    if said := [str(each["sentence"]) for each in contrasts.values() if each["primary"]]:
        return " ".join(said)
    return (
        f"No claim about order: the primary contrast, {primary.arm} against {primary.against}, needs both arms, "
        "and this study does not train them."
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
