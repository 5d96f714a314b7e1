"""Answers to prompts, in batches, longest prompts first; what a killed run has answered is not asked again.

    engine = Decoder(loaded, settings, "select")
    answers = generate(engine, [Prompt("eval-001", "What is 12 × 3?\\n", [5, 17, 3], seed=0), …], 32, folder)
    Answer(text="12 × 3 = 36\\n36", tokens=11, finish_reason="stop", near_ties=0)

Batches are made from the whole list, so a prompt's batch does not depend on what was answered before.
Not every architecture can be decoded in every way; `selfcheck` finds the first in DECODING that is right:

    select       a batch, padded on the left; a row that has ended leaves it
    no_select    a batch whose rows stay until the last one has ended
    generate     the same, in the model's own `generate`
    one_by_one   the model's own `generate`, a prompt at a time
"""

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from transformers import DynamicCache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from stagewise.atomic import written
from stagewise.config import Evaluation
from stagewise.errors import ModelError
from stagewise.hashing import sha256
from stagewise.model import loading
from stagewise.model.loading import Loaded

Decoding = Literal["select", "no_select", "generate", "one_by_one"]
DECODING: tuple[Decoding, ...] = get_args(Decoding)
"""Cheapest first."""

# Two logits so many units in the last place apart may change places when a batch is summed in another order.
NEAR = 8


class Prompt(NamedTuple):
    item: str  # the id of the item, for messages
    text: str
    ids: Sequence[int]
    seed: int  # of this one answer, where it is sampled
    spells: bool = False  # a special token, which stands in `ids` as text and would be one again in `text`


@dataclass(frozen=True, slots=True)
class Answer:
    text: str  # without EOS, and without a stop text and what follows it
    tokens: int  # generated, EOS included
    finish_reason: str  # "stop": EOS or a stop text; "length": max_new_tokens was reached
    near_ties: int | None = 0  # tokens whose runner-up was as likely up to rounding; None: it is not known


Engine = Callable[[Sequence[Prompt]], list[Answer]]


def generate(
    engine: Engine,
    prompts: Sequence[Prompt],
    batch_size: int,
    folder: Path | None = None,
    on_batch: Callable[[int], None] = lambda count: None,
) -> list[Answer]:
    """One answer for each prompt, in the order given. Batches found in `folder` are taken from there, and
    each new one is kept there before the next is begun."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index].ids))
    answers: dict[int, Answer] = {}
    for number, start in enumerate(range(0, len(order), batch_size)):
        batch = order[start : start + batch_size]
        path = folder / f"{number:06d}.json" if folder else None
        made = _kept(path, batch)
        if made is None:
            made = engine([prompts[index] for index in batch])
            assert len(made) == len(batch), f"{len(batch)} prompts got {len(made)} answers"
            _keep(path, batch, made)
        answers.update(zip(batch, made, strict=True))
        on_batch(len(batch))
    return [answers[index] for index in range(len(prompts))]


def kept(folder: Path) -> int:
    """How many prompts `generate` finds answered in the folder."""
    return sum(len(json.loads(path.read_bytes())["prompts"]) for path in folder.glob("*.json"))


def _kept(path: Path | None, batch: list[int]) -> list[Answer] | None:
    if path is None or not path.is_file():
        return None
    found = json.loads(path.read_bytes())
    assert found["prompts"] == batch, f"{path} holds prompts {found['prompts']}, expected {batch}"
    return [Answer(*entry) for entry in found["answers"]]


def _keep(path: Path | None, batch: list[int], answers: list[Answer]) -> None:
    if path is None:
        return
    with written(path) as partial:
        partial.write_text(json.dumps({"prompts": batch, "answers": [astuple(answer) for answer in answers]}))


def seed_of(seed: int, item: str, sample: int) -> int:
    """The seed of one sample of one item: neither its batch nor its place in the list has a part in it."""
    return int(sha256(f"{seed}/{item}/{sample}".encode())[:8], 16) >> 1  # 31 bits: what servers take


def cut(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop text."""
    return text[: min([text.index(stopper) for stopper in stop if stopper in text], default=None)]


