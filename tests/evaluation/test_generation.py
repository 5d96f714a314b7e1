import gc
import os
import signal
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.models import FAMILIES, loaded
from helpers.processes import Process

from stagewise.config import Evaluation
from stagewise.errors import ModelError
from stagewise.evaluation.generation import DECODING, Answer, Decoder, Decoding, Prompt, generate, kept, seed_of

pytestmark = pytest.mark.numeric
IDS = [[5, 9, 3], [7], [11, 4, 6, 8, 2, 10, 3, 3], [12, 5], [9, 9, 9, 9, 9]]


def prompts(ids: Sequence[Sequence[int]] = IDS) -> list[Prompt]:
    return [Prompt(f"item-{i}", "", each, seed_of(0, f"item-{i}", 0)) for i, each in enumerate(ids)]


def settings(**changes: Any) -> Evaluation:
    return Evaluation(**({"max_new_tokens": 12} | changes))


def answers(
    made: Any,
    asked: Sequence[Prompt] | None = None,
    batch_size: int = 4,
    decoding: Decoding = "select",
    **changes: Any,
) -> list[Answer]:
    decoder = Decoder(made, settings(**changes), decoding)
    return generate(decoder, prompts() if asked is None else asked, batch_size)


def with_ends(made: Any, count: int) -> Any:
    """The model with more ends, tokens that it says often, so that rows end at different times."""
    made.model.generation_config.eos_token_id = list(range(1, 1 + count))
    return made


def mixed(seed: int) -> list[Prompt]:
    """16 prompts of 1 to 9 tokens."""
    generator = torch.Generator().manual_seed(seed)
    return prompts([torch.randint(2, 40, (1 + i % 9,), generator=generator).tolist() for i in range(16)])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_says_what_each_prompt_alone_says(family: str, seed: int) -> None:
    made = loaded(family, seed=seed)
    together = answers(made)
    assert together == answers(made, batch_size=1)
    assert len({answer.text for answer in together}) > 1  # or the model would say one thing whatever it is given


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(2))
def test_rows_that_end_leave_the_batch_and_the_others_say_the_same(family: str, seed: int) -> None:
    made = with_ends(loaded(family, seed=seed), 12)
    many = mixed(seed)
    together = answers(made, many, batch_size=16, max_new_tokens=24)
    assert together == answers(made, many, batch_size=1, max_new_tokens=24)
    assert len({answer.tokens for answer in together}) > 3


@pytest.mark.parametrize("decoding", DECODING)
def test_every_way_of_decoding_says_the_same(decoding: Decoding) -> None:
    made = with_ends(loaded("gpt2"), 12)
    asked: dict[str, Any] = {"stop": (made.tokenizer.decode([20]),), "max_new_tokens": 24}
    for changes in ({}, {"temperature": 1.0, "top_p": 0.9}):
        wanted = answers(made, mixed(0), batch_size=1, **asked, **changes)  # type: ignore[arg-type]
        assert answers(made, mixed(0), batch_size=16, decoding=decoding, **asked, **changes) == wanted
        assert len({answer.tokens for answer in wanted}) > 3


def test_a_models_own_generation_config_has_no_part_in_its_answers() -> None:
    made = loaded()
    wanted = answers(made)
    made.model.generation_config.do_sample = True
    made.model.generation_config.repetition_penalty = 5.0
    published = made.model.generation_config
    for decoding in DECODING:
        assert answers(made, decoding=decoding) == wanted
    assert made.model.generation_config is published


@pytest.mark.parametrize("decoding", ["generate", "one_by_one"])
def test_logits_that_are_no_numbers_are_one_line_in_the_models_own_loop_too(decoding: Decoding) -> None:
    made = loaded()
    with torch.no_grad():
        made.model.lm_head.weight[4] = float("nan")
    with pytest.raises(ModelError, match=r"item item-2: the model's logits are not finite at token 1 of the answer"):
        answers(made, decoding=decoding)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_says_what_transformers_says(family: str) -> None:
    made = loaded(family)
    for ids, answer in zip(IDS, answers(made), strict=True):
        output = made.model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=12, do_sample=False
        )
        said = output[0, len(ids) :].tolist()
        assert answer.tokens == len(said)
        assert answer.text == made.tokenizer.decode(said, skip_special_tokens=True)


def test_a_row_that_has_ended_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, widths, real = with_ends(loaded(), 12), list[int](), Decoder._next

    def counted(self: Decoder, logits: torch.Tensor, rows: Any) -> torch.Tensor:
        widths.append(len(logits))
        return real(self, logits, rows)

    monkeypatch.setattr(Decoder, "_next", counted)
    given = answers(made, batch_size=5)
    assert sum(widths) == sum(answer.tokens for answer in given)


def scripted(monkeypatch: pytest.MonkeyPatch, made: Any, script: Sequence[int]) -> None:
    said = iter(script)

    def forward(input_ids: torch.Tensor, **_: Any) -> Any:
        logits = torch.zeros(input_ids.shape[0], 1, len(made.tokenizer))
        logits[..., next(said)] = 9.0
        return SimpleNamespace(logits=logits)

    monkeypatch.setattr(made.model, "forward", forward)


def test_eos_ends_an_answer_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()
    ids = made.tokenizer("42")["input_ids"]
    scripted(monkeypatch, made, [*ids, made.tokenizer.eos_token_id, *ids])
    assert answers(made, prompts([[5]])) == [Answer("42", 3, "stop")]


