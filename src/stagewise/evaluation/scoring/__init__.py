r"""Is an output right? Twice: `strict`, by format and answer, and `flexible`, by answer only.

    score("12 × 3 = 36\n36", "36")                     strict and flexible: the last line is the answer
    score("12 × 3 = 36. So the answer is 36.", "36")   flexible only: the format is not the declared one

docs/scoring.md has the rubric that this imitates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stagewise.errors import ConfigError
from stagewise.evaluation.scoring.conclusion import find_answer
from stagewise.evaluation.scoring.extraction import EXTRACTORS, last_lines
from stagewise.evaluation.scoring.marks import Extraction
from stagewise.evaluation.scoring.matching import MATCHERS
from stagewise.evaluation.scoring.prompts import accepted, as_asked
from stagewise.evaluation.scoring.scope import answers_prompt
from stagewise.evaluation.scoring.verifier import MatchTimeout

__all__ = [
    "DEFAULT_CHAIN",
    "DEFAULT_MATCH",
    "EXTRACTORS",
    "MATCHERS",
    "Extraction",
    "MatchTimeout",
    "Score",
    "find_answer",
    "majority",
    "score",
]

DEFAULT_CHAIN = tuple(EXTRACTORS)
DEFAULT_MATCH = tuple(MATCHERS)


@dataclass(frozen=True, slots=True)
class Score:
    """Right, wrong, or unscored (None): a comparison that could have said right took too long."""

    strict: bool | None
    """The answer is right, stands where the declared format wants it, and generation ended by itself."""
    flexible: bool | None
    """The answer is right, wherever it was found; true where `strict` is."""
    extraction: Extraction | None
    """What was judged; None where nothing answers the question."""
    matched: str | None
    """The name in `MATCHERS` that found it right."""

    @property
    def timed_out(self) -> bool:
        return self.strict is None or self.flexible is None


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
    """Judges one output.

    Every `finish_reason` but `stop` means that the end may be cut; give `length` where it is not known.
    Raises `ConfigError` for a name that is not in `EXTRACTORS` or `MATCHERS`.
    """
    _check_names(extract=[*extract, strict], match=match)
    formatted = _as_formatted(output, expected, strict) if finish_reason == "stop" else None
    matched, strictly = _judged(formatted, expected, prompt, match)
    if formatted is not None and strictly is not False and not answers_prompt(output, prompt, formatted.span):
        formatted, strictly = None, False
    if strictly:
        return Score(True, True, formatted, matched)
    found = find_answer(output, prompt=prompt, finish_reason=finish_reason, extract=extract)
    if found is not None and formatted is not None and found.text == formatted.text:
        return Score(strictly, strictly, found, None)
    matched, flexibly = _judged(found, expected, prompt, match)
    return Score(strictly, None if strictly is None and not flexibly else flexibly, found, matched)


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


def _judged(
    found: Extraction | None, expected: str, prompt: str, match: Sequence[str]
) -> tuple[str | None, bool | None]:
    """The matcher that agrees, and the verdict: None where a comparison that could have agreed was late."""
    if found is None:
        return None, False
    late = False
    for right in accepted(expected, prompt):
        for answer in as_asked(found.text, expected, prompt):
            matched, too_late = _match(answer, right, match)
            if matched:
                return matched, True
            late |= too_late
    return None, None if late else False


def _match(answer: str, expected: str, match: Sequence[str]) -> tuple[str | None, bool]:
    try:
        return next((name for name in match if MATCHERS[name](answer, expected)), None), False
    except MatchTimeout:
        return None, True


def majority(answers: Sequence[str | None], match: Sequence[str] = DEFAULT_MATCH) -> int | None:
    """The index of the first sample that gives the answer most samples give (Wang et al. 2023, arXiv:2203.11171).

    Answers are one where a matcher finds them equal; samples without an answer do not vote, and of equally frequent
    answers the first given wins, which is a fair draw as samples are exchangeable. None where none answers.
    Raises `MatchTimeout`: how the votes fall is then not known.
    """
    groups: list[list[int]] = []
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        for group in groups:
            if any(MATCHERS[name](answer, str(answers[group[0]])) for name in match):
                group.append(index)
                break
        else:
            groups.append([index])
    return max(groups, key=len)[0] if groups else None
