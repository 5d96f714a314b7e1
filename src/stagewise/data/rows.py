"""A line of a dataset as it is read, and what becomes of it: a trace to train on, or an item to ask.

    row.text("prompt")        the string there; what does not fit is noted, and the reading goes on
    row.trace(prompt, steps, answer, category)

A layout (`data.layouts`) says which fields these come from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stagewise.data.jsonl import Refused, decoded, described, shortened
from stagewise.hashing import sha256


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


class Row:
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

    def trace(self, prompt: str, steps: Iterable[Step], answer: str, category: str | None = None) -> Trace:
        """The trace of this line."""
        identity = f"{self.number}:{sha256(self.line)}"
        return Trace(self.number, self.line, self.ending, identity, prompt, tuple(steps), answer, category)

    def item(
        self,
        id: str,
        prompt: str,
        answer: str,
        *,
        section: str | None = None,
        category: str | None = None,
        difficulty: str | None = None,
        reference: Iterable[str] | None = None,
    ) -> Item:
        """The eval item of this line; `reference` are the steps of a solution."""
        steps = None if reference is None else tuple(reference)
        return Item(self.number, self.line, self.ending, id, prompt, answer, section, category, difficulty, steps)
