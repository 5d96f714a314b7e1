"""A trace as text, as tokens and as labels: the loss on the completion alone, EOS always learned.

The plain template is the original experiment's, prompt, steps and answer, a line each:

    What is 12 × 3?⏎                 prompt: what the model is given
    12 × 3 = 36⏎36<eos>              completion: what it learns to say, and to stop

Prompt and completion are tokenized apart and then joined, so that the model is trained on exactly the
prompt tokens that it is given in evaluation.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stagewise.config import Config, Training
from stagewise.data.traces import Item, Trace
from stagewise.errors import ModelError, TrainingError, listed
from stagewise.model.special_tokens import Where, filled_ids, text_ids

Tokens = NDArray[np.int32]
Table = NDArray[np.int64]
BLOCK = 50_000  # traces tokenized at once: their tokens are lists then, ten times as large as the arrays
IGNORED = -100  # the label that torch's cross entropy leaves out


class Template(NamedTuple):
    prompt: Callable[[Any, str], str]  # (tokenizer, prompt) → text given to the model
    completion: Callable[[Trace], str]
    strict: str  # the extraction that finds the answer where this template puts it


def _lines(trace: Trace, answer: str) -> str:
    return "\n".join([*(step.content for step in trace.steps), answer])


def _chat_prompt(tokenizer: Any, prompt: str) -> str:
    message = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))


TEMPLATES: Mapping[str, Template] = {
    "plain": Template(
        lambda _, prompt: f"{prompt}\n",
        lambda trace: _lines(trace, trace.final_answer),
        "last_line",
    ),
    "gsm8k": Template(
        lambda _, prompt: f"{prompt}\n",
        lambda trace: _lines(trace, f"#### {trace.final_answer}"),
        "gsm8k",
    ),
    "chat": Template(
        _chat_prompt,
        lambda trace: _lines(trace, trace.final_answer),
        "last_line",
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One training example as tokens: `ids[:prompt]` is given, `ids[prompt:]` is completion and EOS."""

    ids: Tokens | Sequence[int]
    prompt: int

    def labels(self, loss_on: str) -> list[int]:
        """One label a token; `IGNORED` where no loss is taken."""
        start = self.prompt if loss_on == "completion" else 0
        return [IGNORED] * start + [int(token) for token in self.ids[start:]]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The examples of one stage as arrays, which may lie on the disk: their tokens end to end."""

    ids: Tokens
    positions: Table
    """Of each example that is used its 0-based line in the stage's file, ascending."""
    ends: Table
    """Where its tokens end in `ids`."""
    prompts: Table
    """How many of them are prompt."""
    steps: Table
    """How many steps its trace has."""
    characters: Table
    """How many its steps and answer have, a line each."""
    dropped: int = 0
    truncated: int = 0

    @property
    def lengths(self) -> Table:
        """In tokens."""
        return np.diff(self.ends, prepend=0)

    @property
    def signals(self) -> dict[str, Table]:
        """What its difficulty may be measured by; tokens are those behind the prompt."""
        return {"steps": self.steps, "characters": self.characters, "tokens": self.lengths - self.prompts}

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Example]:
        return (self.example(position) for position in self.positions.tolist())

    def example(self, position: int) -> Example:
        """That of a line of the stage's file."""
        number = int(np.searchsorted(self.positions, position))
        if number == len(self) or self.positions[number] != position:
            raise KeyError(position)
        start = int(self.ends[number - 1]) if number else 0
        return Example(self.ids[start : int(self.ends[number])], int(self.prompts[number]))

    def of(self, positions: Table) -> Table:
        """Which of the examples stand at these lines."""
        return np.searchsorted(self.positions, positions)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Those of all stages, by (number of the stage, line of its file)."""

    stages: Sequence[Encoded]

    def __getitem__(self, key: tuple[int, int]) -> Example:
        return self.stages[key[0]].example(key[1])


def prompt_ids(tokenizer: Any, settings: Training, prompts: Sequence[str], where: Where) -> list[list[int]]:
    """The tokens that stand before a completion, BOS first where the tokenizer wants one. `where` names a prompt.

    Raises `DataError` for a prompt that spells a special token, unless that is to be text.
    """
    template, mode = TEMPLATES[settings.template], settings.special_tokens_in_text
    if settings.template == "chat":  # which writes its own BOS
        return filled_ids(tokenizer, partial(template.prompt, tokenizer), prompts, mode, where)
    start = _bos(tokenizer)
    texts = [template.prompt(tokenizer, prompt) for prompt in prompts]
    return [start + ids for ids in text_ids(tokenizer, texts, mode, where)]


def item_ids(tokenizer: Any, settings: Training, items: Sequence[Item]) -> list[list[int]]:
    """The tokens that the model is given for each eval item. Raises as `prompt_ids` does."""
    return prompt_ids(tokenizer, settings, [item.prompt for item in items], lambda i: f"eval item {items[i].id}")


def answering(tokenizer: Any, settings: Training) -> dict[str, Any]:
    """How a prompt is put to the trained model, for those who have the model and not this module: its tokens are
    `start` and those of `template` with the prompt in place of `{prompt}`; with `chat` the tokenizer's chat
    template makes the text. An answer as long as `max_length` is the longest that the model could have seen."""
    chat = settings.template == "chat"
    return {
        "template": TEMPLATES[settings.template].prompt(tokenizer, "{prompt}"),
        "chat": chat,
        "start": [] if chat else _bos(tokenizer),
        "max_new_tokens": settings.max_length,
    }


def _bos(tokenizer: Any) -> list[int]:
    """`[BOS]` if the tokenizer puts one before a text, else `[]`."""
    first = tokenizer("a")["input_ids"][:1]
    return first if first and first[0] == tokenizer.bos_token_id else []


def encode(traces: Sequence[Trace], tokenizer: Any, settings: Training, name: str) -> Encoded:
    """The traces of stage `name` as tokens, each ended by EOS.

    Raises `TrainingError` naming each trace over `max_length` under `too_long: error`, and each whose
    prompt leaves no room for a completion under `truncate`; `DataError` naming each that spells a special
    token, unless that is to be text; `ModelError` for a tokenizer without EOS.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no EOS token, so the model could not learn to stop; set eos_token in it")
    findings: list[str] = []
    starts = range(0, len(traces), BLOCK)
    blocks = [_encode_block(traces, start, tokenizer, settings, name, findings) for start in starts]
    if findings:
        raise TrainingError(
            f"{len(findings)} traces are longer than training.max_length {settings.max_length}; raise it, or set "
            f"training.too_long to drop or truncate\n{listed(findings)}"
        )
    encoded = _joined(blocks or [packed([], [], 0, 0)])
    _check_eos(encoded, tokenizer.eos_token_id)
    return encoded


