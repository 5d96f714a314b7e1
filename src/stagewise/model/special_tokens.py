"""Text of the data that spells a special token, such as `<eos>` or `<|im_end|>` in a trace that speaks of tokens.

    text_ids(tokenizer, ["It ends in <eos>."], "error", lambda index: f"source row {index}")
    DataError: source row 0: the text spells the special token '<eos>' …
    text_ids(tokenizer, ["It ends in <eos>."], "text", …)       [[41, 84, …, 29, 70, 80, 84, 31, 15]]

A tokenizer makes the token itself of it: the model would learn to stop in mid-text, and decoding leaves such tokens
out. What a chat template puts around the text is meant, and stays.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from stagewise.errors import DataError, listed

Mode = Literal["error", "text"]
MARK = "\ue000"  # of Unicode's private use: stands in no text
Where = Callable[[int], str]  # names the text of this index


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens that are no text: ends, padding, turns, images; by id. The one for unknown text is not among them."""
    added = {index: str(token) for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    return {index: token for index, token in (added | dict(named)).items() if index != tokenizer.unk_token_id}


def spelled(tokenizer: Any, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[int, str]:
    """The special token that a text spells, by the text's index; `ids` are the texts' tokens as they come."""
    special, unknown = special_tokens(tokenizer), tokenizer.unk_token
    found = {}
    for index, (text, each) in enumerate(zip(texts, ids, strict=True)):
        token = next((special[one] for one in each if one in special), None)
        if token is None and unknown is not None and unknown in text:
            token = unknown
        if token is not None:
            found[index] = token
    return found


def text_ids(tokenizer: Any, texts: Sequence[str], mode: Mode, where: Where) -> list[list[int]]:
    """The tokens of texts in which nothing is meant to be a special token.

    Raises `DataError` for a text that spells one, if `mode` is error or the tokenizer cannot write it as text.
    """
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    found = spelled(tokenizer, texts, ids)
    refuse(found, mode, where)
    for index in found:
        ids[index] = as_text(tokenizer, texts[index], where(index))
    return ids


def refuse(found: dict[int, str], mode: Mode, where: Where) -> None:
    """Raises `DataError` for special tokens that are spelled where that is an error."""
    if not found or mode == "text":
        return
    findings = [f"{where(index)}: the text spells the special token {token!r}" for index, token in found.items()]
    remedy = "take it out, or set training.special_tokens_in_text to text, which writes it letter by letter"
    if len(findings) == 1:
        raise DataError(f"{findings[0]}; {remedy}")
    raise DataError(f"{len(findings)} texts spell special tokens; {remedy}\n{listed(findings)}")


def as_text(tokenizer: Any, text: str, where: str) -> list[int]:
    """The tokens of a text, letter by letter where it spells a special token."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    special = special_tokens(tokenizer)
    if left := [special[each] for each in ids if each in special]:
        raise DataError(f"{where}: the tokenizer cannot write the special token {left[0]!r} as text; take it out")
    return ids


def counted(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """How many tokens each text has, as text."""
    return [len(ids) for ids in text_ids(tokenizer, texts, "text", lambda index: f"text {index}")]


def filled_ids(
    tokenizer: Any, fill: Callable[[str], str], texts: Sequence[str], mode: Mode, where: Where
) -> list[list[int]]:
    """The tokens of `fill(text)`, a template's, of which the text's own part is plain text.

    Raises `DataError` as `text_ids` does, and where the template changes a text that spells a special token.
    """
    own: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    found = spelled(tokenizer, texts, own)
    refuse(found, mode, where)
    ids: list[list[int]] = tokenizer([fill(text) for text in texts], add_special_tokens=False)["input_ids"]
    before, _, after = fill(MARK).partition(MARK)
    first, last = tokenizer([before, after], add_special_tokens=False)["input_ids"]
    for index in found:
        filled = fill(texts[index])
        inner = filled.removeprefix(before).removesuffix(after)
        if f"{before}{inner}{after}" != filled or inner.strip() != texts[index].strip():
            raise DataError(f"{where(index)}: the chat template changes this text, which spells {found[index]!r}")
        ids[index] = [*first, *as_text(tokenizer, inner, where(index)), *last]
    return ids
