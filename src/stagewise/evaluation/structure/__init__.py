r"""How an output reasons, in numbers that follow from the text alone: no model, no judgement.

    measures("12 × 3 = 36\n36", prompt="What is 12 × 3?", expected="36", reference_steps=["12 × 3 = 36"],
             tokens=9, finish_reason="stop")
    ->  {"tokens": 9.0, "steps": 2.0, "equations": 1.0, "equations_true": 1.0, "eos": 1.0, …}

A loop is measured once, as a loop: `repeated_suffix`, `rep_4`, `distinct_*` and `compression` read the
output as it is, everything else reads it with the loop's repeats left out. A measure that has no value
for an item (the share of true equations where there is none) is absent, and no zero. docs/scoring.md
lists formulas and sources.
"""

from collections.abc import Mapping, Sequence

from stagewise import own_code
from stagewise.config.evaluation import MEASURES as DEFAULT
from stagewise.evaluation.structure.measures import MEASURES, Measure
from stagewise.evaluation.structure.response import Response

__all__ = ["DEFAULT", "MEASURES", "Measure", "Response", "measures"]


def measures(
    output: str,
    *,
    prompt: str,
    expected: str,
    reference_steps: Sequence[str] | None,
    tokens: int,
    finish_reason: str,
    measure: Sequence[str] | Mapping[str, Measure] = DEFAULT,
) -> dict[str, float]:
    """Each of these measures that has a value for this output, by its short name: `hedges` of `my_lab.style:hedges`."""
    response = Response(output, prompt, expected, reference_steps, tokens, finish_reason)
    asked = measure if isinstance(measure, Mapping) else MEASURES.chosen(measure)
    found = {own_code.short(name): each(response) for name, each in asked.items()}
    return {name: float(value) for name, value in found.items() if value is not None}
