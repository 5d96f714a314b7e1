"""How the examples of an optimizer step go through the model: laid end to end, in padded rows, or one at a time.

    batching = Batching("joined", limit=4096, loss_on="completion", pad=0)
    loss, loss_tokens, padding = backward(model, examples, batching, accelerator)

    joined   one row, positions restart      A B C D │ a b c │ x y     every position is a real token
    padded   a row each, longest decides     A B C D
                                             a b c ·                   · is computed and left out
    single   a row each, on its own          A B C D                   for a model that padding changes

`joined` attends within each example only (`attention`), and computes logits a chunk at a time (`head`). It wins on the
CPU, and on a GPU in bfloat16, which is what the attention kernel there takes. The gradient of a step is a sum over its
examples, so all give the same, and so does any cut. Which of them are right for a model, `self_check` finds by trying.
"""

import inspect
import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from stagewise.config import Training
from stagewise.model.templates import IGNORED, Example
from stagewise.training.attention import in_one_kernel, known
from stagewise.training.head import without_head

Layout = Literal["joined", "padded", "single"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
"""Fastest first."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How steps are cut and laid out."""

    layout: Layout
    limit: int  # tokens in a micro-batch, padding included
    loss_on: str  # completion, all
    pad: int  # any token id
    precision: str = "float32"  # of the matrix products: float32, bfloat16
    chooses: bool = True  # whether the model can compute logits of given positions only (`logits_to_keep`)

    @classmethod
    def of(
        cls, model: Any, pad: int, settings: Training, accelerator: Accelerator, layouts: Sequence[Layout] = LAYOUTS
    ) -> Self:
        layout = fastest(model, settings, accelerator.device.type == "cpu", layouts)
        limit, chooses = settings.micro_batch_tokens, chooses_positions(model)
        return cls(layout, limit, settings.loss_on, pad, settings.precision, chooses)

    def computed(self, batch: Sequence[Example]) -> int:
        """Tokens that go through the model, padding included."""
        lengths = [len(example.ids) for example in batch]
        return len(lengths) * max(lengths) if self.layout == "padded" else sum(lengths)

    def learned(self, example: Example) -> range:
        """The positions of the tokens that are learned. Nothing predicts the first, so it is never one of them."""
        return range(max(1, example.prompt) if self.loss_on == "completion" else 1, len(example.ids))


def fastest(model: Any, settings: Training, on_cpu: bool, layouts: Sequence[Layout]) -> Layout:
    """The fastest of `layouts`, which are right for the model, that suits device and settings. On the CPU compiled code
    would be made again for each list of joined lengths; on a GPU the attention of joined rows is one kernel or slow."""
    if not known(model):
        joined = False
    elif on_cpu:
        joined = not settings.torch_compile
    else:
        joined = settings.precision == "bfloat16" and in_one_kernel(model)
    return next(each for each in layouts if joined or each != "joined")


def chooses_positions(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def micro_batches(examples: Sequence[Example], batching: Batching, processes: int = 1) -> list[list[list[Example]]]:
    """For each process its share of the examples, in groups of at most `batching.limit` tokens; a longer one goes
    alone. Each has as many groups as the others, some of them empty: processes wait for each other at each."""
    # By length, so that the rows of a padded batch are of a kind and the processes have as much to do.
    ordered = sorted(examples, key=lambda example: len(example.ids))
    shares = [_cut(ordered[process::processes], batching) for process in range(processes)]
    most = max(len(share) for share in shares)
    return [share + [[] for _ in range(most - len(share))] for share in shares]


def _cut(examples: Sequence[Example], batching: Batching) -> list[list[Example]]:
    batches: list[list[Example]] = []
    for example in examples:
        fits = batches and batching.computed([*batches[-1], example]) <= batching.limit
        if fits and batching.layout != "single":
            batches[-1].append(example)
        else:
            batches.append([example])
    return batches


def backward(
    model: Any, examples: Sequence[Example], batching: Batching, accelerator: Accelerator
) -> tuple[torch.Tensor, int, int]:
    """Adds the gradient of the step's mean loss to the model.

    Returns that loss, on its device, its loss tokens, and the padding that was computed; all processes' together.
    """
    processes = accelerator.num_processes
    shares = micro_batches(examples, batching, processes)
    count = sum(len(batching.learned(example)) for example in examples)
    total = torch.zeros((), device=accelerator.device)
    own = shares[accelerator.process_index]
    for number, batch in enumerate(own):
        # An empty one takes part in what the processes do together, and adds nothing.
        summed = summed_loss(model, batch or examples[:1], batching, accelerator)
        # Gradients are averaged over the processes, and these are to be added.
        loss = summed / count * (processes if batch else 0)
        with nullcontext() if number == len(own) - 1 else accelerator.no_sync(model):
            accelerator.backward(loss)
        total += loss.detach()
    computed = sum(batching.computed(batch) for share in shares for batch in share if batch)
    padding = computed - sum(len(example.ids) for example in examples)
    return accelerator.reduce(total, "mean"), count, padding


def summed_loss(model: Any, batch: Sequence[Example], batching: Batching, accelerator: Accelerator) -> torch.Tensor:
    """Cross entropy summed over the loss tokens of a batch, in float32."""
    if batching.layout == "joined":
        with without_head(accelerator.unwrap_model(model)) as head:
            hidden, wanted = _forward(model, batch, batching, accelerator.device)
            with _precision(batching, accelerator.device):
                return head.summed_loss(hidden, wanted)
    logits, wanted = _forward(model, batch, batching, accelerator.device)
    return cross_entropy(logits.float(), wanted, ignore_index=IGNORED, reduction="sum")


def predicted(
    model: Any, batch: Sequence[Example], batching: Batching, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (positions, vocabulary) of a batch, and the token that each should predict, or IGNORED."""
    if batching.layout != "joined":
        return _forward(model, batch, batching, device)
    with without_head(model) as head:
        hidden, wanted = _forward(model, batch, batching, device)
        return head.logits(hidden), wanted


def _forward(
    model: Any, batch: Sequence[Example], batching: Batching, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model gives for a batch, a row for each position, and the token that each should predict, or IGNORED."""
    joined = batching.layout == "joined"
    inputs, targets = _joined(batch, batching, device) if joined else _padded(batch, batching)
    moved = {name: _on(device, value) for name, value in inputs.items()}
    later = None if batching.chooses else moved.pop("logits_to_keep")
    with _precision(batching, device):
        logits = model(**moved, use_cache=False).logits
    logits = logits if later is None else logits[:, later]
    return logits.flatten(0, 1), _on(device, targets)


def _precision(batching: Batching, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=batching.precision == "bfloat16")


def _on(device: torch.device, value: Any) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value


def _joined(batch: Sequence[Example], batching: Batching, device: torch.device) -> tuple[dict[str, Any], torch.Tensor]:
    """The inputs and targets of one row. The output layer is computed only where a token is learned: a large
    vocabulary makes it expensive."""
    lengths = [len(example.ids) for example in batch]
    starts = list(itertools.accumulate(lengths, initial=0))
    learned = [
        start + position
        for start, example in zip(starts, batch, strict=False)
        for position in batching.learned(example)
    ]
    ids = torch.tensor([token for example in batch for token in example.ids])
    places = torch.tensor(learned)
    inputs: dict[str, Any] = {
        "input_ids": ids[None],
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "logits_to_keep": places - 1,
    }
    if device.type == "cpu" or batching.precision == "float32":
        inputs["lengths"] = lengths
    else:
        # A power of two, so that compiled code meets few of them.
        inputs |= {"starts": torch.tensor(starts, dtype=torch.int32), "longest": 1 << (max(lengths) - 1).bit_length()}
    return inputs, ids[places]


def _padded(batch: Sequence[Example], batching: Batching) -> tuple[dict[str, Any], torch.Tensor]:
    """Inputs and targets of rows padded on the right; logits from the first position on that has a loss."""
    width = max(len(example.ids) for example in batch)
    ids = torch.full((len(batch), width), batching.pad)
    targets = torch.full((len(batch), width), IGNORED)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        learned = batching.learned(example)
        targets[row, learned.start : learned.stop] = ids[row, learned.start : learned.stop]
    first = min(batching.learned(example).start for example in batch)
    return {"input_ids": ids, "logits_to_keep": torch.arange(first - 1, width - 1)}, targets[:, first:].flatten()
