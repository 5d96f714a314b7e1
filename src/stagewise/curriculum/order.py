"""Config → arms → phases → the exact sequence of examples of each optimizer step. Pure.

An *instance* is one use of one example: `(stage, position in the stage file, epoch)`. Every arm of a
seed trains on the same multiset of instances; an arm is an ordering of them. Orders come from sha256
alone, so they are the same on every platform and for every version of Python:

    build({"a": range(5), "b": range(3)}, {"a": 2, "b": 1}, "curriculum", order=None, seed=42, batch_size=4)
    Phase(index=1, stages=("a",), steps=(4, 4, 2 instances of a)), Phase(index=2, stages=("b",), steps=(3,))
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from stagewise.errors import ConfigError
from stagewise.hashing import digest_lines, sha256

T = TypeVar("T")


class Instance(NamedTuple):
    """One use of one example."""

    stage: str
    position: int  # 0-based line in the stage's file
    epoch: int  # 0-based; the n-th time that the example is trained on

    @property
    def example(self) -> tuple[str, int]:
        return self.stage, self.position


Step = tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    index: int  # 1-based; phase 0 is the base model
    stages: tuple[str, ...]  # the stages whose examples it may hold
    steps: tuple[Step, ...]

    @property
    def instances(self) -> list[Instance]:
        return [instance for step in self.steps for instance in step]

    @property
    def order_digest(self) -> str:
        return order_digest(self.instances)


def order_digest(instances: Sequence[Instance]) -> str:
    """sha256 over the sequence of example ids: equal for equal orders."""
    return digest_lines(f"{stage}:{position}" for stage, position, _ in instances)


def multiset_digest(instances: Sequence[Instance]) -> str:
    """sha256 over the sorted example ids with their counts: equal for every arm of a seed."""
    counts = Counter(instance.example for instance in instances)
    return digest_lines(f"{stage}:{position} {count}" for (stage, position), count in sorted(counts.items()))


def build(
    positions: Mapping[str, Sequence[int]],
    epochs: Mapping[str, int],
    arm: str,
    order: Sequence[str] | None,
    seed: int,
    batch_size: int,
) -> tuple[Phase, ...]:
    """The phases of one arm for one seed.

    `positions` maps each stage, in curriculum order, to the lines of its file that are trained on, `epochs`
    to how often; `order` is the list of stages of an arm that the config spells out. Raises `ConfigError`
    where a step of a dealt arm cannot be kept free of repeats.
    """
    stages = list(positions)
    blocks = {stage: _stage_instances(stage, positions[stage], epochs[stage], seed) for stage in stages}
    step_sizes = {stage: _cut(len(blocks[stage]), batch_size) for stage in stages}
    if arm in ("shuffled", "flat"):
        everything = [instance for stage in stages for instance in blocks[stage]]
        all_sizes = [size for stage in stages for size in step_sizes[stage]]
        # Named apart, or `flat` would be `shuffled` without its phases: the same order, once more.
        steps = _deal(everything, all_sizes, salt=f"{arm}/{seed}")
        counts = [len(all_sizes)] if arm == "flat" else [len(step_sizes[stage]) for stage in stages]
        return _phases(steps, counts, [tuple(stages)] * len(counts))
    sequence = list(order) if order is not None else (stages if arm == "curriculum" else stages[::-1])
    steps = [step for stage in sequence for step in _chunks(blocks[stage], step_sizes[stage])]
    counts = [len(step_sizes[stage]) for stage in sequence]
    return _phases(steps, counts, [(stage,) for stage in sequence])


def _stage_instances(stage: str, positions: Sequence[int], epochs: int, seed: int) -> list[Instance]:
    """Every example once an epoch, shuffled anew in each by (seed, stage, epoch)."""
    return [
        Instance(stage, position, epoch)
        for epoch in range(epochs)
        for position in _shuffled(positions, f"{seed}/{stage}/{epoch}")
    ]


def _shuffled(values: Sequence[T], salt: str) -> list[T]:
    keys = {index: sha256(f"{salt}/{index}".encode()) for index in range(len(values))}
    return [values[index] for index in sorted(keys, key=keys.__getitem__)]


def _cut(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def _chunks(instances: Sequence[Instance], sizes: Sequence[int]) -> list[Step]:
    steps, start = [], 0
    for size in sizes:
        steps.append(tuple(instances[start : start + size]))
        start += size
    return steps


def _deal(instances: Sequence[Instance], sizes: Sequence[int], salt: str) -> list[Step]:
    """The instances at random over steps of these sizes, no example twice in a step.

    A random deal leaves a few repeats in large studies; each is swapped with an instance, drawn afresh for it, whose
    step and whose own place it fits. One order of candidates for all would send them to the same steps, and repeats
    of an example would stand in neighbouring steps more often than in a uniform deal.
    """
    dealt = _shuffled(instances, salt)
    step_of = [step for step, size in enumerate(sizes) for _ in range(size)]
    held = [Counter[tuple[str, int]]() for _ in sizes]
    for place, instance in enumerate(dealt):
        held[step_of[place]][instance.example] += 1
    for place, instance in enumerate(dealt):
        step = step_of[place]
        if held[step][instance.example] > 1:
            for other in _drawn(len(dealt), f"{salt}/swap/{place}"):
                there, partner = step_of[other], dealt[other]
                if not held[there][instance.example] and not held[step][partner.example]:
                    break
            else:
                raise ConfigError(
                    f"arm {salt.split('/')[0]}: example {instance.stage}:{instance.position} cannot be dealt without "
                    f"standing twice in an optimizer step; use a smaller training.batch_size or fewer epochs"
                )
            dealt[place], dealt[other] = partner, instance
            held[step][instance.example] -= 1
            held[step][partner.example] += 1
            held[there][partner.example] -= 1
            held[there][instance.example] += 1
    return _chunks(dealt, sizes)


def _drawn(count: int, salt: str) -> Iterator[int]:
    """The numbers below `count` in a random order, one after the other (Fisher and Yates), as few as are asked for."""
    moved: dict[int, int] = {}
    for index in range(count):
        drawn = index + int(sha256(f"{salt}/{index}".encode())[:16], 16) % (count - index)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.get(index, index)


def _phases(steps: Sequence[Step], counts: Sequence[int], stages: Sequence[tuple[str, ...]]) -> tuple[Phase, ...]:
    phases, start = [], 0
    for index, (count, names) in enumerate(zip(counts, stages, strict=True), start=1):
        phases.append(Phase(index, names, tuple(steps[start : start + count])))
        start += count
    return tuple(phases)
