"""The exact sequence of examples of each optimizer step, as arrays; and the digests that name it. Pure.

An *instance* is one use of one example. A phase holds its instances in the order of training, a row each:

    stage  position  epoch      stage: its number in the config; position: 0-based line of the stage's file;
        0         4      0      epoch: how often the example was trained on before, in the whole arm
        0         1      0

Orders are drawn from SHAKE-256 alone (FIPS 202), so they are the same on every platform and for every version of
Python and NumPy. docs/arms.md gives the draw and the digests in ten lines each, and a test holds this module to them.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from stagewise.errors import ConfigError, DataError
from stagewise.hashing import canonical_json, sha256

Rows = NDArray[np.int32]
"""Instances, (n, 3): stage, position, epoch."""
Numbers = NDArray[np.int64]
COLUMNS = ("phase", "stage", "position", "epoch")
"""Of the file `order.npy`, int32; its phases count from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps(Sequence[Rows]):
    """The optimizer steps of a phase, each the rows of its instances: views, no copies."""

    rows: Rows
    ends: Numbers

    @classmethod
    def of(cls, steps: Sequence[Rows]) -> "Steps":
        sizes = np.array([len(step) for step in steps], dtype=np.int64)
        return cls(np.concatenate([empty(), *steps]), np.cumsum(sizes))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Rows: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Rows]: ...
    def __getitem__(self, index: int | slice) -> Rows | Sequence[Rows]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self.rows[int(self.ends[number - 1]) if number else 0 : int(self.ends[number])]


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    index: int  # 1-based; phase 0 is the base model
    stages: tuple[str, ...]  # the stages whose examples it may hold
    rows: Rows
    sizes: Numbers  # of its optimizer steps

    @property
    def steps(self) -> Steps:
        return Steps(self.rows, np.cumsum(self.sizes))


def empty() -> Rows:
    return np.zeros((0, 3), dtype=np.int32)


# --- digests and the file -----------------------------------------------------------------------


def order_digest(stages: Sequence[str], rows: Rows) -> str:
    """sha256 over the names of the config's stages and the sequence of (stage, position): equal for equal orders."""
    return _digest(stages, rows[:, :2])


def multiset_digest(stages: Sequence[str], rows: Rows) -> str:
    """sha256 over the names and each (stage, position, uses), sorted: equal where the same examples were trained on as
    often, in whatever order."""
    keys, counts = np.unique(examples(rows), return_counts=True)
    return _digest(stages, np.stack([keys >> 32, keys & 0xFFFFFFFF, counts], axis=1))


def _digest(stages: Sequence[str], table: NDArray[np.integer]) -> str:
    return sha256(canonical_json(list(stages)) + b"\n" + np.ascontiguousarray(table, dtype="<u4").tobytes())


def examples(rows: Rows) -> Numbers:
    """A number for each row's example, in the order of stage and position."""
    return (rows[:, 0].astype(np.int64) << 32) | rows[:, 1]


def encode(phases: Sequence[Rows]) -> bytes:
    """`order.npy`: the rows of several phases with the number of the phase before each."""
    counted = [np.insert(rows, 0, number, axis=1) for number, rows in enumerate(phases, start=1)]
    table = np.concatenate([np.zeros((0, len(COLUMNS)), np.int32), *counted])
    return _header(len(table)) + table.astype("<i4").tobytes()


def decode(data: bytes, where: str) -> list[Rows]:
    """The rows of each phase. Raises `DataError` for bytes that are no such file, byte for byte in its header: they may
    be anybody's, and an array is made of what is there, not of what a header says."""
    count, rest = divmod(len(data) - len(_header(0)), 4 * len(COLUMNS))
    if rest or count < 0 or not data.startswith(_header(count)):
        raise DataError(f"{where}: found {len(data)} bytes that are no order, expected an int32 array of {COLUMNS}")
    table = np.frombuffer(data, dtype="<i4", offset=len(data) - 4 * len(COLUMNS) * count).reshape(count, len(COLUMNS))
    of_phase = table[:, 0]
    starts = np.flatnonzero(np.diff(of_phase, prepend=0))
    if not np.array_equal(of_phase[starts], np.arange(1, len(starts) + 1)):
        raise DataError(f"{where}: found phases {of_phase[starts].tolist()[:9]}, expected 1, 2, … in this order")
    return [np.ascontiguousarray(rows[:, 1:]) for rows in np.split(table, starts[1:])] if count else []


