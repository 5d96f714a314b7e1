"""What separates an arm from the one that it is held against, in words, read off the two plans. Pure.

    separations(flat, curriculum, "per_phase")
    ["1 phase instead of 3: optimizer and learning-rate schedule start once and not 3 times", …]

Order itself is not listed: it is what arms are for. An arm with nothing but the spacing of repeats, which
follows from order, is a control.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from stagewise.config import BASELINE
from stagewise.curriculum.order import Phase, examples

Shares = Mapping[str, Mapping[str, Sequence[float]]]
SPACING = "repeats of an example stand "  # how the sentence begins that a control may have too


def separations(arm: Sequence[Phase], against: Sequence[Phase], scope: str) -> list[str]:
    """`scope` is the config's `training.schedule_scope`."""
    found = []
    sizes, others = _sizes(arm), _sizes(against)
    if not np.array_equal(_multiset(arm), _multiset(against)):
        found.append(
            f"a budget of its own: {sum(map(sum, sizes)):,} examples in {sum(map(len, sizes)):,} steps, "
            f"against {sum(map(sum, others)):,} in {sum(map(len, others)):,}"
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
    spacing, other_spacing = _spacing(arm), _spacing(against)
    if spacing != other_spacing:
        found.append(f"{SPACING}{spacing} apart, against {other_spacing}")
    return found


def is_control(found: Sequence[str]) -> bool:
    return all(sentence.startswith(SPACING) for sentence in found)


def in_words(arm: str, found: Sequence[str], against: str = BASELINE, shares: Shares | None = None) -> str:
    """`against` is the arm that the separations are from; `shares` are those of a mixture."""
    said = _held_against(arm, found, against)
    if not shares:
        return said
    tenths = (
        f"{stage} " + ", ".join(f"{100 * one:.0f}/{100 * other:.0f}" for one, other in zip(*each, strict=True))
        for stage, each in ((stage, (each["asked"], each["given"])) for stage, each in shares.items())
    )
    return f"{said}; shares asked for and given, in % of each tenth of training: {'; '.join(tenths)}"


def _held_against(arm: str, found: Sequence[str], against: str) -> str:
    if arm == against:
        return f"{arm}: what the others are held against"
    of = "" if against == BASELINE else f" of {against}"
    if is_control(found):
        return f"{arm}: a control{of}, order alone{f' ({found[0]})' if found else ''}"
    return f"{arm}: a baseline{of}; beside order: {'; '.join(found)}"


def _sizes(phases: Sequence[Phase]) -> list[list[int]]:
    return [phase.sizes.tolist() for phase in phases]


def _listed(sizes: Sequence[Sequence[int]]) -> str:
    return " + ".join(str(len(each)) for each in sizes)


def _multiset(phases: Sequence[Phase]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Each example as often as it is used, sorted."""
    return np.sort(np.concatenate([examples(phase.rows) for phase in phases]))


def _spacing(phases: Sequence[Phase]) -> str:
    """The optimizer steps from one use of an example to its next."""
    keys = np.concatenate([examples(phase.rows) for phase in phases])
    sizes = np.concatenate([phase.sizes for phase in phases])
    order = np.argsort(keys, kind="stable")
    gaps = np.diff(np.repeat(np.arange(len(sizes)), sizes)[order])[np.diff(keys[order]) == 0]
    if not len(gaps):
        return "no steps (nothing repeats)"
    return f"{gaps.min()} to {gaps.max()} steps (median {float(np.median(gaps)):g})"
