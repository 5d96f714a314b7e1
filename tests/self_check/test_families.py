"""docs/models.md holds what the self-check finds for every causal-LM family of the installed transformers."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from accelerate import Accelerator
from helpers import families
from helpers.models import tokenizer
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig

from stagewise.config import Evaluation
from stagewise.errors import ModelError
from stagewise.evaluation.generation import Decoder, Prompt
from stagewise.hashing import tensor_shapes
from stagewise.model import loading
from stagewise.model.loading import Loaded
from stagewise.model.templates import Example
from stagewise.self_check import check
from stagewise.training import attention, batching
from stagewise.training.batching import Batching

WRITTEN = families.DOCUMENT.read_text()
MADE = [each for each in families.families() if each not in families.UNMADE]


def test_every_family_of_the_installed_transformers_is_in_the_table() -> None:
    found = families.rows(WRITTEN)
    assert list(found) == families.families()
    assert families.document(found) == WRITTEN
    assert f"transformers {transformers.__version__}" in WRITTEN.replace("\n", " ")
    assert {name for name, line in found.items() if "not tried" in line} == families.UNMADE.keys()


@pytest.mark.slow
@pytest.mark.parametrize("family", families.families())
def test_a_family_is_as_the_table_says(family: str) -> None:
    assert families.row(family) == families.rows(WRITTEN)[family]


@pytest.mark.slow
@pytest.mark.parametrize("family", MADE)
def test_a_family_that_is_taken_answers_and_learns_as_transformers_says(family: str) -> None:
    """By itself, another draw of weights and prompts, and with nothing of the self-check but its verdict."""
    made = Loaded(families.wide(family, seed=1), tokenizer())
    try:
        ways = check(made)
    except ModelError:
        return  # refused, as the table says of the family
    generator = torch.Generator().manual_seed(11)
    ids = [torch.randint(3, len(made.tokenizer), (2 + 3 * i % 17,), generator=generator).tolist() for i in range(9)]
    prompts = [Prompt(f"{i}", "", each, 0) for i, each in enumerate(ids)]
    for row in Decoder(made, Evaluation(max_new_tokens=10), ways.decoding).rows(prompts):
        said, close = alone(made, row.prompt.ids)
        assert row.said[:close] == said[:close]
    examples = [Example((*each, 1), 1) for each in ids]
    wanted = sum(plain_loss(made.model, each) for each in examples)
    for layout in ways.layouts:
        batches = [[each] for each in examples] if layout == "single" else [examples]
        laid = Batching(layout, 1, "all", 0, chooses=batching.chooses_positions(made.model))
        accelerator = Accelerator(cpu=True)
        with torch.no_grad(), attention.attending(made.model):
            found = sum(float(batching.summed_loss(made.model, batch, laid, accelerator)) for batch in batches)
        assert found == pytest.approx(wanted, rel=1e-4), layout


FAST = ("llama", "glm4_moe", "minimax")  # without buffers, with a router's biases, with a decay's tables


@pytest.mark.parametrize(
    "family", [each if each in FAST else pytest.param(each, marks=pytest.mark.slow) for each in MADE]
)
def test_the_values_of_the_saved_files_are_parameters_and_buffers(family: str, tmp_path: Path) -> None:
    made = families.tiny(family)
    loading.save(Loaded(made, tokenizer()), tmp_path)
    shapes = [shape for path in tmp_path.glob("*.safetensors") for shape in tensor_shapes(path).values()]
    assert sum(map(math.prod, shapes)) == loading.parameters(made) + loading.buffers(made)


def alone(made: Loaded, ids: Any) -> tuple[list[int], int]:
    """What `generate` says to a prompt alone, and how many tokens of it no other token was as likely as."""
    settings = GenerationConfig(
        max_new_tokens=10,
        do_sample=False,
        eos_token_id=1,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    asked = torch.tensor([list(ids)])
    made.model.generation_config = GenerationConfig()
    output = made.model.generate(asked, attention_mask=torch.ones_like(asked), generation_config=settings)
    for number, (logits,) in enumerate(output.logits):
        first, second = logits.topk(2).values.tolist()
        if first - second < 1e-3 * logits.abs().max():
            return output.sequences[0, len(ids) :].tolist(), number
    return output.sequences[0, len(ids) :].tolist(), 10


def plain_loss(model: Any, example: Example) -> float:
    """Cross entropy of one example by itself, summed."""
    ids = torch.tensor([example.ids])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
    return float(cross_entropy(logits[:-1], ids[0, 1:], reduction="sum"))
