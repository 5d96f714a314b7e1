"""What a phase's run says: its metrics, its inputs, its model's params, and in words what came out."""

from collections.abc import Mapping, Sequence
from typing import Any

from stagewise import self_check
from stagewise.curriculum.targets import Target
from stagewise.record.facts import Dtypes, TrainFacts
from stagewise.record.frozen import Stage
from stagewise.record.manifest import Sealed
from stagewise.steps.inputs import dataset
from stagewise.tracking.datasets import DatasetRef
from stagewise.training import loop


def step_metrics(report: loop.StepReport) -> dict[str, float]:
    """The metrics of one step, as they are logged while it trains."""
    return {
        "train/loss": report.loss,
        "train/learning_rate": report.learning_rate,
        "train/grad_norm": report.grad_norm,
        "train/tokens_per_second": round(report.tokens / report.seconds, 1),
    }


def dtypes(parent: Sealed | None, weights: str) -> Dtypes:
    return Dtypes(model=parent.facts(TrainFacts).dtypes.model if parent else weights, weights=weights)


def totals(curve: Sequence[loop.StepReport]) -> dict[str, int]:
    """What went through the model in this phase."""
    counted = {
        name: sum(getattr(step, name) for step in curve) for name in ("examples", "loss_tokens", "tokens", "padding")
    }
    return counted | {"optimizer_steps": len(curve)}


def metrics(curve: Sequence[loop.StepReport]) -> dict[str, float]:
    """The metrics of the phase as a whole."""
    last = {"train/loss_last": curve[-1].loss} if curve else {}
    return {f"train/{name}": value for name, value in totals(curve).items()} | last


def datasets(stages: Mapping[str, Stage], used: Sequence[str]) -> list[DatasetRef]:
    """The stages that went through the model, as inputs of the run."""
    return [dataset(name, stages[name], "training", f"stages/{name}.jsonl") for name in used]


def model_params(wanted: Target, parent: Sealed | None, facts: TrainFacts) -> dict[str, Any]:
    return wanted.facts | {
        "parent_model": parent.model.name if parent else "none",
        "parent_model_id": parent.model.model_id if parent else "none",
        "order_sha256": facts.order_sha256,
        "multiset_sha256": facts.multiset_sha256,
    }


def in_words(parent: Sealed | None, facts: TrainFacts, curve: Sequence[loop.StepReport]) -> list[str]:
    if parent is None:
        return [
            f"{facts.parameters:,} parameters in {facts.dtypes.weights}",
            self_check.Ways.of(facts.self_check.json_value()).in_words,
        ]
    counted, resumed_at = facts.counted, facts.resumed_at_step
    return [
        f"{counted['examples']:,} examples in {counted['optimizer_steps']:,} steps",
        f"loss {curve[0].loss:.3f} → {curve[-1].loss:.3f}",
        f"{counted['tokens'] / sum(step.seconds for step in curve):,.0f} tokens/s",
        *([f"resumed at step {resumed_at}"] if resumed_at else []),
    ]


def describe(
    wanted: Target,
    parent: Sealed | None,
    facts: TrainFacts,
    curve: Sequence[loop.StepReport],
    vocabulary: int,
) -> str:
    """In Markdown what came out, for the run and the model."""
    said = in_words(parent, facts, curve)
    if parent is None:
        return f"**Base model** {wanted.checkpoint}: {said[0]}, {vocabulary:,} tokens; {said[1]}."
    return f"**{wanted.checkpoint}**, trained on from {parent.model.name}: {', '.join(said)}."
