from typing import Any

import pytest
import torch
from models import FAMILIES, loaded

from stagewise.config import Evaluation
from stagewise.generation import generate

PROMPTS = [[5, 9, 3], [7], [11, 4, 6, 8, 2, 10, 3, 3], [12, 5], [9, 9, 9, 9, 9]]


def settings(**changes: Any) -> Evaluation:
    return Evaluation(**({"batch_size": 4, "max_new_tokens": 12} | changes))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_says_what_each_prompt_alone_says(family: str, seed: int) -> None:
    made = loaded(family, seed=seed)
    together = generate(made, PROMPTS, settings())
    assert together == generate(made, PROMPTS, settings(batch_size=1))
    assert len({answer.text for answer in together}) > 1  # or the model would say one thing whatever it is given


def scripted(monkeypatch: pytest.MonkeyPatch, made: Any, script: list[int]) -> None:
    def answer(input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        tail = torch.tensor([script] * input_ids.shape[0])
        return torch.cat([input_ids, tail], dim=1)

    monkeypatch.setattr(made.model, "generate", answer)


def test_eos_ends_an_answer_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()
    ids = made.tokenizer("42")["input_ids"]
    scripted(monkeypatch, made, [*ids, made.tokenizer.eos_token_id, *ids])
    (answer,) = generate(made, [[5]], settings())
    assert (answer.text, answer.tokens, answer.finish_reason) == ("42", 3, "stop")


def test_an_answer_without_end_says_length(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()
    scripted(monkeypatch, made, made.tokenizer("4242")["input_ids"])
    (answer,) = generate(made, [[5]], settings())
    assert (answer.text, answer.tokens, answer.finish_reason) == ("4242", 4, "length")


def test_a_stop_text_is_cut_with_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded()
    scripted(monkeypatch, made, made.tokenizer("42\nWhat")["input_ids"])
    (answer,) = generate(made, [[5]], settings(stop=("\n",)))
    assert (answer.text, answer.tokens, answer.finish_reason) == ("42", 3, "stop")


def test_a_stop_text_ends_real_generation() -> None:
    made = loaded()
    (free,) = generate(made, [[5, 9, 3]], settings())
    assert len(free.text) > 2
    (stopped,) = generate(made, [[5, 9, 3]], settings(stop=(free.text[2],)))
    assert stopped.text == free.text[: free.text.index(free.text[2])]
    assert stopped.finish_reason == "stop"
    assert stopped.tokens < free.tokens


def test_every_prompt_has_its_answer_in_the_order_given() -> None:
    made, told = loaded(), list[int]()
    answers = generate(made, PROMPTS, settings(batch_size=2), told.append)
    assert told == [2, 2, 1]
    assert answers[3] == generate(made, [PROMPTS[3]], settings())[0]
