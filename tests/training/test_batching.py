import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
from helpers.models import FAMILIES, model
from helpers.rounding import UNITS, WRONG, apart

from stagewise.config import Compute, Training
from stagewise.model.device import set_up
from stagewise.model.templates import Example
from stagewise.training import attention, batching
from stagewise.training.batching import Batching

pytestmark = pytest.mark.numeric
VOCABULARY = 40
LAYOUTS = ("joined", "padded")


@pytest.fixture(scope="module")
def accelerator() -> Any:
    return set_up(Compute(device="cpu", threads=1))


def examples(count: int = 4) -> list[Example]:
    """Examples of lengths 8 to 15, the first quarter of each being prompt."""
    generator = torch.Generator().manual_seed(5)
    lengths = [8 + (position * 5) % 8 for position in range(count)]
    rows = [torch.randint(2, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    return [Example((*row[:-1], 1), len(row) // 4) for row in rows]


def of(layout: Any, limit: int = 10_000, loss_on: Literal["completion", "all"] = "completion") -> Batching:
    return Batching(layout, limit, loss_on, pad=0)


def gradients(family: str, chosen: Batching, accelerator: Any) -> tuple[float, int, list[torch.Tensor]]:
    made = model(family, VOCABULARY)
    with attention.attending(made):
        loss, count, _ = batching.backward(made, examples(), chosen, accelerator)
    return float(loss), count, [parameter.grad for parameter in made.parameters()]


def by_hand(family: str, loss_on: str) -> tuple[float, int, list[torch.Tensor]]:
    """Every example by itself through the model as transformers made it, token by token."""
    made, losses = model(family, VOCABULARY), []
    for example in examples():
        logits = made(input_ids=torch.tensor([example.ids])).logits[0]
        for position in range(example.prompt if loss_on == "completion" else 1, len(example.ids)):
            losses.append(-logits[position - 1].log_softmax(-1)[example.ids[position]])
    loss = torch.stack(losses).mean()
    loss.backward()
    return float(loss.detach()), len(losses), [parameter.grad for parameter in made.parameters()]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("loss_on", ["completion", "all"])
def test_neither_cut_nor_layout_changes_loss_or_gradient(family: str, loss_on: Any, accelerator: Any) -> None:
    loss, count, wanted = by_hand(family, loss_on)
    for layout in LAYOUTS:
        for size, limit in ((1, 1), (2, 30), (4, 10_000)):
            (batches,) = batching.micro_batches(examples(), of(layout, limit))
            assert [len(batch) for batch in batches] == [size] * (4 // size)
            found_loss, found_count, found = gradients(family, of(layout, limit, loss_on), accelerator)
            assert apart(found_loss, loss) < UNITS
            assert found_count == count
            assert all(apart(*pair) < UNITS for pair in zip(found, wanted, strict=True))


def leaked(made: Any, layout: str, accelerator: Any) -> float:
    """How far the loss of two examples lies from the losses of each by itself."""

    def loss(*batch: Example) -> float:
        with attention.attending(made), torch.no_grad():
            return float(batching.summed_loss(made, batch, of(layout), accelerator))

    first, second, *_ = examples()
    alone = loss(first) + loss(second)
    return max(apart(loss(first, second), alone), apart(loss(second, first), alone))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_example_does_not_change_the_loss_of_another(family: str, layout: str, accelerator: Any) -> None:
    assert leaked(model(family, VOCABULARY), layout, accelerator) < UNITS


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_twentieth_of_an_example_in_the_loss_of_another_is_seen(family: str, layout: str, accelerator: Any) -> None:
    made = model(family, VOCABULARY)
    embeddings = made.get_input_embeddings()
    embeddings.register_forward_hook(lambda module, ids, found: found + found.mean((0, 1)) / 20)
    assert leaked(made, layout, accelerator) > WRONG


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_that_reaches_into_the_next_example_is_seen(
    family: str, accelerator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole_row(*arguments: Any, lengths: Any = None, **options: Any) -> Any:
        return attention.sdpa_attention_forward(*arguments, **options)  # type: ignore[attr-defined]

    monkeypatch.setitem(attention.AttentionInterface._global_mapping, attention.ATTENTION, whole_row)  # type: ignore[attr-defined]
    assert leaked(model(family, VOCABULARY), "joined", accelerator) > WRONG


@pytest.mark.parametrize("layout", LAYOUTS)
def test_micro_batches_hold_every_example_once_within_the_limit(layout: str) -> None:
    given, chosen = examples(8), of(layout, 30)
    (batches,) = batching.micro_batches(given, chosen)
    assert ids(example for batch in batches for example in batch) == ids(given)
    assert all(len(batch) == 1 or chosen.computed(batch) <= 30 for batch in batches)
    assert len(batches) < len(given)


def ids(given: Any) -> Sequence[tuple[int, ...]]:
    return sorted(example.ids for example in given)


def test_joined_rows_hold_no_padding() -> None:
    assert of("joined").computed(examples()) == sum(len(example.ids) for example in examples())
    assert of("padded").computed(examples()) == 4 * max(len(example.ids) for example in examples())


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_are_joined_where_that_is_known_to_be_right(family: str, accelerator: Any) -> None:
    def layout(made: Any, **changes: Any) -> str:
        return Batching.of(made, 0, Training(batch_size=4, learning_rate=1e-3, **changes), accelerator).layout

    made = model(family, VOCABULARY)
    assert layout(made) == "joined"
    assert layout(made, torch_compile=True) == "padded"
    made.set_attn_implementation("eager")
    assert layout(made) == "padded"
    with attention.attending(made):
        assert made.config._attn_implementation == "eager"
    made.config.model_type = "mamba"
    assert layout(made) == "padded"


@pytest.mark.parametrize("family", FAMILIES)
def test_on_a_gpu_they_are_joined_where_one_kernel_computes_their_attention(family: str) -> None:
    def layout(made: Any, precision: Any = "bfloat16") -> str:
        settings = Training(batch_size=4, learning_rate=1e-3, precision=precision)
        return batching.fastest(made, settings, on_cpu=False, layouts=batching.LAYOUTS)

    made = model(family, VOCABULARY)
    assert (layout(made), layout(made, "float32")) == ("joined", "padded")
    name = "attn_pdrop" if family == "gpt2" else "attention_dropout"
    setattr(made.config, name, 0.1)  # the kernel would drop nothing, without a word
    assert layout(made) == "padded"
    setattr(made.config, name, 0.0)
    made.config.head_dim = attention.WIDEST + 8
    assert layout(made) == "padded"


def test_in_float32_a_gpu_goes_example_by_example_as_the_self_check_needs() -> None:
    gpu = torch.device("cuda")  # nothing is computed there
    narrow = dataclasses.replace(of("joined"), precision="bfloat16")
    assert batching._joined(examples(), of("joined"), gpu)[0]["lengths"] == [len(each.ids) for each in examples()]
    assert batching._joined(examples(), narrow, gpu)[0]["starts"].tolist()[-1] == sum(len(e.ids) for e in examples())


def test_one_at_a_time_each_example_goes_alone_and_gives_the_same(accelerator: Any) -> None:
    (batches,) = batching.micro_batches(examples(), of("single"))
    assert [len(batch) for batch in batches] == [1] * 4
    assert of("single").computed(examples()) == sum(len(example.ids) for example in examples())
    found, wanted = (gradients("llama", of(layout), accelerator) for layout in ("single", "padded"))
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    assert found[1] == wanted[1]


def test_a_model_that_computes_all_logits_gives_the_same_loss(accelerator: Any) -> None:
    """Some families have no `logits_to_keep`."""
    made = model("llama", VOCABULARY)
    for layout in batching.LAYOUTS:
        batch = examples()[:1] if layout == "single" else examples()
        with attention.attending(made), torch.no_grad():
            chosen = [float(batching.summed_loss(made, batch, of(layout), accelerator))]
            every = dataclasses.replace(of(layout), chooses=False)
            chosen.append(float(batching.summed_loss(made, batch, every, accelerator)))
        assert chosen[0] == pytest.approx(chosen[1], rel=1e-6)


def test_only_what_the_self_check_found_right_is_taken(accelerator: Any) -> None:
    made, settings = model("llama", VOCABULARY), Training(batch_size=4, learning_rate=1e-3)
    for layouts in (("padded", "single"), ("single",)):
        assert Batching.of(made, 0, settings, accelerator, layouts).layout == layouts[0]


def test_the_models_own_attention_comes_back() -> None:
    made = model("llama", VOCABULARY)
    with attention.attending(made):
        assert made.config._attn_implementation == attention.ATTENTION
    assert made.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_processes_share_every_example_and_take_as_many_micro_batches_each(layout: str) -> None:
    given, chosen = examples(7), of(layout, 30)
    shares = batching.micro_batches(given, chosen, processes=3)
    assert ids(example for share in shares for batch in share for example in batch) == ids(given)
    assert len({len(share) for share in shares}) == 1
    alone = batching.micro_batches(given[:1], chosen, processes=3)
    assert [share for share in alone if share != [[]]] == [[[given[0]]]]
