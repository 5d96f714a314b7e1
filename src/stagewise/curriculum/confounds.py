"""What separates an arm from `curriculum`, in words, read off the two plans. Pure.

    separations(flat, curriculum, "per_phase")
    ["1 phase instead of 3: optimizer and learning-rate schedule start once and not 3 times", …]

Order itself is not listed: it is what arms are for. An arm with nothing but the spacing of repeats, which
follows from order, is a control.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from stagewise.curriculum.order import Phase, multiset_digest

SPACING = "repeats of an example stand "  # how the sentence begins that a control may have too


def separations(arm: Sequence[Phase], curriculum: Sequence[Phase], scope: str) -> list[str]:
    """`scope` is the config's `training.schedule_scope`."""
    found = []
    ours, theirs = ([one for phase in phases for one in phase.instances] for phases in (arm, curriculum))
    sizes, others = _sizes(arm), _sizes(curriculum)
    if multiset_digest(ours) != multiset_digest(theirs):
        found.append(
            f"a budget of its own: {len(ours):,} examples in {sum(map(len, sizes)):,} steps, "
            f"against {len(theirs):,} in {sum(map(len, others)):,}"
        )
    if scope == "per_phase" and [len(each) for each in sizes] != [len(each) for each in others]:
        found.append(
            f"learning-rate schedule and optimizer start afresh for phases of {_listed(sizes)} steps, "
            f"against {_listed(others)}"
        )
    flat, other_flat = [size for each in sizes for size in each], [size for each in others for size in each]
    if flat != other_flat and sorted(flat) == sorted(other_flat):
        found.append("the phases' smaller last steps stand at other places")
    elif flat != other_flat:
        found.append("steps of other sizes")
    spacing, other_spacing = _spacing(arm), _spacing(curriculum)
    if spacing != other_spacing:
        found.append(f"{SPACING}{spacing} apart, against {other_spacing}")
    return found


def is_control(found: Sequence[str]) -> bool:
    return all(sentence.startswith(SPACING) for sentence in found)


def in_words(arm: str, found: Sequence[str]) -> str:
    if arm == "curriculum":
        return "curriculum: what the others are held against"
    if is_control(found):
        return f"{arm}: a control, only order differs{f' ({found[0]})' if found else ''}"
    return f"{arm}: a baseline; beside order: {'; '.join(found)}"


def _sizes(phases: Sequence[Phase]) -> list[list[int]]:
    return [[len(step) for step in phase.steps] for phase in phases]


def _listed(sizes: Sequence[Sequence[int]]) -> str:
    return " + ".join(str(len(each)) for each in sizes)


def _spacing(phases: Sequence[Phase]) -> str:
    """The optimizer steps from one use of an example to its next."""
    uses: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, step in enumerate(step for phase in phases for step in phase.steps):
        for instance in step:
            uses[instance.example].append(number)
    gaps = [later - earlier for steps in uses.values() for earlier, later in itertools.pairwise(steps)]
    return f"{min(gaps)} to {max(gaps)} steps (median {median(gaps):g})" if gaps else "no steps (nothing repeats)"
