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
from dataclasses import asdict, dataclass
from typing import Any

from stagewise.analysis.paired import Interval
from stagewise.analysis.scores import paired, scored
from stagewise.analysis.statistics import Result, contrast, holm, mean_interval, wilson
from stagewise.config import Primary
from stagewise.curriculum.confounds import in_words, is_control
from stagewise.errors import DataError
from stagewise.evaluation import predictions
from stagewise.evaluation.structure.kinds import BOUNDED, RATES, SHARES
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
    separations: Sequence[str]  # what separates its arm from `curriculum`

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
    arms = {each.arm: each.separations for each in reversed(checkpoints) if each.is_final}
    compared = {
        "schema": SCHEMA,
        "study": study,
        "verdict": _verdict(primary, contrasts),
        "best": _best_in_words(checkpoints),
        "primary": primary.model_dump(),
        "contrasts": contrasts,
        "not_compared": _not_compared(primary, checkpoints, contrasts),
        # Of several seeds the first, whose spacing of repeats it tells.
        "arms": {arm: in_words(arm, arms[arm]) for arm in sorted(arms)},
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
        interval = interval.within(0 if name in (*SCORES, *BOUNDED) else -math.inf, 1 if name in SHARES else math.inf)
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
    """The primary arm's final checkpoints against those of every comparable arm, by `a - b`; all but the primary
    contrast are secondary, and Holm's p is over them."""
    finals = _finals(checkpoints)
    arms = _comparable(primary, finals)
    scores = _scores(primary, finals, arms)
    arms = arms if any(map(len, scores[primary.arm].values())) else []
    left_out = len(checkpoints[0].rows) - max(map(len, scores[primary.arm].values()), default=0)
    results = {arm: contrast(scores[primary.arm], scores[arm]) for arm in arms}
    baselines = {arm: [each for each in (primary.arm, arm) if not _is_control(finals[each])] for arm in arms}
    adjusted = holm({arm: result.test.p for arm, result in results.items() if arm != primary.against})
    return {
        f"{primary.arm} - {arm}": {
            "arm": primary.arm,
            "against": arm,
            "primary": arm == primary.against,
            "order_alone": not baselines[arm],
            "left_out": left_out,
            "sentence": words.caveat(baselines[arm]) + words.verdict(result, primary.arm, arm, adjusted.get(arm)),
            "sensitivity": words.sensitivity(result, adjusted.get(arm)),
            "p_holm": adjusted.get(arm),
            "eval_runs": {
                str(each.seed): [finals[which][each.seed].eval_run for which in (primary.arm, arm)]
                for each in result.pairs
            },
            **_plain(result),
        }
        for arm, result in results.items()
    }


def _scores(
    primary: Primary, finals: Mapping[str, Mapping[int, Checkpoint]], arms: Sequence[str]
) -> dict[str, dict[int, list[int]]]:
    """Of the primary arm and those compared with it, by seed; an item that is unscored in one is left out of all."""
    compared = [(arm, seed, each) for arm in (primary.arm, *arms) for seed, each in finals.get(arm, {}).items()]
    found = paired([each.rows for _, _, each in compared], primary.measure)
    scores: dict[str, dict[int, list[int]]] = {primary.arm: {}}
    for (arm, seed, _), each in zip(compared, found, strict=True):
        scores.setdefault(arm, {})[seed] = each
    return scores


def _finals(checkpoints: Sequence[Checkpoint]) -> dict[str, dict[int, Checkpoint]]:
    finals: dict[str, dict[int, Checkpoint]] = {}
    for each in checkpoints:
        if each.is_final and each.seed is not None:
            finals.setdefault(each.arm, {})[each.seed] = each
    return finals


def _is_control(chains: Mapping[int, Checkpoint]) -> bool:
    """Whether, in every seed, nothing but order separates the arm from `curriculum`, and so from any other control."""
    return all(is_control(each.separations) for each in chains.values())


def _comparable(primary: Primary, finals: Mapping[str, Mapping[int, Checkpoint]]) -> list[str]:
    """The arms that saw the primary arm's examples, each as often: of others nothing follows about order."""
    seen = {arm: {each.multiset for each in chains.values()} for arm, chains in finals.items()}
    return [arm for arm in finals if arm != primary.arm and seen[arm] == seen.get(primary.arm)]


def _not_compared(
    primary: Primary, checkpoints: Sequence[Checkpoint], contrasts: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    finals = _finals(checkpoints)
    compared = {primary.arm, *(each["against"] for each in contrasts.values())}
    why = "saw other examples, or the same ones in other numbers, so it can show nothing about order"
    return [f"{arm} {why}" for arm in finals if primary.arm in finals and arm not in compared]


def _plain(result: Result) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(result) | {"pairs": [asdict(each) for each in result.pairs]}


def _verdict(primary: Primary, contrasts: Mapping[str, Mapping[str, Any]]) -> str:
    """What the study shows about order, in one sentence; of a study without its control, that it shows nothing."""
    for each in contrasts.values():
        if each["primary"]:
            return str(each["sentence"])
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
