"""Strict JSONL in and out: what is read is a dataset of traces or eval items, or one `DataError`.

A line of layout `traces`, and the eval item that goes with it:

    {"prompt": "What is 47+38?", "steps": [{"i": 0, "type": "calculation", "content": "7+8=15 carry 1 so 5"},
     {"i": 1, "type": "result", "content": "4+3+1=8 so 85"}], "final_answer": "85",
     "meta": {"category": "synthetic"}}
    {"id": "eval-001", "prompt": "What is 15+27?", "expected_answer": "42", "section": "core",
     "category": "arithmetic", "difficulty": "easy"}

A line of layout `gsm8k` (openai/grade-school-math), where the solution lines are the steps:

    {"question": "Tom has 48 eggs …", "answer": "He sold 48/2 = <<48/2=24>>24 eggs.\\n#### 24"}

Nothing is mended and nothing skipped. Only LF ends a line; a CR before it is counted as part of the
ending. Every row keeps its line byte for byte, so fields that are not known here travel along in it,
and `Dataset.rebuilt()` gives the file's bytes again.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from stagewise.data.jsonl import Refused, decoded, described, json_line, shortened, split_lines
from stagewise.errors import DataError, listed
from stagewise.hashing import sha256

Layout = Literal["traces", "gsm8k"]

RESULT = "####"
# GSM8K marks arithmetic as `<<48/2=24>>` for its authors' calculator, which forces the next tokens to be
# the result; without that calculator the marks are noise. See "Calculation Annotations" in the README of
# openai/grade-school-math. All of its 27,998 are an expression and a result; `x << 2` is text.
ANNOTATION = re.compile(r"<<[\d+\-*/().,%$]+=[\d+\-*/().,%$]+>>")


@dataclass(frozen=True, slots=True)
class Step:
    type: str
    content: str


@dataclass(frozen=True, slots=True)
class Trace:
    row: int
    """0-based row in the source."""
    line: bytes
    """The source's line, byte for byte, without its ending."""
    ending: bytes
    r"""`\n`, `\r\n`, or empty where the last line has none."""
    id: str
    """`<row>:<sha256 of line>`: rows may repeat and carry no id of their own."""
    prompt: str
    steps: tuple[Step, ...]
    final_answer: str
    category: str | None
    """`meta.category`; None where the layout has none."""

    @property
    def key(self) -> tuple[str, tuple[Step, ...], str]:
        """Two traces with an equal key are exact duplicates, whatever their other fields say."""
        return self.prompt, self.steps, self.final_answer


@dataclass(frozen=True, slots=True)
class Item:
    row: int
    line: bytes
    ending: bytes
    id: str
    """Unique in its eval set; `gsm8k-<row>` where the layout has none."""
    prompt: str
    expected_answer: str
    section: str | None
    category: str | None
    difficulty: str | None
    reference: tuple[str, ...] | None = None
    """The steps of a solution, where the item has them."""


T = TypeVar("T", Trace, Item)


@dataclass(frozen=True)
class Dataset(Generic[T]):
    name: str
    rows: tuple[T, ...]
    sha256: str
    """Of the bytes as they were read, CRLF included."""
    size: int
    """In bytes."""
    crlf: int
    """Number of lines that end in CRLF."""
    final_newline: bool

    def rebuilt(self) -> bytes:
        """The source's bytes again."""
        return b"".join(row.line + row.ending for row in self.rows)


def read_traces(path: Path, layout: Layout = "traces") -> Dataset[Trace]:
    return parse_traces(read_bytes(path), path.name, layout)


def read_items(path: Path, layout: Layout = "traces") -> Dataset[Item]:
    return parse_items(read_bytes(path), path.name, layout)


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; expected a JSONL file") from error


def parse_traces(data: bytes, name: str, layout: Layout = "traces") -> Dataset[Trace]:
    return _parse(data, name, {"traces": _trace, "gsm8k": _gsm8k_trace}[layout])


def parse_items(data: bytes, name: str, layout: Layout = "traces") -> Dataset[Item]:
    seen: dict[str, int] = {}

    def unique_item(row: "_Row") -> Item:
        item = _item(row)
        first = seen.setdefault(item.id, row.number)
        if item.id and first != row.number:
            expected = f"an id of its own (line {first + 1} has this one)"
            row.refuse("id", f"{described(item.id)} again", expected)
        return item

    return _parse(data, name, {"traces": unique_item, "gsm8k": _gsm8k_item}[layout])


def trace_line(prompt: str, steps: Iterable[Step], final_answer: str, meta: Mapping[str, Any], **extra: Any) -> bytes:
    """One trace as a line of layout `traces`, without its ending; the order of the keys is fixed."""
    numbered = [{"i": i, "type": step.type, "content": step.content} for i, step in enumerate(steps)]
    fields = {"prompt": prompt, "steps": numbered, "final_answer": final_answer, "meta": dict(meta), **extra}
    return json_line(fields)


