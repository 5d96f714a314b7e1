"""What every part of a config is: frozen, typed, without unknown keys."""

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
)

from stagewise import registry

NAME = re.compile(r"^[a-z][a-z0-9_]{0,31}$")
Name = Annotated[str, Field(pattern=NAME.pattern)]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a 40-digit commit")]


class Section(BaseModel):
    """A part of the config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


def one_of(*keys: str) -> Discriminator:
    """Which kind of section this is: told by the one key of `keys` that it holds."""

    def kind(value: Any) -> str | None:
        present = [key for key in keys if (key in value if isinstance(value, dict) else hasattr(value, key))]
        return present[0] if len(present) == 1 else None

    message = f"expected a mapping with exactly one of the keys {', '.join(keys)}"
    return Discriminator(kind, custom_error_type="kind", custom_error_message=message)


def thing(kind: str) -> AfterValidator:
    """A built-in name of this kind (`registry.PLACES`), or `module:attribute` of the user's own."""
    return AfterValidator(lambda name: registry.known(kind, name))


def known(names: tuple[str, ...], valid: Any, what: str) -> tuple[str, ...]:
    """The names, if each is valid; else a `ValueError` that lists the valid ones."""
    for name in names:
        if name not in valid:
            raise ValueError(f"no {what} {name!r}; there are: {', '.join(sorted(valid))}")
    return names
