"""What the measures of trace structure are called, and within what they lie."""

from stagewise.evaluation.structure.lexicon import WORDS

NAMES = (
    *("tokens", "eos", "cap_hit", "answer_present", "steps", "step_tokens"),
    *("rep_4", "distinct_1", "distinct_2", "repeated_suffix", "compression"),
    *("equations", "equations_true", "formula_first"),
    *(f"lex_{behaviour}" for behaviour in WORDS),
    *("prompt_copy", "reference_rouge_l", "topic_drift"),
)
RATES = ("eos", "cap_hit", "answer_present", "formula_first", "topic_drift")  # 0 or 1 for an item
# From 0 to 1 for an item; every other measure is 0 or more.
SHARES = ("rep_4", "distinct_1", "distinct_2", "repeated_suffix", "equations_true", "prompt_copy", "reference_rouge_l")
