"""What does not hold, each in one line, and the tree in which it is told.

✓ quickstart pipeline: run 5f0c…, manifest 9b1e…, 9 files, all arms saw the same examples
├─ ✓ split: run 7a1b…, manifest 51d0…, 13 files, stages follow from the source
└─ ✗ c1 s42 eval · curriculum: run 33d0…, manifest 0b7e…, 8 files, scores follow from the outputs
   ✗ artifact predictions.jsonl: found sha256 77c0…, expected 0d4f…; only line endings differ

Names and values come from a record, which may be anybody's: each line is escaped before it is shown.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from stagewise import tree
from stagewise.errors import TrackingError, UserError, printable

WHOLE, INCOMPLETE, BROKEN, UNCHECKED = "whole", "incomplete", "broken", "unchecked"
WIDTH = 300  # characters of a value, or of a run's name, in a line
EXIT_CODES = {WHOLE: 0, INCOMPLETE: 3, BROKEN: 4, UNCHECKED: 5}


@dataclass(frozen=True, slots=True)
class Finding:
    where: str
    found: str
    expected: str
    why: str = ""
    checked: bool = True  # False: whether it holds could not be found out

    def __str__(self) -> str:
        said = f"{self.where}: found {_cut(self.found)}, expected {_cut(self.expected)}"
        return printable(f"{said}; {self.why}" if self.why else said)


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


@dataclass(slots=True)
class Node:
    """A run of the record, or the model version that leads to one."""

    title: str
    run_id: str = ""
    digest: str = ""
    held: list[str] = field(default_factory=list)  # what was looked at, in words
    findings: list[Finding] = field(default_factory=list)
    below: list["Node"] = field(default_factory=list)

    @property
    def mark(self) -> str:
        if any(finding.checked for finding in self.findings):
            return "✗"
        return "?" if self.findings else "✓"

    def walk(self) -> Iterator["Node"]:
        yield self
        for node in self.below:
            yield from node.walk()


@dataclass(slots=True)
class Verdict:
    target: str
    root: Node
    unread: str = ""  # why there is nothing to check, if there is not
    digest: str = ""  # of the manifest of the run that was asked for
    expected: str | None = None  # that digest, as known from outside
    incomplete: bool = False  # the run is still at work
    left_out: int = 0  # files of weights that a bundle does not hold
    files: int = 0
    bytes: int = 0
    kept: list[str] = field(default_factory=list)  # files whose digest an earlier check had found, not read again
    remarks: list[str] = field(default_factory=list)

    @property
    def found(self) -> list[tuple[Node, Finding]]:
        return [(node, finding) for node in self.root.walk() for finding in node.findings]

    @property
    def breaks(self) -> list[str]:
        return [_located(node, finding) for node, finding in self.found if finding.checked]

    @property
    def word(self) -> str:
        if self.incomplete:
            return INCOMPLETE
        if self.breaks:
            return BROKEN
        return UNCHECKED if self.found or self.unread else WHOLE

    @property
    def whole(self) -> bool:
        return self.word == WHOLE

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.word]

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": "stagewise.verdict/1",
            "target": self.target,
            "verdict": self.word,
            "manifest_sha256": self.digest or None,
            "expected": self.expected,
            "files": self.files,
            "bytes": self.bytes,
            "weights_left_out": self.left_out,
            "not_read_again": self.kept,
            "reason": self.unread or None,
            "remarks": self.remarks,
            "runs": [
                {
                    "run_id": node.run_id,
                    "title": node.title,
                    "manifest_sha256": node.digest or None,
                    "held": node.held,
                    "findings": [asdict(finding) for finding in node.findings],
                }
                for node in self.root.walk()
            ],
        }

    def __str__(self) -> str:
        if self.unread:
            return self.in_words()
        return "\n".join(map(printable, [*tree.drawn(_shown(self.root)), "", self.in_words(), *self.remarks]))

    def in_words(self) -> str:
        """The last line: what follows from the tree above it."""
        seen = f"{self.files:,} files, {self.bytes / 1e6:,.1f} MB"
        seen += f", {len(self.kept):,} of them not read again" if self.kept else ""
        if self.word == WHOLE:
            but = ", but for the weights, which are not here" if self.left_out else ""
            said = f"✓ whole{but}: {seen}; manifest sha256 {self.digest}"
        elif self.word == INCOMPLETE:
            said = f"… incomplete: run {self.root.run_id} has not ended; verify it once it is FINISHED"
        elif self.unread:
            said = f"? cannot be checked: {self.unread}"
        elif self.word == UNCHECKED:
            count = len(self.found)
            things = "one thing" if count == 1 else f"{count} things"
            said = f"? {things} cannot be checked here; all else holds ({seen}); the first: {self.found[0][1]}"
        else:
            breaks = "one break" if len(self.breaks) == 1 else f"{len(self.breaks)} breaks, the first"
            said = f"✗ broken: {breaks}: {self.breaks[0]}"
        return printable(said)


def _located(node: Node, finding: Finding) -> str:
    title = _cut(node.title)
    return printable(f"run {node.run_id} ({title}): {finding}" if node.run_id else f"{title}: {finding}")


def _shown(node: Node) -> tree.Node:
    about = [f"run {node.run_id}"] * bool(node.run_id) + [f"manifest {node.digest[:12]}…"] * bool(node.digest)
    text = f"{node.mark} {_cut(node.title)}: {', '.join([*about, *node.held])}"
    remarks = tuple(f"{'✗' if finding.checked else '?'} {finding}" for finding in node.findings)
    return tree.Node(text, [_shown(below) for below in node.below], remarks)


# --- what is added to a node ---------------------------------------------------------------------


def add(node: Node, findings: Iterable[Finding]) -> None:
    """Each once: two names may lead to one version."""
    node.findings += [finding for finding in dict.fromkeys(findings) if finding not in node.findings]


def guarded(what: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """What is found; and where that ends in an error, that it could not be told. Whoever wrote the record chose what
    is read here, and none of it may end the check."""
    try:
        yield from findings
    except TrackingError:
        raise
    except Exception as error:
        yield Finding(what, in_a_line(error), "what can be read")


def in_a_line(error: BaseException) -> str:
    first = (str(error).splitlines() or [""])[0]
    return first if isinstance(error, UserError) and first else f"{type(error).__name__} {first}".strip()
