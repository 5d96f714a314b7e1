import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.families import wide
from helpers.models import loaded, tokenizer
from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicSlidingWindowLayer

from stagewise import self_check
from stagewise.config import Evaluation
from stagewise.errors import ModelError
from stagewise.evaluation.generation import Decoder, Prompt
from stagewise.hashing import canonical_json
from stagewise.model.loading import Loaded
from stagewise.self_check import Ways, check, found, trial
from stagewise.training import batching

SELECT = ("select", ("padded", "single"))
JOINED = ("select", ("joined", "padded", "single"))


def prompts(count: int = 12) -> list[Prompt]:
    generator = torch.Generator().manual_seed(7)
    ids = [torch.randint(3, len(tokenizer()), (1 + 2 * i % 13,), generator=generator).tolist() for i in range(count)]
    return [Prompt(f"{i}", "", each, 0) for i, each in enumerate(ids)]


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llama", JOINED),
        ("gpt2", JOINED),
        ("gemma2", SELECT),
        ("gemma3_text", SELECT),
        ("mamba", SELECT),
        ("mamba2", SELECT),
        ("falcon_mamba", SELECT),
        ("lfm2", SELECT),
        ("jamba", SELECT),
        ("qwen3_5_text", SELECT),
        ("minimax", ("generate", ("padded", "single"))),
        ("xlstm", ("one_by_one", ("padded", "single"))),
    ],
)
def test_a_family_is_run_in_the_cheapest_way_that_is_right(family: str, expected: Any, tmp_path: Path) -> None:
    made = Loaded(wide(family), tokenizer())
    ways = found(made, tmp_path, "cpu")
    assert (ways.decoding, ways.layouts) == expected
    assert found(made, tmp_path, "cpu") == ways == Ways.of(json.loads(canonical_json(ways.facts)))
    # And that way says what `generate` says to each prompt alone, rows ending at different times.
    said = Decoder(made, Evaluation(max_new_tokens=12), ways.decoding).rows(prompts())
    settings = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=1, pad_token_id=0)
    for row in said:
        output = made.model.generate(torch.tensor([row.prompt.ids]), generation_config=settings)
        assert row.said == output[0, len(row.prompt.ids) :].tolist()
    assert len({tuple(row.said) for row in said}) > 6


# --- what is not right is not used --------------------------------------------------------------


def test_rows_that_cannot_be_selected_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DynamicCache, "reorder_cache", lambda self, rows: None)
    ways = check(loaded())
    assert ways.decoding == "no_select"
    assert set(ways.rejected) == {"select"}


def test_a_cache_that_keeps_the_wrong_rows_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DynamicCache.reorder_cache
    monkeypatch.setattr(DynamicCache, "reorder_cache", lambda self, rows: real(self, rows.flip(0)))
    ways = check(loaded())
    assert (ways.decoding, ways.rejected) == ("no_select", {"select": "other tokens, or logits that are no numbers"})


class Batched(torch.nn.Module):
    """A norm over the batch: what a row gets depends on the rows beside it."""

    def __init__(self, learning: bool = False) -> None:
        super().__init__()
        self.learning = learning  # only while it learns

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        active = len(hidden) > 1 and (self.training or not self.learning)
        return hidden - hidden.mean(dim=0, keepdim=True) * active


def test_what_only_happens_in_training_is_noticed() -> None:
    made = loaded("gpt2")  # with dropout, which is no difference
    for part in made.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.3
    assert check(made).layouts == ("joined", "padded", "single")
    assert {part.p for part in made.model.modules() if isinstance(part, torch.nn.Dropout)} == {0.3}
    made.model.transformer.ln_f = torch.nn.Sequential(made.model.transformer.ln_f, Batched(learning=True))
    ways = check(made)
    assert (ways.decoding, ways.layouts) == ("select", ("joined", "single"))


def test_a_model_that_cannot_be_trained_is_refused_before_it_is() -> None:
    made = loaded()

    def refuse(model: Any, *_: Any) -> None:
        if model.training:
            raise ValueError("token_type_ids is required when training")

    made.model.register_forward_pre_hook(refuse)
    with pytest.raises(
        ModelError, match=r"no way to train it is right \(joined: ValueError: token_type_ids is required"
    ):
        check(made)


def test_a_model_whose_rows_depend_on_each_other_is_run_one_by_one() -> None:
    made = loaded()
    made.model.model.norm = torch.nn.Sequential(made.model.model.norm, Batched())
    ways = check(made)
    assert ways.decoding == "one_by_one"
    assert ways.layouts == ("joined", "single")  # joined is one row
    assert set(ways.rejected) == {"select", "no_select", "generate", "padded"}


def test_examples_that_see_each_other_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching.torch, "split", lambda tensor, lengths, dim: [tensor])  # type: ignore[attr-defined]
    ways = check(loaded())
    assert ways.layouts == ("padded", "single")
    assert ways.rejected["joined"].startswith("logits differ by")


def test_labels_of_other_tokens_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = batching._padded

    def shifted(*arguments: Any) -> Any:
        inputs, targets = real(*arguments)
        return inputs, targets.roll(1)

    monkeypatch.setattr(batching, "_padded", shifted)
    assert check(loaded()).layouts == ("joined",)


