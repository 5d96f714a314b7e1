"""How checkpoints answer, how they are scored and compared, and when one becomes the champion."""

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from stagewise.config.section import Name, Section

# The names in scoring's registries, in their order; a test holds the two together. They stand here so that
# training, which reads this module too, does not depend on how answers are scored.
Extractor = Literal[
    "gsm8k",
    "boxed",
    "inspect",
    "tagged",
    "answer_is",
    "option",
    "last_line",
    "emphasised",
    "yes_no",
    "restated",
    "statement",
    "last_number",
    "named",
]
Matcher = Literal["exact", "normalised", "number", "math_verify"]
CHECKPOINT = "{checkpoint}"  # in a server's name of the model: the checkpoint's name


class Server(Section):
    """An OpenAI-compatible server (vLLM, SGLang, llama.cpp, …). Its key comes from the environment
    variable OPENAI_API_KEY alone."""

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
    it is held in. Of engine `transformers` alone."""
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
    extract: Annotated[tuple[Extractor, ...], Field(min_length=1)] = get_args(Extractor)
    """Ways to find the answer in the output; the first that finds one decides."""
    match: Annotated[tuple[Matcher, ...], Field(min_length=1)] = get_args(Matcher)
    """Ways in which an extracted answer may equal the expected one."""
    traces_limit: Annotated[int, Field(strict=True, ge=0)] = 200
    """Items that become MLflow traces, by which the UI compares two checkpoints. Of more, so many are drawn with
    `seed`, the same for every checkpoint; 0 logs none. Predictions and metrics always have all items."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.engine == "openai") != (self.server is not None):
            raise ValueError("engine openai and a server belong together: give both or neither")
        if self.server is not None and self.precision != type(self).model_fields["precision"].default:
            raise ValueError("precision is of engine transformers alone: leave it out with openai, which has its own")
        if self.samples_per_item > 1 and not self.temperature:
            raise ValueError("samples_per_item above 1 needs a temperature above 0, or all samples are equal")
        return self


class Primary(Section):
    """What the study is about, fixed before it runs: one contrast or several; all others are secondary."""

    arm: Name = "curriculum"
    against: Name = "shuffled"
    """`shuffled` is the control: it differs from `curriculum` in order alone."""
    also: tuple[tuple[Name, Name], ...] = ()
    """More primary contrasts, an arm and what it is held against: `[[baby_steps, baby_shuffled]]`. Of several, Holm's
    p decides on each."""
    measure: Literal["flexible", "strict"] = "flexible"
    """Compared after the last phase, on the whole eval set."""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All primary contrasts."""
        return tuple(dict.fromkeys(((self.arm, self.against), *self.also)))


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
