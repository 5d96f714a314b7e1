"""Checkpoints of a study that nobody ran, for tests of what a report makes of them."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from stagewise.report import Checkpoint

WORDS = ("12 + 30 = 42.", "so", "<script>alert(1)</script>", "the answer is", "carry 1,", "& then")
ORDER_ALONE: Mapping[str, Sequence[str]] = {
    "curriculum": [],
    "shuffled": [],
    "reversed": ["the phases' smaller last steps stand at other places"],
    "flat": ["learning-rate schedule and optimizer start afresh for phases of 3 steps, against 1 + 1 + 1"],
}


def row(number: int, right: bool, output: str, measures: Mapping[str, float]) -> dict[str, Any]:
    """A prediction as far as a report reads it."""
    return {
        "item": f"item-{number:04d}",
        "doc": {"prompt": f"What is {number}+0? <b>&"},
        "target": str(number),
        "resps": [[output]],
        "filtered_resps": ["7"],
        "extraction": {"rule": "last_line", "span": [0, 1]},
        "flexible": float(right),
        "strict": float(right and number % 5 > 0),
        "timed_out": False,
        "finish_reason": "stop" if right else "length",
        "near_ties": 0,
        "weights": "verified",
        "section": None,
        "category": "even" if number % 2 == 0 else "odd",
        "difficulty": "easy",
        "measures": dict(measures),
    }


def checkpoint(
    name: str, arm: str, phase: int, phases: int, seed: int, right: Sequence[bool], words: int
) -> Checkpoint:
    dice = random.Random(name)
    rows = []
    for number, each in enumerate(right):
        output = " ".join(dice.choices(WORDS, k=words)) + f"\n{number if each else 7}"
        measures = {"tokens": float(dice.randint(5, 40)), "eos": float(each), "cap_hit": float(not each)}
        rows.append(row(number, each, output, measures))
    return Checkpoint(
        name=name,
        arm=arm,
        phase=phase,
        phases=phases,
        seed=seed,
        eval_run=f"e{dice.getrandbits(124):031x}",
        train_run=f"a{dice.getrandbits(124):031x}",
        model_uri="models:/m-1",
        rows=rows,
        counted={"examples": 48 * phase, "optimizer_steps": 6 * phase},
        curve=[(step, 3 / step + dice.random() / 9) for step in range(1, 7)] if phase else [],
        multiset="the same",
        separations=ORDER_ALONE.get(arm, []),
    )


def study(shares: Mapping[str, Sequence[float]], items: int = 40, phases: int = 1, words: int = 8) -> list[Checkpoint]:
    """`shares`: for each arm and seed, the share of the items that the final checkpoint gets right."""
    made = []
    for seed in range(1, 1 + max(map(len, shares.values()))):
        made.append(checkpoint(f"base-0-s{seed}", "base", 0, 0, seed, [False] * items, words))
        for arm, chances in shares.items():
            for phase in range(1, phases + 1):
                right = [number < chances[seed - 1] * items * phase / phases for number in range(items)]
                made.append(checkpoint(f"{arm}-{phase}-s{seed}", arm, phase, phases, seed, right, words))
    return made