def _header(count: int) -> bytes:
    buffer = io.BytesIO()
    shape = (count, len(COLUMNS))
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<i4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


# --- drawing ------------------------------------------------------------------------------------


def drawn(count: int, salt: str) -> NDArray[np.uint64]:
    """`count` random numbers below 2**64: the bytes of SHAKE-256 of the salt, eight a number, little-endian."""
    return np.frombuffer(hashlib.shake_256(salt.encode()).digest(8 * count), dtype="<u8")


def permutation(count: int, salt: str) -> Numbers:
    """0 … count - 1 in a random order: sorted by a drawn number each."""
    return np.argsort(drawn(count, salt), kind="stable")


def cut(total: int, size: int) -> Numbers:
    """The sizes of steps; the last one may be smaller."""
    sizes = np.full(-(-total // size), size, dtype=np.int64)
    sizes[-1:] -= -total % size
    return sizes


def numbered(phases: Sequence[Rows]) -> list[Rows]:
    """The rows with their epochs: how often the example stands before, in all the phases."""
    rows = np.concatenate([empty(), *phases])
    keys = examples(rows)
    by_example = np.argsort(keys, kind="stable")
    first = np.r_[True, keys[by_example][1:] != keys[by_example][:-1]][: len(rows)]
    starts = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    rows[by_example, 2] = np.arange(len(rows)) - starts
    return np.split(rows, np.cumsum([len(each) for each in phases])[:-1]) if phases else []


def deal(rows: Rows, sizes: Numbers, arm: str, seed: int) -> Rows:
    """The rows at random over steps of these sizes, no example twice in a step.

    A random deal leaves a few repeats in large studies; each is swapped with a row, drawn afresh for it, whose step and
    whose own place it fits. One order of candidates for all would send them to the same steps, and repeats of an
    example would stand in neighbouring steps more often than in a uniform deal. Raises `ConfigError` where no row fits.
    """
    salt = f"{arm}/{seed}"
    dealt = rows[permutation(len(rows), salt)]
    keys = examples(dealt)
    step_of, ends = np.repeat(np.arange(len(sizes)), sizes), np.cumsum(sizes)

    def held(step: int) -> Numbers:
        return keys[ends[step] - sizes[step] : ends[step]]

    for place in _repeats(keys, step_of):
        step = int(step_of[place])
        if (held(step) == keys[place]).sum() < 2:
            continue  # its like was swapped away
        for other in candidates(len(dealt), f"{salt}/swap/{place}"):
            if not (held(int(step_of[other])) == keys[place]).any() and not (held(step) == keys[other]).any():
                break
        else:
            raise ConfigError(
                f"arm {arm}: line {dealt[place, 1] + 1} of stage number {dealt[place, 0] + 1} cannot be dealt without "
                "standing twice in an optimizer step; use a smaller training.batch_size or fewer epochs"
            )
        dealt[[place, other]], keys[[place, other]] = dealt[[other, place]], keys[[other, place]]
    return dealt


def _repeats(keys: Numbers, step_of: Numbers) -> list[int]:
    """The places, ascending, whose example stands in their step more than once."""
    order = np.lexsort((keys, step_of))
    same = (keys[order][1:] == keys[order][:-1]) & (step_of[order][1:] == step_of[order][:-1])
    return sorted({int(place) for pair in (order[1:][same], order[:-1][same]) for place in pair})


def candidates(count: int, salt: str) -> Iterator[int]:
    """The numbers below `count` in a random order, one after the other (Fisher and Yates), as few as are asked for."""
    moved: dict[int, int] = {}
    for index in range(count):
        chosen = index + int(sha256(f"{salt}/{index}".encode())[:16], 16) % (count - index)
        yield moved.get(chosen, chosen)
        moved[chosen] = moved.get(index, index)
