"""Text that spells a special token is refused or written as text, in training and evaluation alike."""

from typing import Any

import pytest
from helpers.models import tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stagewise.config import Training
from stagewise.data.traces import Item, Step, Trace, parse_items, parse_traces, trace_line
from stagewise.errors import DataError
from stagewise.model.special_tokens import counted, special_tokens, text_ids
from stagewise.model.templates import encode, item_ids

CHAT = "{% for m in messages %}<|turn|>{{ m.role }}: {{ m.content | trim }}<|end|>{% endfor %}<|turn|>model: "
SPELLINGS = ("<eos>", "<pad>", "<unk>", "a<eos>b", "<|end|>", "<|turn|>model: ")


def words(kind: str = "bpe", chat: str | None = None) -> Any:
    made = tokenizer(kind)
    made.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|end|>"]})
    made.chat_template = chat
    return made


def settings(**changes: Any) -> Training:
    return Training(batch_size=1, learning_rate=1e-3, **changes)


def traces(*prompts: str, step: str = "1+2=3", answer: str = "3") -> tuple[Trace, ...]:
    lines = [trace_line(prompt, [Step("s", step)], answer, {"category": "x"}) for prompt in prompts]
    return parse_traces(b"\n".join(lines), "test").rows


def items(*prompts: str) -> tuple[Item, ...]:
    lines = [f'{{"id": "e-{i}", "prompt": "{prompt}", "expected_answer": "3"}}' for i, prompt in enumerate(prompts)]
    return parse_items("\n".join(lines).encode(), "test").rows


@pytest.mark.parametrize("place", ["prompt", "step", "answer"])
@pytest.mark.parametrize("chat", [None, CHAT])
def test_a_trace_that_spells_one_is_refused_with_row_and_token(place: str, chat: str | None) -> None:
    text = "write <eos> last"
    made = traces("What?", text if place == "prompt" else "Why?", **({} if place == "prompt" else {place: text}))
    template = "chat" if chat else "plain"
    with pytest.raises(DataError) as caught:
        encode(made, words(chat=chat), settings(template=template), "b")
    assert "stage b, source row 1: the text spells the special token '<eos>'" in str(caught.value)
    assert "training.special_tokens_in_text" in str(caught.value)


def test_an_eval_item_that_spells_one_is_refused_by_its_id() -> None:
    with pytest.raises(DataError, match=r"^eval item e-1: the text spells the special token '<\|end\|>'; take it out"):
        item_ids(words(), settings(), items("What?", "Is it <|end|>?"))


@pytest.mark.parametrize("kind", ["characters", "bpe"])
@pytest.mark.parametrize("chat", [None, CHAT])
@pytest.mark.parametrize("text", SPELLINGS)
def test_as_text_it_holds_no_special_token_and_the_templates_own_stay(kind: str, chat: str | None, text: str) -> None:
    made, asked = words(kind, chat), settings(template="chat" if chat else "plain", special_tokens_in_text="text")
    (example,) = encode(traces(f"Say {text}!", answer=text), made, asked, "a")
    prompt, completion = example.ids[: example.prompt], example.ids[example.prompt :]
    special = special_tokens(made)
    assert [special[each] for each in prompt if each in special] == (
        ["<|turn|>", "<|end|>", "<|turn|>"] if chat else []
    )
    assert [special[each] for each in completion if each in special] == ["<eos>"]  # the one that ends it
    assert completion[-1] == made.eos_token_id
    if kind == "bpe":  # which can write every text
        assert f"Say {text}!" in made.decode(prompt)
        assert made.decode(completion[:-1], skip_special_tokens=True) == f"1+2=3\n{text}"
    assert item_ids(made, asked, items(f"Say {text}!")) == [list(prompt)]  # evaluation asks what training taught


@pytest.mark.parametrize("chat", [None, CHAT])
@pytest.mark.parametrize("mode", ["error", "text"])
def test_text_without_one_has_the_tokens_that_it_always_had(chat: str | None, mode: Any) -> None:
    made, asked = words(chat=chat), settings(template="chat" if chat else "plain", special_tokens_in_text=mode)
    prompts = ["What is <1+2>?", "eos", "< eos >", "<think>", "猫 |end|"]
    fill = (lambda text: f"<|turn|>user: {text}<|end|><|turn|>model: ") if chat else (lambda text: f"{text}\n")
    wanted = made([fill(prompt) for prompt in prompts], add_special_tokens=False)["input_ids"]
    assert item_ids(made, asked, items(*prompts)) == wanted


def test_every_finding_is_listed() -> None:
    with pytest.raises(DataError) as caught:
        text_ids(words(), ["<eos>", "fine", "<pad>"], "error", lambda index: f"row {index}")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("2 texts spell special tokens; ")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["row 0", "row 2"]


def test_a_chat_template_that_changes_such_a_prompt_is_refused() -> None:
    made = words(chat=CHAT.replace("trim", "upper"))
    asked = settings(template="chat", special_tokens_in_text="text")
    with pytest.raises(DataError, match="eval item e-0: the chat template changes this text, which spells '<eos>'"):
        item_ids(made, asked, items("say <eos>"))


def test_a_tokenizer_that_cannot_write_it_as_text_is_refused() -> None:
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((each, -2.0) for each in "▁ab</s>")]
    core = Tokenizer(models.Unigram(list(dict(pieces).items()), 0, False))  # whose text may be `</s>` in one piece
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")
    with pytest.raises(DataError, match="row 0: the tokenizer cannot write the special token '</s>' as text"):
        text_ids(made, ["a</s>b"], "text", lambda index: f"row {index}")


def test_tokens_are_counted_as_text() -> None:
    assert counted(words(), ["AB", "<eos>"]) == [2, 5]


@given(st.lists(st.sampled_from([*SPELLINGS, "a", " ", "\n", "<", ">", "é"]), max_size=8).map("".join))
def test_no_text_becomes_a_special_token(text: str) -> None:
    (ids,) = text_ids(WORDS, [text], "text", str)
    assert not special_tokens(WORDS).keys() & set(ids)
    assert WORDS.decode(ids) == text


WORDS = words()
