"""Greedy answers to prompts, in batches, longest prompts first.

    answers = generate(loaded, [[5, 17, 3], …], settings, on_batch=bar.advance)
    Answer(text="12 × 3 = 36\\n36", tokens=11, finish_reason="stop")

Prompts are padded on the left, and sorted by length so that little is padded. Batches are made from the
whole list, so a prompt's batch does not depend on how the work is cut up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from stagewise.config import Evaluation
from stagewise.modeling import Loaded


@dataclass(frozen=True, slots=True)
class Answer:
    text: str  # without EOS, and without a stop text and what follows it
    tokens: int  # generated, EOS included
    finish_reason: str  # "stop": EOS or a stop text; "length": max_new_tokens was reached


def generate(
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    settings: Evaluation,
    on_batch: Callable[[int], None] = lambda count: None,
) -> list[Answer]:
    """One answer for each prompt (token ids), in the order given."""
    answers: dict[int, Answer] = {}
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for start in range(0, len(order), settings.batch_size):
        batch = order[start : start + settings.batch_size]
        answers.update(zip(batch, _generate_batch(loaded, [prompts[i] for i in batch], settings), strict=True))
        on_batch(len(batch))
    return [answers[index] for index in range(len(prompts))]


@torch.inference_mode()
def _generate_batch(loaded: Loaded, prompts: Sequence[Sequence[int]], settings: Evaluation) -> list[Answer]:
    model, tokenizer = loaded
    width = max(len(prompt) for prompt in prompts)
    ids = [[tokenizer.pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    ends = _eos(model, tokenizer)
    output = model.generate(
        input_ids=torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        # A config of our own: a model's may ask for sampling, or for another length.
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=settings.max_new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=tokenizer.pad_token_id,
            stop_strings=list(settings.stop) or None,
        ),
        tokenizer=tokenizer if settings.stop else None,
    )
    return [_answer(tokenizer, row[width:].tolist(), ends, settings.stop) for row in output]


def _eos(model: Any, tokenizer: Any) -> set[int]:
    """EOS of the tokenizer, and those that the model's own generation config adds (chat models have several)."""
    more = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(more if isinstance(more, list) else [more] if more is not None else [])}


def _answer(tokenizer: Any, ids: list[int], ends: set[int], stop: Sequence[str]) -> Answer:
    """Cuts what the batch's other rows added: everything after this row's first EOS or stop text."""
    end = next((index for index, token in enumerate(ids) if token in ends), None)
    said = ids if end is None else ids[:end]
    text = tokenizer.decode(said, skip_special_tokens=True)
    cuts = [text.index(stopper) for stopper in stop if stopper in text]
    if cuts:
        text = text[: min(cuts)]
        said = next(said[:count] for count in range(len(said) + 1) if _covers(tokenizer, said[:count], stop))
    ended = end is not None or bool(cuts)
    return Answer(text, len(said) + (end is not None and not cuts), "stop" if ended else "length")


def _covers(tokenizer: Any, ids: list[int], stop: Sequence[str]) -> bool:
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return any(stopper in text for stopper in stop)
