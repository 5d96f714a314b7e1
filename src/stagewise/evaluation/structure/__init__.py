r"""How an output reasons, in numbers that follow from the text alone: no model, no judgement.

    measures("12 × 3 = 36\n36", prompt="What is 12 × 3?", expected="36", reference_steps=["12 × 3 = 36"],
             tokens=9, finish_reason="stop")
    ->  {"tokens": 9.0, "steps": 2.0, "equations": 1.0, "equations_true": 1.0, "eos": 1.0, …}

A loop is measured once, as a loop: `repeated_suffix`, `rep_4`, `distinct_*` and `compression` read the
output as it is, everything else reads it with the loop's repeats left out. A measure that has no value
for an item (the share of true equations where there is none) is absent, and no zero. docs/scoring.md
lists formulas and sources.
"""

import re
import zlib
from collections.abc import Sequence

import regex

from stagewise.evaluation.scoring import find_answer
from stagewise.evaluation.scoring.questions import drifts
from stagewise.evaluation.scoring.scope import without_loop
from stagewise.evaluation.scoring.text import repeated_suffix
from stagewise.evaluation.scoring.text import tokens as tokens_of
from stagewise.evaluation.structure import lexicon
from stagewise.evaluation.structure.equations import Equation, stated_equations, undressed

COPIED = 3  # tokens in a row; fewer are shared by chance
# `distance = speed × time`, `P = 2l + 2w`: a name, and a right side that calculates with names; but not
# `d = 60 km/h × 2.5 h`, which has units only.
_FORMULA = regex.compile(
    r"\b\p{L}\w*[ \t)]*=(?!\s*\d[\d.]*\s+\p{L})[^=\n]*?"
    r"(?:\p{L}\p{M}*\)*\s*[-+×÷*/^]|[-+×÷*/^]\s*\(?\p{L})"
)


def measures(
    output: str,
    *,
    prompt: str,
    expected: str,
    reference_steps: Sequence[str] | None,
    tokens: int,
    finish_reason: str,
) -> dict[str, float]:
    """Every measure that has a value for this output, by its short name."""
    once = without_loop(output)
    stated = stated_equations(once)
    found = {
        "tokens": float(tokens),
        "steps": float(len(steps(once))),
        "step_tokens": step_tokens(once),
        "answer_present": float(find_answer(output, prompt=prompt, finish_reason=finish_reason) is not None),
        "eos": float(finish_reason == "stop"),
        "cap_hit": float(finish_reason == "length"),
        "rep_4": ngram_repetition(output, 4),
        "distinct_1": distinct(output, 1),
        "distinct_2": distinct(output, 2),
        "repeated_suffix": repeated_share(output, cut=finish_reason != "stop"),
        "compression": compression(output),
        "equations": float(len(stated)),
        "equations_true": equations_true(stated),
        "formula_first": formula_first(once, stated),
        **{f"lex_{behaviour}": lexicon.rate(behaviour, once) for behaviour in lexicon.WORDS},
        "prompt_copy": prompt_copy(once, prompt),
        "topic_drift": float(drifts(output, prompt)),
    }
    if reference_steps is not None:
        found["reference_rouge_l"] = rouge_l(once, "\n".join([*reference_steps, expected]))
    return {name: value for name, value in found.items() if value is not None}


def steps(output: str) -> list[str]:
    """Lines that say something: the training template writes a step a line, the answer on the last."""
    return [line for line in output.splitlines() if re.search(r"\w", line)]


def step_tokens(output: str) -> float | None:
    """Mean number of words, numbers and signs of a step. Not the model's tokens, so models compare."""
    lines = steps(output)
    return sum(len(tokens_of(line)) for line in lines) / len(lines) if lines else None


def ngram_repetition(output: str, n: int) -> float:
    """seq-rep-n = 1 - distinct n-grams / n-grams (Welleck et al. 2020, arXiv:1908.04319)."""
    share = distinct(output, n)
    return 0.0 if share is None else 1 - share


def distinct(output: str, n: int) -> float | None:
    """distinct-n = distinct n-grams / n-grams (Li et al. 2016, arXiv:1510.03055)."""
    ngrams = _ngrams(tokens_of(output), n)
    return len(set(ngrams)) / len(ngrams) if ngrams else None


def repeated_share(output: str, cut: bool) -> float:
    """Tokens of the longest suffix that holds its period twice or more / tokens: the loop that greedy
    decoding ends in (Holtzman et al. 2020, arXiv:1904.09751). A cut last token is left out.
    """
    said = tokens_of(output)[: -1 if cut else None]
    return repeated_suffix(said)[0] / len(said) if said else 0.0


def compression(output: str) -> float | None:
    """Bytes / bytes deflated (Shaib et al. 2024, arXiv:2403.00553); higher is more redundant.

    Without zlib's header, which would outweigh a short output. Another build of zlib may differ a little.
    """
    raw = output.encode("utf-8", "surrogatepass")
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return len(raw) / len(deflate.compress(raw) + deflate.flush()) if raw else None


def equations_true(stated: Sequence[Equation]) -> float | None:
    """True arithmetic equations / arithmetic equations, by exact value; see `stated_equations`."""
    return sum(equation.true for equation in stated) / len(stated) if stated else None


def formula_first(output: str, stated: Sequence[Equation]) -> float | None:
    """1 where a formula with names stands before the output's first arithmetic, else 0; only of outputs
    that calculate. Our own definition of "formula stated before it is used".
    """
    if not stated:
        return None
    formula = _FORMULA.search(undressed(output))
    return float(formula is not None and formula.start() < stated[0].at)


def prompt_copy(output: str, prompt: str) -> float:
    """Tokens inside a run of 3 or more that also stands in the prompt / tokens: the coverage of
    extractive fragments (Grusky et al. 2018, arXiv:1804.11283), fragments of at least 3 tokens.
    """
    said, shared = tokens_of(output), set(_ngrams(tokens_of(prompt), COPIED))
    copied = {
        index + offset
        for index, ngram in enumerate(_ngrams(said, COPIED))
        if ngram in shared
        for offset in range(COPIED)
    }
    return len(copied) / len(said) if said else 0.0


def rouge_l(output: str, reference: str) -> float:
    """ROUGE-L F1 = 2 · LCS / (tokens of output + tokens of reference) (Lin 2004)."""
    left, right = tokens_of(output), tokens_of(reference)
    return 2 * _common_subsequence(left, right) / (len(left) + len(right)) if left or right else 0.0


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Its length, with a bit for each token of `left` (Hyyrö 2004): a row is one step on whole integers."""
    places: dict[str, int] = {}
    for index, token in enumerate(left):
        places[token] = places.get(token, 0) | 1 << index
    everywhere = (1 << len(left)) - 1
    row = everywhere
    for token in right:
        matches = row & places.get(token, 0)
        row = (row + matches | row - matches) & everywhere
    return len(left) - row.bit_count()


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[index : index + n]) for index in range(len(tokens) - n + 1)]
