"""The built-in generator: traces and eval items of 18 task families, from a seed, true by construction.

    {"prompt": "What is 47+38?", "steps": [{"i": 0, "type": "calculation", "content": "7+8=15 carry 1 so 5"},
     {"i": 1, "type": "result", "content": "4+3+1=8 so 85"}], "final_answer": "85",
     "meta": {"dataset": "stagewise-generated", "generator": "stagewise/2", "seed": 7,
      "category": "synthetic", "family": "addition", "index": 0}}

Families are dealt in turn; category and problem are drawn for each row (`draw`), so the same arguments
give the same bytes everywhere, and a longer set starts with a shorter one.

Training and eval sets are disjoint by construction: one problem in eight, told by the sha256 of what it asks
(`Problem.same`), is reserved for eval sets, whatever the seeds, counts and families. Other words, another order
of the operands (12+30 and 30+12, the digits of 47 and of 74) and a category's wording never change its side. A
training set may hold a prompt more than once, as the draw gives it; an eval set never does.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

from stagewise.data.generate import letters, numbers, stories
from stagewise.data.generate.draw import Draw
from stagewise.data.generate.problem import Family, Problem
from stagewise.data.jsonl import json_line
from stagewise.data.leakage import fold
from stagewise.data.traces import Step, trace_line
from stagewise.errors import ConfigError, DataError
from stagewise.hashing import digest_json

GENERATOR = "stagewise/2"
"""Raised when the same seed no longer gives the same bytes."""

FAMILIES = {family.name: family for family in (*numbers.FAMILIES, *letters.FAMILIES, *stories.FAMILIES)}
CATEGORIES = {"synthetic": 4, "golden_style": 2, "reasoning": 8, "edge_case": 2}
"""How often each is drawn: the parts of 16."""
STEPS = range(1, 7)
CATEGORY_STEPS = {"synthetic": range(1, 3), "golden_style": range(1, 3), "reasoning": range(2, 7)}
SECTIONS = {
    "synthetic": "core",
    "golden_style": "core",
    "reasoning": "trace_sensitive",
    "edge_case": "edge_case",
}
GOLDEN = "Show your work: "
ODD = ("{}???", "... {}...", "  {}  .", "{} ?!")
"""How edge cases are punctuated; `fold` sees through all of them."""
RESERVED = 8
"""One problem in so many is reserved for eval sets."""
ATTEMPTS = 4000
"""Draws for one row before its family counts as exhausted: a problem that comes up once in 500 draws is
missed once in 3,000 times."""

Role = Literal["train", "eval"]
T = TypeVar("T", str, int)


class Dealt(NamedTuple):
    family: str
    category: str
    prompt: str
    problem: Problem


def traces(
    seed: int,
    count: int,
    families: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
) -> bytes:
    """A training set as JSONL. `steps`: the numbers of steps that a problem may take."""
    lines = []
    for index, dealt in enumerate(_deal("train", seed, count, families, categories, steps)):
        *before, last = dealt.problem.steps
        worked = [*(Step("calculation", step) for step in before), Step("result", last)]
        meta = {
            "dataset": "stagewise-generated",
            "generator": GENERATOR,
            "seed": seed,
            "category": dealt.category,
            "family": dealt.family,
            "index": index,
        }
        lines.append(trace_line(dealt.prompt, worked, dealt.problem.answer, meta) + b"\n")
    return b"".join(lines)


def items(
    seed: int,
    count: int,
    families: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
) -> bytes:
    """An eval set as JSONL; an item's `category` is its task family."""
    lines = []
    for index, dealt in enumerate(_deal("eval", seed, count, families, categories, steps)):
        item = {
            "id": f"generated-{seed}-{index}",
            "prompt": dealt.prompt,
            "expected_answer": dealt.problem.answer,
            "section": SECTIONS[dealt.category],
            "category": dealt.family,
            "difficulty": difficulty(len(dealt.problem.steps)),
        }
        lines.append(json_line(item) + b"\n")
    return b"".join(lines)


def difficulty(steps: int) -> str:
    return "easy" if steps <= 2 else "medium" if steps == 3 else "hard"


def reserved(problem: Problem) -> bool:
    """Is this problem for eval sets?"""
    return int(digest_json(problem.same)[:8], 16) % RESERVED == 0


def _deal(
    role: Role,
    seed: int,
    count: int,
    families: Sequence[str] | None,
    categories: Sequence[str] | None,
    steps: Sequence[int] | None,
) -> Iterator[Dealt]:
    turn = _chosen("family", families, list(FAMILIES))
    named = _chosen("category", categories, list(CATEGORIES))
    mix = [name for name in named for _ in range(CATEGORIES[name])]
    allowed = _chosen("number of steps", steps, list(STEPS))
    seen: set[str] = set()
    for index in range(count):
        family = FAMILIES[turn[index % len(turn)]]
        for attempt in range(ATTEMPTS):
            dealt = _attempt(Draw(f"{seed}/{role}/{index}/{attempt}"), family, mix, allowed)
            if dealt and reserved(dealt.problem) == (role == "eval") and fold(dealt.prompt) not in seen:
                break
        else:
            raise DataError(
                f"generator: row {index} of {count}: no further problem of family {family.name!r} for {role} "
                f"with {allowed} steps in {named} in {ATTEMPTS} draws; "
                "ask for fewer, or allow more families, categories or steps"
            )
        if role == "eval":
            seen.add(fold(dealt.prompt))
        yield dealt


def _attempt(draw: Draw, family: Family, mix: Sequence[str], allowed: Sequence[int]) -> Dealt | None:
    """A problem of the family, or None where what was drawn has no number of steps that is allowed."""
    category = draw.pick(mix)
    if category == "edge_case":
        problem = family.solve(*family.edges(draw))
        fits = len(problem.steps) in allowed
        return Dealt(family.name, category, _odd(draw, problem.prompt), problem) if fits else None
    sizes = [size for size in family.steps if size in allowed and size in CATEGORY_STEPS[category]]
    if not sizes:
        return None
    problem = family.solve(*family.operands(draw, draw.pick(sizes)))
    prompt = GOLDEN + problem.prompt if category == "golden_style" else problem.prompt
    return Dealt(family.name, category, prompt, problem)


def _odd(draw: Draw, prompt: str) -> str:
    return draw.pick(ODD).format(prompt[:-1])


def _chosen(what: str, asked: Sequence[T] | None, known: Sequence[T]) -> list[T]:
    """What was asked for, in the order known here, so that the order of asking changes no bytes."""
    unknown = [name for name in asked or () if name not in known]
    if unknown or (asked is not None and not asked):
        found = unknown or "an empty list"
        raise ConfigError(f"generator: {what}: found {found}, expected some of {list(known)}")
    return [name for name in known if asked is None or name in asked]
