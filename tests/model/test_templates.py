from typing import Any

import pytest
from helpers.models import tokenizer

from stagewise.config import Training
from stagewise.data.traces import Step, Trace, parse_traces, trace_line
from stagewise.errors import ModelError, TrainingError
from stagewise.model.templates import IGNORED, encode, prompt_ids


def trace(prompt: str = "What is 1+2?", steps: tuple[str, ...] = ("1+2=3",), answer: str = "3") -> Trace:
    line = trace_line(prompt, [Step("s", step) for step in steps], answer, {"category": "x"})
    return parse_traces(line, "test").rows[0]


def settings(**changes: Any) -> Training:
    return Training(batch_size=1, learning_rate=1e-3, **changes)


@pytest.mark.parametrize("template", ["plain", "gsm8k"])
@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_the_loss_is_on_the_completion_and_its_eos(template: str, kind: str) -> None:
    words = tokenizer(kind)
    ending = "#### 3" if template == "gsm8k" else "3"
    (example,) = encode([trace()], words, settings(template=template), "a")
    assert words.decode(example.ids) == f"What is 1+2?\n1+2=3\n{ending}<eos>"
    labels = example.labels("completion")
    learned = [label for label in labels if label != IGNORED]
    assert words.decode(learned) == f"1+2=3\n{ending}<eos>"
    assert labels[: example.prompt] == [IGNORED] * example.prompt
    assert example.labels("all") == list(example.ids)


def test_a_chat_template_is_the_tokenizers_own() -> None:
    words = tokenizer()
    words.chat_template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}= {% endif %}"
    )
    (example,) = encode([trace()], words, settings(template="chat"), "a")
    assert words.decode(example.ids[example.prompt :]) == "1+2=3\n3<eos>"
    assert words.decode(example.ids[: example.prompt]).endswith("= ")


def test_evaluation_gives_the_very_tokens_that_training_gave() -> None:
    words = tokenizer("bpe")
    (example,) = encode([trace()], words, settings(), "a")
    assert prompt_ids(words, settings(), ["What is 1+2?"], str) == [list(example.ids[: example.prompt])]


def test_eos_is_learned_also_where_padding_is_eos() -> None:
    words = tokenizer()
    words.pad_token = words.eos_token
    (example,) = encode([trace()], words, settings(), "a")
    assert example.labels("completion")[-1] == words.eos_token_id


def test_bos_stands_before_the_prompt_where_the_tokenizer_puts_one() -> None:
    from tokenizers.processors import TemplateProcessing

    words = tokenizer()
    words.add_special_tokens({"bos_token": "<bos>"})
    words.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", words.bos_token_id)]
    )
    (example,) = encode([trace()], words, settings(), "a")
    assert example.ids[0] == words.bos_token_id
    assert list(example.ids).count(words.bos_token_id) == 1


def test_a_trace_that_is_too_long_is_named_with_what_to_do() -> None:
    long = trace(steps=("1+2=3",) * 50)
    with pytest.raises(TrainingError) as caught:
        encode([trace(), long], tokenizer(), settings(max_length=100), "b")
    assert "1 traces are longer than training.max_length 100" in str(caught.value)
    assert "stage b, source row 0" in str(caught.value)


def test_long_traces_may_be_dropped_and_are_counted() -> None:
    long = trace(steps=("1+2=3",) * 50)
    encoded = encode([trace(), long, trace()], tokenizer(), settings(max_length=100, too_long="drop"), "b")
    assert (encoded.dropped, encoded.truncated) == (1, 0)
    assert encoded.positions.tolist() == [0, 2]


def test_long_traces_may_be_cut_and_keep_their_eos() -> None:
    words = tokenizer()
    encoded = encode([trace(steps=("1+2=3",) * 50)], words, settings(max_length=100, too_long="truncate"), "b")
    (example,) = encoded
    assert len(example.ids) == 100
    assert example.ids[-1] == words.eos_token_id
    assert (encoded.dropped, encoded.truncated) == (0, 1)


def test_a_prompt_that_leaves_no_room_cannot_be_cut() -> None:
    with pytest.raises(TrainingError, match="longer than"):
        encode([trace(prompt="a" * 200)], tokenizer(), settings(max_length=100, too_long="truncate"), "b")


def test_a_tokenizer_without_eos_is_refused() -> None:
    words = tokenizer()
    words.eos_token = None
    with pytest.raises(ModelError, match="no EOS token"):
        encode([trace()], words, settings(), "a")
