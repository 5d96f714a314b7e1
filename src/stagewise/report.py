"""One comparison across the checkpoints of a study, from their records. Pure.

checkpoints = [Checkpoint("base-0-s42", "base", 0, 42, run_id="…", rows=[…predictions…], train={…}), …]
comparison(checkpoints)    numbers for comparison.json
markdown(…)                the same for people
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagewise import predictions
from stagewise.statistics import wilson


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

    @property
    def right(self) -> int:
        return sum(int(row["flexible"]) for row in self.rows)

    @property
    def is_final(self) -> bool:
        return self.phase == self.phases and self.phase > 0


FILES = ("report.md", "comparison.json", "accuracy.png", "loss.png")
GROUPS = ("section", "category", "difficulty")


def comparison(study: str, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    return {
        "schema": "stagewise.comparison/1",
        "study": study,
        "checkpoints": [_compare(checkpoint) for checkpoint in checkpoints],
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
        "trained_on": dict(checkpoint.counted),
        **{f"by_{group}": predictions.by(checkpoint.rows, group) for group in GROUPS},
    }


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
                f"{metrics['eval/stopped']:.0%}",
                f"{metrics['eval/output_tokens']:.1f}",
                f"{checkpoint.counted['examples']:,}",
                f"{checkpoint.counted['optimizer_steps']:,}",
            ]
        )
    return rows


def verdict(checkpoints: Sequence[Checkpoint]) -> str:
    """One sentence. Which arm is ahead is said of this eval set alone: claims about order need seeds and a control."""
    best = best_final(checkpoints)
    finals = [f"{each.name} {each.right}/{len(each.rows)}" for each in checkpoints if each.is_final]
    return (
        f"Best final checkpoint: {best.name} answers {best.right} of {len(best.rows)} items rightly "
        f"({best.right / len(best.rows):.1%}). Final checkpoints: {', '.join(finals)}. "
        "This compares checkpoints on one eval set; it is no claim about the effect of order."
    )


def markdown(study: str, checkpoints: Sequence[Checkpoint], links: Mapping[str, str]) -> str:
    """`links` maps run ids to Markdown links."""
    parts = [f"# {study}", verdict(checkpoints), "## Checkpoints", _markdown_table(table(checkpoints))]
    parts.append("`flexible` counts right answers wherever they stand in the output; `strict` wants them where the")
    parts[-1] += " template puts them, and the model to have stopped by itself. Intervals are Wilson's."
    for group in GROUPS:
        names = sorted({row[group] or "none" for row in checkpoints[0].rows})
        if names != ["none"]:
            parts += [f"## Right by {group}", _markdown_table(_by_group(checkpoints, group, names))]
    parts += ["## Figures", "![accuracy by phase](accuracy.png)", "![training loss](loss.png)", "## Runs"]
    parts.append(
        "\n".join(f"- {each.name}: train {links[each.train_run]}, eval {links[each.eval_run]}" for each in checkpoints)
    )
    return "\n\n".join(parts) + "\n"


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


# --- figures ------------------------------------------------------------------------------------


def figures(checkpoints: Sequence[Checkpoint], folder: Path) -> None:
    """accuracy.png and loss.png."""
    from matplotlib.figure import Figure  # a second of import that only this needs

    chains = _chains(checkpoints)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for (arm, seed), chain in chains.items():
        shares = [100 * each.right / len(each.rows) for each in chain]
        spans = [wilson(each.right, len(each.rows)) for each in chain]
        errors = [
            [share - 100 * span.low for share, span in zip(shares, spans, strict=True)],
            [100 * span.high - share for share, span in zip(shares, spans, strict=True)],
        ]
        # Along training done, so that an arm of one phase and an arm of three end at the same place.
        steps = [each.counted["optimizer_steps"] for each in chain]
        axes.errorbar(steps, shares, errors, marker="o", capsize=3, label=f"{arm} s{seed}")
    axes.set(
        xlabel="optimizer steps",
        ylabel="right, % (flexible, 95 % Wilson)",
        ylim=(0, 100),
        title="Accuracy by checkpoint",
    )
    axes.legend()
    figure.savefig(folder / "accuracy.png", dpi=120, metadata={"Software": None})
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for (arm, seed), chain in chains.items():
        before, points = 0, list[tuple[int, float]]()
        for each in chain:
            points += [(before + step, loss) for step, loss in each.curve]
            before = each.counted["optimizer_steps"]
        axes.plot(*zip(*points, strict=True), label=f"{arm} s{seed}", linewidth=1)
    axes.set(xlabel="optimizer steps", ylabel="training loss", title="Training loss")
    axes.legend()
    figure.savefig(folder / "loss.png", dpi=120, metadata={"Software": None})


def _chains(checkpoints: Sequence[Checkpoint]) -> dict[tuple[str, int | None], list[Checkpoint]]:
    """The checkpoints of each arm and seed by phase, each beginning with its base."""
    bases = {each.seed: each for each in checkpoints if each.phase == 0}
    chains: dict[tuple[str, int | None], list[Checkpoint]] = {}
    for each in checkpoints:
        if each.phase:
            start = [bases[each.seed if each.seed in bases else None]]
            chains.setdefault((each.arm, each.seed), start).append(each)
    return chains
