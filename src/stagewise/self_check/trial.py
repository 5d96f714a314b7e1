"""A few prompts, what a model says to each by itself, and how far other ways of computing the same are from that.

with undisturbed(loaded.model):
    trial = Trial.of(loaded, seed=0, width=None)
    trial.measured(lambda made: made.decoded("select"))     # 3e-07 of the largest logit: rounding
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch

from stagewise.config import Evaluation
from stagewise.errors import ModelError
from stagewise.evaluation.generation import Decoder, Decoding, Prompt, Row, alone, greedy
from stagewise.model.loading import Loaded, positions
from stagewise.model.special_tokens import special_tokens
from stagewise.model.templates import IGNORED, Example
from stagewise.training.attention import attending
from stagewise.training.batching import Batching, Layout, chooses_positions, predicted

TOLERANCE = 1e-4
"""The largest difference of two logits that is rounding, as a share of the largest logit beside them."""
LENGTHS = (9, 1, 23, 4, 14)
"""Tokens of the prompts, in the order of the batch."""
SPOKEN = 12
"""Tokens that are said to each prompt."""
WINDOWS = ("sliding_window", "attention_chunk_size")


# --- the model, undisturbed ---------------------------------------------------------------------


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """The model in evaluation mode, in float32 and without its own generation config; after it as it was."""
    training, device = model.training, model.device
    tensors = [*model.parameters(), *model.buffers()]
    narrow = [(tensor, tensor.dtype) for tensor in tensors if tensor.is_floating_point() and tensor.itemsize < 4]
    with alone(model), torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            model.eval()
            for tensor, _ in narrow:
                tensor.data = tensor.data.float()
            yield
        finally:
            for tensor, dtype in narrow:
                tensor.data = tensor.data.to(dtype)  # exact: it was widened
            model.train(training)


def checksums(model: Any) -> list[int]:
    """A number for the bits of each weight."""
    flat = (weight.detach().flatten() for weight in model.parameters())
    return [int(each.view(torch.int32 if each.itemsize % 4 == 0 else torch.uint8).sum()) for each in flat]


def windows(model: Any) -> dict[str, int]:
    config = model.config.get_text_config(decoder=True)
    return {name: value for name in WINDOWS if isinstance(value := getattr(config, name, None), int)}


@contextmanager
def windowed(model: Any, width: int | None) -> Iterator[None]:
    """The model with sliding windows of this width; as it is, if None."""
    wide = windows(model) if width is not None else {}
    holders = [(model.config.get_text_config(decoder=True), name) for name in wide]
    holders += [(part, name) for part in model.modules() for name in wide if vars(part).get(name) == wide[name]]
    for holder, name in holders:
        setattr(holder, name, width)
    try:
        yield
    finally:
        for holder, name in holders:
            setattr(holder, name, wide[name])


# --- what is held against what ------------------------------------------------------------------


class Trial(NamedTuple):
    """Prompts, and what the model says to each by itself. The methods give the largest difference of any logits."""

    loaded: Loaded
    width: int | None  # of sliding windows, where they are narrowed
    prompts: list[Prompt]
    spoken: list[list[int]]  # by `model.generate`
    logits: list[torch.Tensor]  # of each prompt: (tokens, vocabulary), before each token that is said
    whole: list[torch.Tensor]  # of each prompt and what is said to it: (positions, vocabulary), by one forward pass

    @classmethod
    def of(cls, loaded: Loaded, seed: int, width: int | None) -> Self:
        """Raises `ModelError` where the model cannot say anything by itself."""
        prompts, name = _prompts(loaded, seed), type(loaded.model).__name__
        with torch.inference_mode(), windowed(loaded.model, width):
            try:
                said = [_generated(loaded, prompt.ids) for prompt in prompts]
                texts = [[*prompt.ids, *tokens] for prompt, (tokens, _) in zip(prompts, said, strict=True)]
                whole = [_forward(loaded.model, ids) for ids in texts]
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # of any kind: it is the model's code
                raise ModelError(f"{name}: cannot be run by itself: {reason(error)}") from error
        made = cls(loaded, width, prompts, [tokens for tokens, _ in said], [logits for _, logits in said], whole)
        if not all(bool(logits.isfinite().all()) for logits in [*made.logits, *made.whole]):
            raise ModelError(f"{name}: its logits are not finite; the checkpoint is broken")
        return made

    def measured(self, difference: Callable[["Trial"], float]) -> float:
        with torch.inference_mode(), windowed(self.loaded.model, self.width):
            return difference(self)

    def prefixes(self) -> float:
        """Of the prompts alone and with what follows."""
        pairs = zip(self.prompts, self.whole, strict=True)
        return max(_difference(_forward(self.loaded.model, each.ids), whole[: len(each.ids)]) for each, whole in pairs)

    def itself(self) -> float:
        """Of `model.generate`, step by step, and of one forward pass."""
        pairs = zip(self.logits, self.whole, strict=True)
        return max(_difference(steps, whole[-len(steps) - 1 : -1]) for steps, whole in pairs)

    def decoded(self, way: Decoding) -> float:
        """Of the decoder, made to say what the model said by itself, each prompt fewer tokens than the one before."""
        settings, count = Evaluation(max_new_tokens=len(self.spoken[0])), len(self.prompts)
        lengths = [max(1, len(said) * (count - place) // count) for place, said in enumerate(self.spoken)]
        script = {p.item: said[:length] for p, said, length in zip(self.prompts, self.spoken, lengths, strict=True)}
        told = _Told(self.loaded, settings, way, script)
        told.rows(self.prompts)
        free = Decoder(self.loaded, settings, way)
        free.ends = {said[-1] for said in script.values()}
        for place, row in enumerate(free.rows(self.prompts)):
            if not self._follows(row, place, free.ends):
                return torch.inf
        seen = [torch.stack(told.seen[prompt.item]) for prompt in self.prompts]
        return max(_difference(one, other[: len(one)]) for one, other in zip(seen, self.logits, strict=True))

    def _follows(self, row: Row, place: int, ends: set[int]) -> bool:
        """Whether the row says what it should, up to its end or to the first token that another is as likely as."""
        for index, (token, logits) in enumerate(zip(self.spoken[place], self.logits[place], strict=True)):
            first, second = logits.topk(2).values.tolist()
            if first - second <= 2 * TOLERANCE * float(logits.abs().max()):
                return True
            if row.said[index : index + 1] != [token]:
                return False
            if token in ends:
                return row.ended and len(row.said) == index + 1
        return not row.ended

    def laid_out(self, layout: Layout) -> float:
        """Of all tokens that are learned, laid out as in training, and of each example alone."""
        pairs = zip(self.prompts, self.spoken, strict=True)
        examples = [Example((*prompt.ids, *said), len(prompt.ids)) for prompt, said in pairs]
        wanted = torch.cat([each[:-1] for each in self.whole])
        with attending(self.loaded.model):
            logits, targets = self._predicted(examples, layout)
            with _learning(self.loaded.model):
                once, again = (self._predicted(examples, layout)[0] for _ in range(2))
        if targets != [token for example in examples for token in example.ids[1:]]:
            return torch.inf
        # Some mixtures of experts choose at random while they are trained: that is as it should be.
        trained = [once] if torch.equal(once, again) else []
        return max(_difference(each, wanted) for each in [logits, *trained])

    def _predicted(self, examples: list[Example], layout: Layout) -> tuple[torch.Tensor, list[int]]:
        """Logits (positions, vocabulary) of the tokens that are learned, and these tokens."""
        model = self.loaded.model
        batching = Batching(layout, 1, "all", self.loaded.tokenizer.pad_token_id, chooses=chooses_positions(model))
        batches = [[example] for example in examples] if layout == "single" else [examples]
        made = [predicted(model, batch, batching, model.device) for batch in batches]
        logits, targets = (torch.cat(parts) for parts in zip(*made, strict=True))
        learned = targets != IGNORED
        return logits[learned].float(), targets[learned].tolist()


@contextmanager
def _learning(model: Any) -> Iterator[None]:
    """The model as it is trained, but for its dropout."""
    dropping = [
        (part, name, value)
        for part in model.modules()
        for name, value in vars(part).items()
        if isinstance(value, float) and ("drop" in name or (name == "p" and isinstance(part, torch.nn.Dropout)))
    ]
    for part, name, _ in dropping:
        setattr(part, name, 0.0)
    model.train()
    try:
        yield
    finally:
        model.eval()
        for part, name, value in dropping:
            setattr(part, name, value)


class _Told(Decoder):
    """The decoder, made to say what it is told; it keeps the logits before each token."""

    def __init__(
        self, loaded: Loaded, settings: Evaluation, way: Decoding, script: Mapping[str, Sequence[int]]
    ) -> None:
        super().__init__(loaded, settings, way)
        self.script = script
        self.seen: dict[str, list[torch.Tensor]] = {item: [] for item in script}

    def _next(self, logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        for row, line in zip(rows, logits, strict=True):
            script = self.script[row.prompt.item]
            self.seen[row.prompt.item].append(line.float())
            row.said.append(script[len(row.said)])
            row.ended = len(row.said) == len(script)
        return torch.tensor([row.said[-1] for row in rows], device=logits.device)


def reason(error: Exception) -> str:
    """What went wrong, as part of a line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, ModelError) else f"{type(error).__name__}: {first}"