def _encode_block(
    traces: Sequence[Trace], start: int, tokenizer: Any, settings: Training, name: str, findings: list[str]
) -> Encoded:
    """Those from `start` on; the tokenizer, which is Rust's, takes all cores for it. Adds to `findings`."""
    block, template, limit = traces[start : start + BLOCK], TEMPLATES[settings.template], settings.max_length

    def where(index: int) -> str:
        return f"stage {name}, source row {block[index].row}"

    prompts = prompt_ids(tokenizer, settings, [trace.prompt for trace in block], where)
    texts = [template.completion(trace) for trace in block]
    completions = text_ids(tokenizer, texts, settings.special_tokens_in_text, where)
    usable: list[tuple[list[int], int, int]] = []
    truncated, dropped = 0, 0
    for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        ids = [*prompt, *completion, tokenizer.eos_token_id]
        if len(ids) > limit and settings.too_long == "drop":
            dropped += 1
            continue
        if len(ids) > limit:
            if settings.too_long == "error" or len(prompt) > limit - 2:
                findings.append(f"{where(index)}: {len(ids)} tokens, {len(prompt)} of them prompt")
                continue
            ids = [*ids[: limit - 1], tokenizer.eos_token_id]
            truncated += 1
        usable.append((ids, start + index, len(prompt)))
    return packed(usable, [traces[position] for _, position, _ in usable], dropped, truncated)


def _joined(blocks: Sequence[Encoded]) -> Encoded:
    names = ("ids", "positions", "prompts", "steps", "characters")
    return Encoded(
        **{name: np.concatenate([getattr(block, name) for block in blocks]) for name in names},
        ends=np.cumsum(np.concatenate([block.lengths for block in blocks])),
        dropped=sum(block.dropped for block in blocks),
        truncated=sum(block.truncated for block in blocks),
    )


def packed(
    usable: Sequence[tuple[Sequence[int], int, int]], traces: Sequence[Trace], dropped: int, truncated: int
) -> Encoded:
    """Examples as arrays, from (tokens, position, tokens of the prompt) of each, and their traces."""
    table = np.array([[len(ids), *rest] for ids, *rest in usable], dtype=np.int64).reshape(-1, 3)
    return Encoded(
        ids=np.fromiter(itertools.chain.from_iterable(ids for ids, *_ in usable), dtype=np.int32),
        positions=table[:, 1].copy(),
        ends=np.cumsum(table[:, 0]),
        prompts=table[:, 2].copy(),
        steps=np.array([len(trace.steps) for trace in traces], dtype=np.int64),
        characters=np.array([len(_lines(trace, trace.final_answer)) for trace in traces], dtype=np.int64),
        dropped=dropped,
        truncated=truncated,
    )


def check_lengths(stages: Mapping[str, Encoded], positions: int | None) -> None:
    """Raises `TrainingError` where an example is longer than the `positions` that the model is made for."""
    if positions is None:
        return
    for name, stage in stages.items():
        longest = int(stage.lengths.argmax())
        if (length := int(stage.lengths[longest])) > positions:
            raise TrainingError(
                f"stage {name}, line {stage.positions[longest] + 1}: found {length} tokens, expected at most the "
                f"{positions} that the model is made for; set training.max_length to {positions}, and "
                "training.too_long to drop or truncate"
            )


def check_prompts(tokenizer: Any, config: Config, items: Sequence[Item], positions: int | None) -> None:
    """Raises `DataError` for an eval item that spells a special token, and `ModelError` for one that leaves the model
    no room for an answer: both before anything is trained."""
    settings = config.evaluation
    for item, ids in zip(items, item_ids(tokenizer, config.training, items), strict=True):
        if settings.server is None and positions is not None and len(ids) + settings.max_new_tokens > positions:
            raise ModelError(
                f"item {item.id}: {len(ids)} tokens and evaluation.max_new_tokens {settings.max_new_tokens} are more "
                f"than the {positions} that the model is made for"
            )


def _check_eos(encoded: Encoded, eos: int) -> None:
    """Holds for every example before anything is trained: EOS is last, and it is learned."""
    last = encoded.ids[encoded.ends - 1]
    if not ((last == eos) & (encoded.prompts < encoded.lengths)).all():
        raise AssertionError(f"an example does not end in a learned EOS: {encoded}")
