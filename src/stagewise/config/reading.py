"""A config from its file; every mistake in it is one line."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    ValidationError,
)

from stagewise.config.section import Section
from stagewise.config.top import Config
from stagewise.credentials import line_of, without_home
from stagewise.errors import ConfigError, SecretError, listed
from stagewise.hashing import canonical_json


def load(path: Path) -> Config:
    """Reads and checks a config file; every mistake in it is one line of a `ConfigError`."""
    return parse(read(path), str(path))


def read(path: Path) -> str:
    """The file's text, with `~` for the user's home folder: the text is recorded as it is returned."""
    try:
        return without_home(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; configs/quickstart.yaml is one to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def parse(text: str, name: str) -> Config:
    if found := line_of(text):
        raise SecretError(
            f"{name}: line {found[0]} holds {found[1]}, and the config is recorded; take it out: tokens are read "
            "from the environment alone"
        )
    try:
        value = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: found {type(value).__name__}, expected a mapping with study, data, split, …")
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        findings = _findings(error)
        head = f"{name}: " if len(findings) == 1 else f"{name}: {len(findings)} mistakes\n"
        raise ConfigError(head + (findings[0] if len(findings) == 1 else listed(findings))) from None


class _UniqueKeys(yaml.SafeLoader):
    """`yaml.safe_load`, but a key given twice is an error and not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", node.start_mark)
        return super().construct_mapping(node, deep)


def _findings(error: ValidationError) -> list[str]:
    """One line a mistake: field, what was found, what was expected."""
    lines = []
    # pydantic counts only the members that were right, so a list of one wrong name is also too short for it.
    within = {entry["loc"][:-1] for entry in error.errors()}
    for entry in error.errors():
        if entry["type"] == "too_short" and entry["loc"] in within:
            continue
        field = ".".join(_without_kind([str(part) for part in entry["loc"]])) or "config"
        if entry["type"] == "extra_forbidden":
            lines.append(f"{field}: unknown key")
        elif entry["type"] == "missing":
            lines.append(f"{field}: missing")
        else:
            message = entry["msg"].removeprefix("Value error, ")
            found = entry["input"]
            shown = "" if isinstance(found, dict | Section) else f"found {found!r}: "
            lines.append(f"{field}: {shown}{message}")
    return lines


def _without_kind(parts: list[str]) -> list[str]:
    """pydantic puts the kind of a source, model or arm into its place: data.train.path.layout is data.train.layout."""
    kind = {"arms": 2, "data": 2, "model": 1}.get(parts[0] if parts else "")
    return parts if kind is None or len(parts) <= kind + 1 else parts[:kind] + parts[kind + 1 :]


def resolved(config: Config) -> dict[str, Any]:
    """The config with every default filled in, as JSON values: what the record holds."""
    value: dict[str, Any] = config.model_dump(mode="json")
    canonical_json(value)  # refuses what JSON cannot hold
    return value