# --- in this process ----------------------------------------------------------------------------


@dataclass(slots=True)
class Row:
    """One prompt of a batch, and what the model has said to it."""

    prompt: Prompt
    draws: torch.Tensor  # in [0, 1), one for each token that may be sampled
    said: list[int] = field(default_factory=list)
    near_ties: int = 0
    ended: bool = False


class Decoder:
    """The engine of this process: the checkpoint itself, decoded in one of the ways above."""

    def __init__(self, loaded: Loaded, settings: Evaluation, decoding: Decoding) -> None:
        self.model, self.tokenizer = loaded
        self.settings, self.decoding = settings, decoding
        # Chat models have ends of their own in their generation config.
        more = self.model.generation_config.eos_token_id
        more = more if isinstance(more, list) else [more]
        self.ends = {self.tokenizer.eos_token_id, *(end for end in more if end is not None)}
        self.positions = loading.positions(self.model)

    def __call__(self, prompts: Sequence[Prompt]) -> list[Answer]:
        return [self._answer(row) for row in self.rows(prompts)]

    def rows(self, prompts: Sequence[Prompt]) -> list[Row]:
        """A row for each prompt, with the tokens that the model says."""
        rows = [self._row(prompt) for prompt in prompts]
        if self.decoding == "one_by_one":
            for row in rows:
                self._generate([row])
        elif self.decoding == "generate":
            self._generate(rows)
        else:
            self._decode(rows)
        return rows

    def _row(self, prompt: Prompt) -> Row:
        longest = len(prompt.ids) + self.settings.max_new_tokens
        if self.positions is not None and longest > self.positions:
            raise ModelError(
                f"item {prompt.item}: {len(prompt.ids)} tokens and evaluation.max_new_tokens "
                f"{self.settings.max_new_tokens} are more than the {self.positions} that the model is made for"
            )
        generator = torch.Generator().manual_seed(prompt.seed)
        return Row(prompt, torch.rand(self.settings.max_new_tokens, generator=generator))

    @torch.inference_mode()
    def _decode(self, rows: list[Row]) -> None:
        """Fills `said` of every row. `model.generate` would go on computing every row until the last one ends."""
        device, takes = self.model.device, inspect.signature(self.model.forward).parameters
        # Families that have only a recurrent state call their cache so; past padding is in it, and no mask wanted.
        recurrent = "cache_params" in takes
        cache = DynamicCache(config=self.model.config)
        feed, mask = (torch.tensor(values, device=device) for values in self._padded(rows))
        for step in range(self.settings.max_new_tokens):
            inputs = {"input_ids": feed, "cache_params" if recurrent else "past_key_values": cache, "use_cache": True}
            if not (recurrent and step):
                inputs["attention_mask"] = mask
            if "position_ids" in takes:
                inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -feed.shape[1] :]
            if "logits_to_keep" in takes:
                inputs["logits_to_keep"] = 1
            tokens = self._say(self.model(**inputs).logits[:, -1], rows)
            going = [index for index, row in enumerate(rows) if not row.ended]
            if not going:
                return
            if self.decoding == "select" and len(going) < len(rows):
                rows, keep = [rows[index] for index in going], torch.tensor(going, device=device)
                cache.reorder_cache(keep)  # its every layer has this, and it takes fewer rows than there were
                tokens, mask = tokens[keep], mask[keep]
            feed = tokens[:, None]
            mask = torch.cat([mask, torch.ones_like(feed)], dim=1)

    @torch.inference_mode()
    def _generate(self, rows: Sequence[Row]) -> None:
        """Fills `said` of every row by the model's own loop, which is told each token and when a row has ended."""
        device = self.model.device
        ids, mask = (torch.tensor(values, device=device) for values in self._padded(rows))

        def choose(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            chosen = self._say(logits, rows)
            return torch.full_like(logits, -torch.inf).scatter_(-1, chosen[:, None], 0.0)

        def ended(*_: Any, **__: Any) -> torch.Tensor:
            return torch.tensor([row.ended for row in rows], device=device)

        with alone(self.model):
            self.model.generate(
                ids,
                attention_mask=mask,
                generation_config=greedy(self.settings.max_new_tokens, self.tokenizer.pad_token_id),
                logits_processor=LogitsProcessorList([choose]),
                stopping_criteria=StoppingCriteriaList([ended]),
            )

    def _padded(self, rows: Sequence[Row]) -> Iterator[list[list[int]]]:
        """Token ids padded on the left, and which of them are real."""
        width = max(len(row.prompt.ids) for row in rows)
        yield [[self.tokenizer.pad_token_id] * (width - len(row.prompt.ids)) + list(row.prompt.ids) for row in rows]
        yield [[0] * (width - len(row.prompt.ids)) + [1] * len(row.prompt.ids) for row in rows]

    def _say(self, logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        """The next token of each row; what is said for a row that has ended counts for nothing."""
        going = [index for index, row in enumerate(rows) if not row.ended]
        if len(going) == len(rows):
            return self._next(logits, rows)
        tokens = torch.full_like(logits[:, 0], self.tokenizer.pad_token_id, dtype=torch.long)
        if going:  # on a GPU `generate` learns only later that all have ended
            tokens[going] = self._next(logits[going], [rows[index] for index in going])
        return tokens

    def _next(self, logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        """The next token of each row, which is told of it."""
        best, tokens = logits.max(dim=-1)
        # `generate` gives them as float32, whatever they were computed in.
        coarse = max(torch.finfo(logits.dtype).eps, torch.finfo(self.model.dtype).eps)
        slack = NEAR * coarse * best.abs()
        near = (logits >= (best - slack)[:, None]).sum(dim=-1) > 1
        if self.settings.temperature:
            draws = torch.stack([row.draws[len(row.said)] for row in rows]).to(logits.device)
            tokens = _sample(logits.float(), draws, self.settings.temperature, self.settings.top_p)
        # In one piece, since the GPU is waited for each time.
        said = torch.stack([tokens, near, best.isfinite()]).tolist()
        for row, token, is_near, is_finite in zip(rows, *said, strict=True):
            if not is_finite:
                raise ModelError(
                    f"item {row.prompt.item}: the model's logits are not finite at token {len(row.said) + 1} of the "
                    "answer; the checkpoint is broken, or its dtype too narrow"
                )
            row.said.append(token)
            row.near_ties += is_near
            row.ended = token in self.ends or self._stopped(row)
        return tokens

    def _stopped(self, row: Row) -> bool:
        if not self.settings.stop:
            return False
        text = self._text(row.said)
        return any(stopper in text for stopper in self.settings.stop)

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _answer(self, row: Row) -> Answer:
        said = row.said[:-1] if row.said[-1] in self.ends else row.said
        text = cut(self._text(said), self.settings.stop)
        return Answer(text, len(row.said), "stop" if row.ended else "length", row.near_ties)


def greedy(limit: int, pad: int, **more: Any) -> GenerationConfig:
    """`limit` tokens, the likeliest each time, with no end of its own."""
    return GenerationConfig(do_sample=False, max_new_tokens=limit, pad_token_id=pad, **more)


@contextmanager
def alone(model: Any) -> Iterator[None]:
    """The model without the generation config that it was published with (a temperature, a penalty, a cache of
    another kind): `generate` would fill ours up from it."""
    before, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before


def _sample(logits: torch.Tensor, draws: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """A token of each row from the smallest set of likeliest tokens that has `top_p` (Holtzman et al. 2020),
    where the row's draw falls in their cumulative probability."""
    probabilities, order = (logits / temperature).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=-1)
    last = (cumulative - probabilities < top_p).sum(dim=-1, keepdim=True) - 1
    wanted = draws[:, None] * cumulative.gather(-1, last)
    place = torch.searchsorted(cumulative, wanted, right=True).minimum(last)
    return order.gather(-1, place)[:, 0]