def test_what_only_shows_beyond_the_window_is_noticed_with_short_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DynamicSlidingWindowLayer.reorder_cache

    def broken(self: Any, rows: torch.Tensor) -> None:
        real(self, rows.flip(0) if self.cumulative_length > self.sliding_window else rows)

    made = Loaded(wide("gemma3_text", sliding_window=64), tokenizer())
    assert check(made).decoding == "select"
    monkeypatch.setattr(DynamicSlidingWindowLayer, "reorder_cache", broken)
    assert check(made).decoding == "no_select"
    assert made.model.config.sliding_window == 64
    assert {vars(part)["sliding_window"] for part in made.model.modules() if "sliding_window" in vars(part)} <= {
        64,
        None,
    }


@pytest.mark.parametrize(
    ("family", "own", "line"),
    [
        (
            "bert",
            {"is_decoder": False},
            r"^BertLMHeadModel: what it makes of a text changes with what follows \(logits",
        ),
        ("roberta", {}, r"^RobertaForCausalLM: its own generate disagrees with its forward pass over the same tokens"),
        ("recurrent_gemma", {}, r"^RecurrentGemmaForCausalLM: its own generate disagrees with its forward pass over"),
        ("blt", {}, r"^BltForCausalLM: cannot be run by itself: AttributeError: 'BltConfig' object has no attribute"),
    ],
)
def test_a_model_that_is_not_fit_is_refused_in_one_line(family: str, own: Any, line: str) -> None:
    with pytest.raises(ModelError, match=line) as caught:
        check(Loaded(wide(family, **own), tokenizer()))
    assert "\n" not in str(caught.value)


def test_a_model_that_changes_its_own_weights_is_refused() -> None:
    """RWKV scales some of them when it is evaluated; here by what no answer shows."""
    made = loaded()

    def scale(model: Any, *_: Any) -> None:
        model.lm_head.weight.data.mul_(1 + 1e-7)

    made.model.register_forward_hook(scale)
    with pytest.raises(
        ModelError, match=r"^LlamaForCausalLM: its forward pass changes its own weights, so it cannot be"
    ):
        check(made)


def test_where_no_way_is_right_the_line_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no such layout\nmore")

    monkeypatch.setattr(trial, "predicted", broken)
    with pytest.raises(
        ModelError, match=r"^LlamaForCausalLM: no way to train it is right \(joined: RuntimeError: no s"
    ):
        check(loaded())


def test_what_differs_once_may_be_an_experts_near_tie_and_is_tried_again() -> None:
    for seeds, right in (({0}, True), ({0, 1}, False), ({0, 2}, False), ({1, 2}, True)):
        tried = self_check._Tried(loaded())

        def difference(made: trial.Trial, seeds: set[int] = seeds, tried: Any = tried) -> float:
            (seed,) = (seed for seed, drawn in tried.drawn.items() if made in drawn)
            return float(seed in seeds)

        with trial.undisturbed(tried.loaded.model):
            assert tried.right("select", difference) == right
        assert ("select" in tried.rejected) != right


# --- the model is left as it was ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_model_and_random_numbers_are_left_as_they_were(dtype: torch.dtype, training: bool) -> None:
    made = Loaded(wide("gemma3_text", sliding_window=64).to(dtype).train(training), tokenizer())
    made.model.generation_config.temperature = 0.5
    tensors = {**dict(made.model.named_parameters()), **dict(made.model.named_buffers())}
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    random, published = torch.get_rng_state(), made.model.generation_config
    config = made.model.config.to_dict()
    assert check(made).decoding == "select"
    assert all(tensor.dtype == before[name].dtype for name, tensor in tensors.items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())
    assert all(part.training == training for part in made.model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert made.model.generation_config is published
    assert made.model.config.to_dict() == config
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_bfloat16_is_checked_without_its_rounding() -> None:
    narrow = Loaded(wide("llama").to(torch.bfloat16), tokenizer())
    assert max(check(narrow).differences.values()) < 1e-5


# --- kept ---------------------------------------------------------------------------------------


def test_the_result_is_kept_for_the_architecture_its_config_and_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def counted(made: Loaded) -> Ways:
        checked.append(made)
        return check(made)

    monkeypatch.setattr(self_check, "check", counted)
    first = found(loaded(), tmp_path, "cpu")
    assert found(loaded(seed=1), tmp_path, "cpu") == first  # other weights of the same kind
    assert len(checked) == 1
    other = loaded()
    other.model.config.rms_norm_eps = 1e-5
    found(other, tmp_path, "cpu")
    found(loaded("gpt2"), tmp_path, "cpu")
    monkeypatch.setattr(self_check, "deciding_versions", lambda kind: {"transformers": "6"})
    found(loaded(), tmp_path, "cpu")
    assert len(checked) == 4
    assert len(list((tmp_path / "selfcheck").iterdir())) == 4


def test_what_is_recorded_is_read_back() -> None:
    ways = check(Loaded(wide("minimax"), tokenizer()))
    assert Ways.of(json.loads(json.dumps(ways.facts))) == ways
    assert ways.taken == {"decoding": "generate", "layouts": ["padded", "single"]}
    assert ways.in_words == "decoding generate, training padded"
    assert [remark.split(" is not used: ")[0] for remark in ways.remarks] == [
        "MiniMaxForCausalLM: select",
        "MiniMaxForCausalLM: no_select",
    ]