def test_an_answer_without_end_says_length(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()
    scripted(monkeypatch, made, made.tokenizer("4242")["input_ids"])
    assert answers(made, prompts([[5]]), max_new_tokens=4) == [Answer("4242", 4, "length")]


def test_a_stop_text_is_cut_with_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()
    scripted(monkeypatch, made, made.tokenizer("42\nWhat")["input_ids"])
    assert answers(made, prompts([[5]]), stop=("2\nW", "\n")) == [Answer("42", 3, "stop")]


def test_a_near_tie_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()

    def forward(input_ids: torch.Tensor, **_: Any) -> Any:
        logits = torch.zeros(input_ids.shape[0], 1, len(made.tokenizer))
        logits[..., 7], logits[..., 8] = 9.0, 9.0 - 4e-6
        return SimpleNamespace(logits=logits)

    monkeypatch.setattr(made.model, "forward", forward)
    (answer,) = answers(made, prompts([[5]]))
    assert (answer.tokens, answer.near_ties) == (12, 12)


def test_a_stop_text_ends_real_generation() -> None:
    made = loaded()
    (free,) = answers(made, prompts([[5, 9, 3]]))
    assert len(free.text) > 2
    (stopped,) = answers(made, prompts([[5, 9, 3]]), stop=(free.text[2],))
    assert stopped.text == free.text[: free.text.index(free.text[2])]
    assert stopped.finish_reason == "stop"
    assert stopped.tokens < free.tokens


def test_every_prompt_has_its_answer_in_the_order_given() -> None:
    made, told = loaded(), list[int]()
    given = generate(Decoder(made, settings(), "select"), prompts(), 2, on_batch=told.append)
    assert told == [2, 2, 1]
    assert given[3] == answers(made, [prompts()[3]])[0]


# --- sampling -----------------------------------------------------------------------------------


def test_a_sample_depends_on_its_seed_and_on_neither_batch_nor_order() -> None:
    made, warm = loaded(), {"temperature": 1.0}
    given = answers(made, batch_size=5, **warm)  # type: ignore[arg-type]
    assert answers(made, prompts()[::-1], batch_size=2, **warm)[::-1] == given  # type: ignore[arg-type]
    other = [prompt._replace(seed=seed_of(0, prompt.item, 1)) for prompt in prompts()]
    assert answers(made, other, **warm) != given  # type: ignore[arg-type]
    assert answers(made) != given


def test_a_tiny_nucleus_is_greedy() -> None:
    made = loaded()
    assert answers(made, temperature=1.0, top_p=1e-6) == answers(made)


def test_samples_have_the_models_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()
    wanted = {3: 0.5, 4: 0.3, 5: 0.15, 6: 0.05}

    def forward(input_ids: torch.Tensor, **_: Any) -> Any:
        logits = torch.full((input_ids.shape[0], 1, len(made.tokenizer)), -1e9)
        for token, probability in wanted.items():
            logits[..., token] = 2 * torch.tensor(probability).log()  # temperature 2 halves it again
        return SimpleNamespace(logits=logits)

    def shares(top_p: float) -> dict[int, float]:
        decoder = Decoder(made, settings(max_new_tokens=1, temperature=2.0, top_p=top_p), "select")
        rows = [decoder._row(Prompt("", "", [5], seed)) for seed in range(4000)]
        decoder._decode(rows)
        said = [row.said[0] for row in rows]
        return {token: said.count(token) / len(said) for token in set(said)}

    monkeypatch.setattr(made.model, "forward", forward)
    everything = shares(1.0)
    assert everything.keys() == wanted.keys()
    assert all(abs(everything[token] - wanted[token]) < 0.03 for token in wanted)
    nucleus = shares(0.7)  # 0.5 is not enough, 0.8 is
    assert nucleus.keys() == {3, 4}
    assert abs(nucleus[3] - 0.625) < 0.03


# --- what cannot be answered --------------------------------------------------------------------


def test_logits_that_are_no_numbers_are_one_line() -> None:
    made = loaded()
    with torch.no_grad():
        made.model.lm_head.weight[4] = float("nan")
    with pytest.raises(ModelError, match=r"item item-2: the model's logits are not finite at token 1 of the answer"):
        answers(made)


def test_a_prompt_beyond_the_models_positions_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"item item-2: 8 tokens and evaluation.max_new_tokens 250 are more than the"):
        answers(loaded("gpt2"), max_new_tokens=250)


# --- resuming -----------------------------------------------------------------------------------


def killed_after_four(folder: Path) -> None:
    count = 0

    def kill(size: int) -> None:
        nonlocal count
        count += size
        if count >= 4:
            os.kill(os.getpid(), signal.SIGKILL)

    generate(Decoder(loaded(), settings(), "select"), prompts(), 2, folder, kill)


def test_after_a_kill_only_what_is_not_on_the_disk_is_asked(tmp_path: Path) -> None:
    with Process(killed_after_four, tmp_path) as process:
        process.wait()
    assert process.code == -signal.SIGKILL
    assert kept(tmp_path) == 4
    (tmp_path / "000002.partial").write_text('{"prom')  # as a kill in the middle of a write leaves it
    asked = []  # type: ignore[var-annotated]
    decoder = Decoder(loaded(), settings(), "select")

    def engine(batch: Sequence[Prompt]) -> list[Answer]:
        asked.extend(prompt.item for prompt in batch)
        return decoder(batch)

    given = generate(engine, prompts(), 2, tmp_path)
    assert asked == ["item-1"]  # the shortest, so the last
    assert given == generate(decoder, prompts(), 2)
    assert kept(tmp_path) == 5


def test_the_model_is_freed_with_its_engine() -> None:
    made = loaded()
    seen = weakref.ref(made.model)
    answers(made)
    del made
    gc.collect()
    assert seen() is None