class _Row:
    """A line that is being read. What does not fit is noted, so that one reading finds everything."""

    def __init__(self, number: int, line: bytes, ending: bytes, findings: list[str]):
        self.number, self.line, self.ending = number, line, ending
        self.findings = findings
        self.fields: dict[str, Any] = {}

    def refuse(self, field: str | None, found: str, expected: str) -> None:
        where = f"line {self.number + 1}" + (f", field {shortened(field)}" if field is not None else "")
        self.findings.append(f"{where}: found {found}, expected {expected}")

    def load(self) -> bool:
        """Decode the line into `fields`; False where it is not one JSON object."""
        try:
            self.fields = decoded(self.line)
        except Refused as refused:
            self.refuse(*refused.args)
            return False
        return True

    def text(self, name: str, *, within: Any = None, path: str = "", blank: bool = True) -> str:
        """The string at `name` (of `within`, which stands at `path`); may it be blank?"""
        fields = self.fields if within is None else within
        expected = "a string" if blank else "a string that is not blank"
        if name not in fields:
            self.refuse(path + name, "nothing", expected)
            return ""
        value = fields[name]
        if not isinstance(value, str) or not (blank or value.strip()):
            self.refuse(path + name, described(value), expected)
            return ""
        return value

    def optional_text(self, name: str) -> str | None:
        """As `text`, or None where the field is absent or null (tables write what is absent as null)."""
        return None if self.fields.get(name) is None else self.text(name)

    def steps(self) -> tuple[Step, ...]:
        value = self.fields.get("steps")
        if not isinstance(value, list):
            found = described(value) if "steps" in self.fields else "nothing"
            self.refuse("steps", found, "a list of steps")
            return ()
        return tuple(self._step(index, step) for index, step in enumerate(value))

    def _step(self, index: int, value: Any) -> Step:
        path = f"steps[{index}]"
        if not isinstance(value, dict):
            self.refuse(path, described(value), "an object with i, type and content")
            return Step("", "")
        number = value.get("i")
        if type(number) is not int or number != index:  # True == 1, and is no step number
            self.refuse(f"{path}.i", described(number) if "i" in value else "nothing", str(index))
        type_, content = (self.text(name, within=value, path=f"{path}.") for name in ("type", "content"))
        return Step(type_, content)


def _trace(row: _Row) -> Trace:
    meta = row.fields.get("meta")
    if not isinstance(meta, dict):
        found = described(meta) if "meta" in row.fields else "nothing"
        row.refuse("meta", found, "an object with a category")
        meta = {"category": ""}
    category = row.text("category", within=meta, path="meta.")
    return _make_trace(row, row.text("prompt", blank=False), row.steps(), row.text("final_answer"), category)


def _gsm8k_trace(row: _Row) -> Trace:
    prompt = row.text("question", blank=False)
    lines, result = _gsm8k_answer(row)
    return _make_trace(row, prompt, tuple(Step("solution", line) for line in lines), result, None)


def _make_trace(row: _Row, prompt: str, steps: tuple[Step, ...], answer: str, category: str | None) -> Trace:
    identity = f"{row.number}:{sha256(row.line)}"
    return Trace(row.number, row.line, row.ending, identity, prompt, steps, answer, category)


def _item(row: _Row) -> Item:
    has_steps = row.fields.get("steps") is not None
    return Item(
        row.number,
        row.line,
        row.ending,
        id=row.text("id", blank=False),
        prompt=row.text("prompt", blank=False),
        expected_answer=row.text("expected_answer", blank=False),
        section=row.optional_text("section"),
        category=row.optional_text("category"),
        difficulty=row.optional_text("difficulty"),
        reference=tuple(step.content for step in row.steps()) if has_steps else None,
    )


def _gsm8k_item(row: _Row) -> Item:
    prompt = row.text("question", blank=False)
    lines, result = _gsm8k_answer(row)
    identity = f"gsm8k-{row.number}"
    return Item(row.number, row.line, row.ending, identity, prompt, result, None, None, None, tuple(lines))


def _gsm8k_answer(row: _Row) -> tuple[list[str], str]:
    """Solution lines without calculator marks (six real rows have a blank one, no step), and the result."""
    answer = row.text("answer", blank=False)
    *lines, last = answer.split("\n")
    result = last.removeprefix(RESULT).strip()
    if answer and (not last.startswith(RESULT) or not result):
        row.refuse("answer", f"{described(last)} as its last line", f"'{RESULT} <result>' there")
    solution = (ANNOTATION.sub("", line).strip() for line in lines)
    return [line for line in solution if line], result


def _parse(data: bytes, name: str, build: Callable[[_Row], T]) -> Dataset[T]:
    if not data:
        raise DataError(f"{name}: found an empty file, expected one JSON object a line")
    findings: list[str] = []
    loading = (_Row(number, *pair, findings) for number, pair in enumerate(split_lines(data)))
    rows = tuple(build(row) for row in loading if row.load())
    if len(findings) == 1:
        raise DataError(f"{name}: {findings[0]}")
    if findings:
        raise DataError(f"{name}: {len(findings)} findings\n{listed(findings)}")
    crlf = sum(row.ending == b"\r\n" for row in rows)
    return Dataset(name, rows, sha256(data), len(data), crlf, data.endswith(b"\n"))
