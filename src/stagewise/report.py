"""One comparison across the checkpoints of a study, from their records. Pure.

checkpoints = [Checkpoint("base-0-s42", "base", 0, 42, run_id="…", rows=[…predictions…], train={…}), …]
comparison(checkpoints)    numbers for comparison.json
markdown(…)                the same for people
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stagewise import predictions, statistics
from stagewise.config import Primary
from stagewise.separations import in_words
from stagewise.statistics import Result, contrast, holm, wilson
from stagewise.structure import NAMES


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
        return sum(int(row["flexible"]) for row in self.rows)

    @property
    def is_final(self) -> bool:
        return self.phase == self.phases and self.phase > 0


GROUPS = ("section", "category", "difficulty")


def comparison(study: str, primary: Primary, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    contrasts = all_contrasts(primary, checkpoints)
    return {
        "schema": "stagewise.comparison/1",
        "study": study,
        "verdict": verdict(primary, checkpoints),
        "checkpoints": [_compare(checkpoint) for checkpoint in checkpoints],
        "primary": primary.model_dump(),
        "contrasts": {name: asdict(result) for name, result in contrasts.items()},
    }


def _compare(checkpoint: Checkpoint) -> dict[str, Any]:
    interval = wilson(checkpoint.right, len(checkpoint.rows))
    return {
        "name": checkpoint.name,
        "arm": checkpoint.arm,
        "phase": checkpoint.phase,
        "seed": checkpoint.seed,
        "final": checkpoint.is_final,
        "model": checkpoint.model_uri,
        "train_run": checkpoint.train_run,
        "eval_run": checkpoint.eval_run,
        "items": len(checkpoint.rows),
        "right": checkpoint.right,
        "flexible_95": [round(interval.low, 6), round(interval.high, 6)],
        "metrics": predictions.metrics(checkpoint.rows),
        "measured_items": {name: len(values) for name, values in predictions.measured(checkpoint.rows).items()},
        "trained_on": dict(checkpoint.counted),
        **{f"by_{group}": predictions.by(checkpoint.rows, group) for group in GROUPS},
    }


# --- what can be concluded ----------------------------------------------------------------------


def all_contrasts(primary: Primary, checkpoints: Sequence[Checkpoint]) -> dict[str, Result]:
    """The primary arm's final checkpoints against those of every other arm; `a - b` names them."""
    finals: dict[str, dict[int, Any]] = {}
    for each in checkpoints:
        if each.is_final and each.seed is not None:
            finals.setdefault(each.arm, {})[each.seed] = [int(row[primary.measure]) for row in each.rows]
    if primary.arm not in finals:
        return {}
    same = {(each.arm, each.multiset) for each in checkpoints if each.is_final}
    examples = {multiset for arm, multiset in same if arm == primary.arm}
    # An arm that saw other examples, or others as often, can show nothing about order.
    others = [arm for arm in finals if arm != primary.arm and {m for name, m in same if name == arm} == examples]
    return {_contrast_name(primary.arm, arm): contrast(finals[primary.arm], finals[arm]) for arm in others}


def _contrast_name(arm: str, against: str) -> str:
    return f"{arm} - {against}"


def verdict(primary: Primary, checkpoints: Sequence[Checkpoint]) -> str:
    """What the study shows about order, in one sentence; of a study without its control, that it shows nothing."""
    result = all_contrasts(primary, checkpoints).get(_contrast_name(primary.arm, primary.against))
    if result is None:
        return (
            f"No claim about order: the primary contrast, {primary.arm} against {primary.against}, needs both arms, "
            "and this study does not train them."
        )
    return statistics.verdict(result, primary.arm, primary.against)


def secondary(primary: Primary, checkpoints: Sequence[Checkpoint]) -> list[str]:
    """A sentence for every other contrast, its p adjusted for their number."""
    contrasts = all_contrasts(primary, checkpoints)
    contrasts.pop(_contrast_name(primary.arm, primary.against), None)
    adjusted = holm({name: result.test.p for name, result in contrasts.items()})
    sentences = []
    for name, result in contrasts.items():
        arm, _, against = name.partition(" - ")
        sentences.append(statistics.verdict(result, arm, against, adjusted[name]))
    return sentences


