"""How checkpoints answer, how they are scored and compared, and when one becomes the champion."""

import re
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from stagewise.config.section import Name, Section, thing
from stagewise.own_code import short
from stagewise.registry import names

# The default chain, in its order: marked answers first, then formats, then assertions. A new extractor, matcher or
# measure stands in no default by itself, so it changes no study that does not name it.
EXTRACT = (
    *("gsm8k", "boxed", "inspect", "tagged", "answer_is", "option"),
    *("last_line", "emphasised", "yes_no", "restated", "statement", "last_number", "named"),
)
MEASURES = (
    *("tokens", "steps", "step_tokens", "answer_present", "eos", "cap_hit"),
    *("rep_4", "distinct_1", "distinct_2", "repeated_suffix", "compression"),
    *("equations", "equations_true", "formula_first"),
    *("lex_verification", "lex_backtracking", "lex_subgoal", "lex_backward"),
    *("prompt_copy", "topic_drift", "reference_rouge_l"),
)
NEEDED = ("tokens", "eos")  # which an eval run's own line and the report's first table have
MATCH = ("exact", "normalised", "number", "math_verify")
Extractor = Annotated[str, thing("extractor")]
Matcher = Annotated[str, thing("matcher")]
Measure = Annotated[str, thing("measure")]
TAKEN = ("flexible", "strict", "unscored", "near_ties")  # metrics of an eval run that are no measures
CHECKPOINT = "{checkpoint}"  # in a server's name of the model: the checkpoint's name


class Server(Section):
    """An OpenAI-compatible server (vLLM, SGLang, llama.cpp, …). Its key comes from the environment
    variable OPENAI_API_KEY only."""

    url: Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$")]
    """What stands before `/completions`, such as `http://127.0.0.1:8000/v1`; no name and password in it."""
    model: Annotated[str, Field(min_length=1)]
    """The name under which the server knows the checkpoint; `{checkpoint}` in it stands for the checkpoint's name, such
    as `flat-1-s42`. A study asks for all its checkpoints, so `main` wants it there; the entry point `eval`, which asks
    for one, does not. That the server has this checkpoint cannot be verified."""
    concurrency: Annotated[int, Field(strict=True, ge=1)] = 16
    """Requests under way at a time."""
    timeout: Annotated[float, Field(gt=0)] = 300.0
    """Seconds of silence after which a request has failed."""
    retries: Annotated[int, Field(strict=True, ge=0)] = 4
    """How often a request that failed is sent again: at once, then after 1, 2, 4, … seconds, or when the server's
    `Retry-After` says, `timeout` at most."""

    def model_of(self, checkpoint: str) -> str:
        return self.model.replace(CHECKPOINT, checkpoint)


class Evaluation(Section):
    engine: Literal["transformers", "openai"] = "transformers"
    """`transformers`: the checkpoint itself, in this process; `openai`: `server` answers."""
    server: Server | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the weights are converted to before they answer, and computed in; the same for every checkpoint, whatever
    it is held in. For engine `transformers` only."""
    batch_size: Annotated[int, Field(strict=True, ge=1)] = 64
    """Prompts answered at once; what a killed evaluation has answered is kept batch by batch."""
    max_new_tokens: Annotated[int, Field(strict=True, ge=1)] = 128
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end an answer, besides EOS; they are cut from the output."""
    samples_per_item: Annotated[int, Field(strict=True, ge=1)] = 1
    """Answers to each item. The first is the one that counts as right or wrong; all together give pass@k
    and majority@k."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 takes the likeliest token each time."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sampling is among the likeliest tokens that together have this probability."""
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    """Of sampling; each sample of each item has a seed of its own made from it."""
    extract: Annotated[tuple[Extractor, ...], Field(min_length=1)] = EXTRACT
    """Ways to find the answer in the output; the first that finds one decides. docs/scoring.md lists them; one of your
    own is `module:attribute`, imported from the config's folder first (docs/extending.md)."""
    match: Annotated[tuple[Matcher, ...], Field(min_length=1)] = MATCH
    """Ways in which an extracted answer may equal the expected one; likewise."""
    measures: tuple[Measure, ...] = MEASURES
    """Numbers that say how an output reasons; docs/scoring.md lists them. One of your own is `module:attribute`, and
    the attribute's name is the measure's."""
    traces_limit: Annotated[int, Field(strict=True, ge=0)] = 200
    """Items that become MLflow traces, by which the UI compares two checkpoints. Of more, so many are drawn with
    `seed`, the same for every checkpoint; 0 logs none. Predictions and metrics always have all items."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.engine == "openai") != (self.server is not None):
            raise ValueError("engine openai and a server belong together: give both or neither")
        if self.server is not None and self.precision != type(self).model_fields["precision"].default:
            raise ValueError(
                "precision applies to engine transformers only: leave it out with openai, which has its own"
            )
        called = [short(name) for name in self.measures]
        taken = [name for name in self.measures if name != short(name) and short(name) in (*names("measure"), *TAKEN)]
        if len(set(called)) != len(called) or taken:
            raise ValueError(f"measures: {', '.join(taken) or 'two'} would have another's name; rename the function")
        if missing := [name for name in NEEDED if name not in called]:
            raise ValueError(f"measures: {' and '.join(missing)} cannot be left out: every report has them")
        if self.samples_per_item > 1 and not self.temperature:
            raise ValueError("samples_per_item above 1 needs a temperature above 0, or all samples are equal")
        return self


class Primary(Section):
    """The one contrast that the study is about, fixed before it runs; all others are secondary."""

    arm: Name = "curriculum"
    against: Name = "shuffled"
    """`shuffled` is the control: it differs from `curriculum` only in order."""
    measure: Literal["flexible", "strict"] = "flexible"
    """Compared after the last phase, on the whole eval set."""


class Promotion(Section):
    """When a checkpoint may take the champion's place."""

    alias: Name = "champion"
    """Of the registered model's version; MLflow keeps `latest` and names such as `v1` for itself."""
    metric: Literal["flexible", "strict"] = "flexible"
    margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The challenger may be worse by so much, as a share of the items: the lower end of the 95 % interval of
    the paired difference (Tango 1998) must not lie below it. 0.05 takes 73 items where both answer alike, and more the
    more items they differ on; 0 takes a challenger that is better."""
    min: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The first champion has nothing to be held against: the lower end of the 95 % interval (Wilson 1927) of the share
    that it has right must not lie below this."""

    @field_validator("alias")
    @classmethod
    def _free(cls, alias: str) -> str:
        if alias == "latest" or re.fullmatch(r"v\d+", alias):
            raise ValueError("MLflow keeps this name for itself")
        return alias
