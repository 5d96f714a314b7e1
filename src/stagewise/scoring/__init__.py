r"""Is an output right? Twice: `strict`, by format and answer, and `flexible`, by answer alone.

    score("12 × 3 = 36\n36", "36")                     strict and flexible: the last line is the answer
    score("12 × 3 = 36. So the answer is 36.", "36")   flexible alone: the format is not the declared one

docs/scoring.md has the rubric that this imitates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stagewise.errors import ConfigError
from stagewise.scoring.extraction import EXTRACTORS, Extraction, last_lines
from stagewise.scoring.matching import MATCHERS
from stagewise.scoring.scope import scoped
from stagewise.scoring.verifier import MatchTimeout

__all__ = [
    "DEFAULT_CHAIN",
    "DEFAULT_MATCH",
    "EXTRACTORS",
    "MATCHERS",
    "Extraction",
    "Score",
    "find_answer",
    "score",
]

DEFAULT_CHAIN = tuple(EXTRACTORS)
DEFAULT_MATCH = tuple(MATCHERS)


@dataclass(frozen=True, slots=True)
class Score:
    strict: bool
    """The answer is right, stands where the declared format wants it, and generation ended by itself."""
    flexible: bool
    """The answer is right, wherever it was found; never false where `strict` is true."""
    extraction: Extraction | None
    """What was judged; None where nothing answers the question."""
    matched: str | None
    """The name in `MATCHERS` that found it right."""
    timed_out: bool
    """A comparison took too long: counted apart from a wrong answer."""


def score(
    output: str,
    expected: str,
    *,
    prompt: str = "",
    finish_reason: str = "stop",
    extract: Sequence[str] = DEFAULT_CHAIN,
    match: Sequence[str] = DEFAULT_MATCH,
    strict: str = "last_line",
) -> Score:
    """Judges one output. The first extractor of the chain that finds an answer decides.

    Every `finish_reason` but `stop` means that the end may be cut; give `length` where it is not known.
    Raises `ConfigError` for a name that is not in `EXTRACTORS` or `MATCHERS`.
    """
    _check_names(extract=[*extract, strict], match=match)
    formatted = _as_formatted(output, expected, strict) if finish_reason == "stop" else None
    matched, late = _match(formatted, expected, match)
    if matched:
        return Score(True, True, formatted, matched, late)
    found = find_answer(output, prompt=prompt, finish_reason=finish_reason, extract=extract)
    matched, also_late = _match(found, expected, match)
    return Score(False, matched is not None, found, matched, late or also_late)


def find_answer(
    output: str, *, prompt: str, finish_reason: str, extract: Sequence[str] = DEFAULT_CHAIN
) -> Extraction | None:
    """What the first extractor that finds anything finds in the part of `output` that answers `prompt`."""
    judged = scoped(output, prompt, finish_reason)
    return next(filter(None, (EXTRACTORS[name](judged, prompt) for name in extract)), None)


def _as_formatted(output: str, expected: str, strict: str) -> Extraction | None:
    """What stands where the format wants the answer; a last line counts whatever it says."""
    if strict == "last_line":
        return last_lines(output, expected.strip().count("\n") + 1)
    return EXTRACTORS[strict](output)


def _check_names(*, extract: Sequence[str] = (), match: Sequence[str] = ()) -> None:
    """Raises `ConfigError` that lists the valid names."""
    for kind, names, valid in (("extract", extract, set(EXTRACTORS)), ("match", match, set(MATCHERS))):
        unknown = sorted(set(names) - valid)
        if unknown:
            raise ConfigError(f"{kind}: unknown {', '.join(unknown)}; valid are {', '.join(sorted(valid))}")


def _match(found: Extraction | None, expected: str, match: Sequence[str]) -> tuple[str | None, bool]:
    """The matcher that agrees, and whether one was late."""
    if found is None:
        return None, False
    try:
        return next((name for name in match if MATCHERS[name](found.text, expected)), None), False
    except MatchTimeout:
        return None, True
