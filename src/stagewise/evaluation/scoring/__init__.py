r"""Is an output right? Twice: `strict`, by format and answer, and `flexible`, by answer only.

    score("12 × 3 = 36\n36", "36")                     strict and flexible: the last line is the answer
    score("12 × 3 = 36. So the answer is 36.", "36")   flexible only: the format is not the declared one

docs/scoring.md has the rubric that this imitates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stagewise.config.evaluation import EXTRACT, MATCH
from stagewise.evaluation.scoring import conclusion
from stagewise.evaluation.scoring.extraction import Extraction, Extractor, Mark, last_lines
from stagewise.evaluation.scoring.extractors import EXTRACTORS
from stagewise.evaluation.scoring.matchers import MATCHERS, Matcher
from stagewise.evaluation.scoring.prompts import accepted, as_asked
from stagewise.evaluation.scoring.scope import answers_prompt
from stagewise.evaluation.scoring.verifier import MatchTimeout

__all__ = [
    "DEFAULT_CHAIN",
    "DEFAULT_MATCH",
    "EXTRACTORS",
    "MATCHERS",
    "Extraction",
    "Extractor",
    "Mark",
    "MatchTimeout",
    "Matcher",
    "Score",
    "find_answer",
    "majority",
    "score",
]

DEFAULT_CHAIN, DEFAULT_MATCH = EXTRACT, MATCH
Chain = Sequence[str] | conclusion.Chain
"""Names of built-in extractors, or extractors by their names: those of a user's own."""
Match = Sequence[str] | Mapping[str, Matcher]


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
    extract: Chain = DEFAULT_CHAIN,
    match: Match = DEFAULT_MATCH,
    strict: str = "last_line",
) -> Score:
    """Judges one output.

    Every `finish_reason` but `stop` means that the end may be cut; give `length` where it is not known.
    Raises `ConfigError` for a name that is not in `EXTRACTORS` or `MATCHERS`.
    """
    extract, match = _extractors(extract), _matchers(match)
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
    return _extractors([strict])[strict](output)


def find_answer(output: str, *, prompt: str, finish_reason: str, extract: Chain = DEFAULT_CHAIN) -> Extraction | None:
    """The answer in the part of `output` that answers `prompt`; None where no extractor finds one."""
    chain = _extractors(extract)
    return conclusion.find_answer(output, prompt=prompt, finish_reason=finish_reason, extract=chain)


def _extractors(extract: Chain) -> conclusion.Chain:
    return extract if isinstance(extract, Mapping) else EXTRACTORS.chosen(extract)


def _matchers(match: Match) -> Mapping[str, Matcher]:
    return match if isinstance(match, Mapping) else MATCHERS.chosen(match)


def _judged(
    found: Extraction | None, expected: str, prompt: str, match: Mapping[str, Matcher]
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


def _match(answer: str, expected: str, match: Mapping[str, Matcher]) -> tuple[str | None, bool]:
    try:
        return next((name for name, equal in match.items() if equal(answer, expected)), None), False
    except MatchTimeout:
        return None, True


def majority(answers: Sequence[str | None], match: Match = DEFAULT_MATCH) -> int | None:
    """The index of the first sample that gives the answer most samples give (Wang et al. 2023, arXiv:2203.11171).

    Answers are one where a matcher finds them equal; samples without an answer do not vote, and of equally frequent
    answers the first given wins, which is a fair draw as samples are exchangeable. None where none answers.
    Raises `MatchTimeout`: how the votes fall is then not known.
    """
    match = _matchers(match)
    groups: list[list[int]] = []
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        for group in groups:
            if any(equal(answer, str(answers[group[0]])) for equal in match.values()):
                group.append(index)
                break
        else:
            groups.append([index])
    return max(groups, key=len)[0] if groups else None