def separated(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """A sentence for each arm; of several seeds the first, whose spacing of repeats it tells."""
    arms = {each.arm: each for each in reversed(checkpoints) if each.is_final}
    return [in_words(arm, arms[arm].separations) for arm in sorted(arms)]


def best_final(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    return max((each for each in checkpoints if each.is_final), key=lambda each: each.right)


def table(checkpoints: Sequence[Checkpoint]) -> list[list[str]]:
    """Header and rows of the comparison table: text, for the terminal and for Markdown."""
    rows = [["checkpoint", "right", "flexible", "95 %", "strict", "stopped", "tokens out", "examples", "steps"]]
    for checkpoint in checkpoints:
        metrics, interval = predictions.metrics(checkpoint.rows), wilson(checkpoint.right, len(checkpoint.rows))
        rows.append(
            [
                checkpoint.name,
                f"{checkpoint.right}/{len(checkpoint.rows)}",
                f"{metrics['eval/flexible']:.1%}",
                f"{interval.low:.0%}–{interval.high:.0%}",
                f"{metrics['eval/strict']:.1%}",
                f"{metrics['eval/eos']:.0%}",
                f"{metrics['eval/tokens']:.1f}",
                f"{checkpoint.counted['examples']:,}",
                f"{checkpoint.counted['optimizer_steps']:,}",
            ]
        )
    return rows


def best_in_words(checkpoints: Sequence[Checkpoint]) -> str:
    best = best_final(checkpoints)
    tied = [each.name for each in checkpoints if each.is_final and each.right == best.right]
    who = (
        f"Best final checkpoint: {best.name}" if len(tied) == 1 else f"Best final checkpoints, tied: {', '.join(tied)}"
    )
    return f"{who}, {best.right} of {len(best.rows)} right."


def markdown(study: str, primary: Primary, checkpoints: Sequence[Checkpoint], links: Mapping[str, str]) -> str:
    """`links` maps run ids to Markdown links."""
    parts = [
        f"# {study}",
        verdict(primary, checkpoints),
        best_in_words(checkpoints),
        "## Checkpoints",
        _markdown_table(table(checkpoints)),
        "`flexible` counts right answers wherever they stand in the output; `strict` wants them where the template "
        "puts them, and the model to have stopped by itself. Intervals are Wilson's, over items.",
        "## How the outputs reason",
        _markdown_table(_structure(checkpoints)),
        "Means over the items that have a value; formulas and sources stand in docs/scoring.md. `lex_…` are lexical "
        "proxies: words per hundred that point to a behaviour.",
        "## Other contrasts",
        "\n".join(f"- {sentence}" for sentence in secondary(primary, checkpoints)) or "None.",
        "Checkpoints of earlier phases have seen different data and are not compared.",
        "## What separates each arm from `curriculum`",
        "\n".join(f"- {sentence}" for sentence in separated(checkpoints)),
    ]
    for group in GROUPS:
        names = sorted({row[group] or "none" for row in checkpoints[0].rows})
        if names != ["none"]:
            parts += [f"## Right by {group}", _markdown_table(_by_group(checkpoints, group, names))]
    parts += ["## Figures", "![accuracy by checkpoint](accuracy.png)", "![training loss](loss.png)", "## Runs"]
    parts.append(
        "\n".join(f"- {each.name}: train {links[each.train_run]}, eval {links[each.eval_run]}" for each in checkpoints)
    )
    return "\n\n".join(parts) + "\n"


def _structure(checkpoints: Sequence[Checkpoint]) -> list[list[str]]:
    """A row a measure, a column a checkpoint."""
    means = [
        {name: sum(values) / len(values) for name, values in predictions.measured(checkpoint.rows).items()}
        for checkpoint in checkpoints
    ]
    names = sorted(set().union(*means), key=NAMES.index)
    rows = [[name, *(f"{each[name]:.3g}" if name in each else "–" for each in means)] for name in names]
    return [["measure", *(checkpoint.name for checkpoint in checkpoints)], *rows]


def _by_group(checkpoints: Sequence[Checkpoint], group: str, names: Sequence[str]) -> list[list[str]]:
    rows = [["checkpoint", *names]]
    for checkpoint in checkpoints:
        counts = predictions.by(checkpoint.rows, group)
        rows.append([checkpoint.name, *(f"{counts[name][0]}/{counts[name][1]}" for name in names)])
    return rows


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The table for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