def _prompts(loaded: Loaded, seed: int) -> list[Prompt]:
    """Of tokens drawn from those that are plain text, the same for every model with as many of them."""
    others = {*special_tokens(loaded.tokenizer), loaded.tokenizer.unk_token_id}
    plain = torch.tensor([token for token in range(len(loaded.tokenizer)) if token not in others])
    limit = positions(loaded.model)
    longest = max(LENGTHS) if limit is None else min(max(LENGTHS), limit // 2)
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(len(plain), (min(length, longest),), generator=generator) for length in LENGTHS]
    return [Prompt(f"{place}", "", plain[each].tolist(), 0) for place, each in enumerate(drawn)]


def _generated(loaded: Loaded, ids: Sequence[int]) -> tuple[list[int], torch.Tensor]:
    """What `model.generate` says to this prompt alone, and its logits before each token."""
    model, tokenizer = loaded
    limit = positions(model)
    count = SPOKEN if limit is None else min(SPOKEN, limit // 2)
    asked = torch.tensor([list(ids)], device=model.device)
    settings = greedy(count, tokenizer.pad_token_id, output_logits=True, return_dict_in_generate=True)
    output = model.generate(asked, attention_mask=torch.ones_like(asked), generation_config=settings)
    return output.sequences[0, len(ids) :].tolist(), torch.cat(output.logits)


def _forward(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """Logits (positions, vocabulary) of one text by itself."""
    logits: torch.Tensor = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False).logits
    return logits[0].float()


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference in any row, as a share of the row's largest logit; infinite for what is no number."""
    share = (found - expected).abs().amax(-1) / expected.abs().amax(-1)
    return float(share.nan_to_num(nan=torch.inf).max())
