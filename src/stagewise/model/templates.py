"""A trace as text, as tokens and as labels: the loss on the completion only, EOS always learned.

The plain template is the original experiment's, prompt, steps and answer, a line each:

    What is 12 × 3?⏎                 prompt: what the model is given
    12 × 3 = 36⏎36<eos>              completion: what it learns to say, and to stop

Prompt and completion are tokenized apart and then joined, so that the model is trained on exactly the
prompt tokens that it is given in evaluation.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from stagewise.config import Config, Training
from stagewise.data.traces import Item, Trace
from stagewise.errors import ModelError, TrainingError, listed
from stagewise.model.special_tokens import Where, filled_ids, text_ids

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


@dataclass(frozen=True, slots=True)
class Example:
    """One training example as tokens: `ids[:prompt]` is given, `ids[prompt:]` is completion and EOS."""

    ids: tuple[int, ...]
    prompt: int

    def labels(self, loss_on: str) -> list[int]:
        """One label a token; `IGNORED` where no loss is taken."""
        start = self.prompt if loss_on == "completion" else 0
        return [IGNORED] * start + list(self.ids[start:])


@dataclass(frozen=True, slots=True)
class Encoded:
    """The examples of one stage, by (stage, line of its file)."""

    usable: Mapping[tuple[str, int], Example]
    dropped: int
    truncated: int


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
    template = TEMPLATES[settings.template]

    def where(index: int) -> str:
        return f"stage {name}, source row {traces[index].row}"

    prompts = prompt_ids(tokenizer, settings, [trace.prompt for trace in traces], where)
    texts = [template.completion(trace) for trace in traces]
    completions = text_ids(tokenizer, texts, settings.special_tokens_in_text, where)
    usable: dict[tuple[str, int], Example] = {}
    findings, truncated, dropped, limit = [], 0, 0, settings.max_length
    for position, (trace, prompt, completion) in enumerate(zip(traces, prompts, completions, strict=True)):
        ids = [*prompt, *completion, tokenizer.eos_token_id]
        if len(ids) > limit and settings.too_long == "drop":
            dropped += 1
            continue
        if len(ids) > limit:
            if settings.too_long == "error" or len(prompt) > limit - 2:
                findings.append(
                    f"stage {name}, source row {trace.row}: {len(ids)} tokens, {len(prompt)} of them prompt"
                )
                continue
            ids = [*ids[: limit - 1], tokenizer.eos_token_id]
            truncated += 1
        usable[name, position] = Example(tuple(ids), len(prompt))
    if findings:
        raise TrainingError(
            f"{len(findings)} traces are longer than training.max_length {limit}; raise it, or set "
            f"training.too_long to drop or truncate\n{listed(findings)}"
        )
    _check_eos(usable.values(), tokenizer.eos_token_id, settings.loss_on)
    return Encoded(usable, dropped, truncated)


def check_lengths(stages: Mapping[str, Encoded], positions: int | None) -> None:
    """Raises `TrainingError` where an example is longer than the `positions` that the model is made for."""
    if positions is None:
        return
    for stage in stages.values():
        (name, position), example = max(stage.usable.items(), key=lambda item: len(item[1].ids))
        if len(example.ids) > positions:
            raise TrainingError(
                f"stage {name}, line {position + 1}: found {len(example.ids)} tokens, expected at most the {positions} "
                f"that the model is made for; set training.max_length to {positions}, and training.too_long to drop or "
                "truncate"
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


def _check_eos(examples: Iterable[Example], eos: int, loss_on: str) -> None:
    """Holds for every example before anything is trained: EOS is last, and it is learned."""
    for example in examples:
        if not (example.ids[-1] == eos == example.labels(loss_on)[-1]):
            raise AssertionError(f"an example does not end in a learned EOS: {example}")
