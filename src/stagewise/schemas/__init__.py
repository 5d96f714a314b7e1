"""What is written to a record has a JSON Schema in this folder, and is checked against it.

check("manifest", {"schema": "stagewise.manifest/2", …})
"""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import fastjsonschema


def check(name: str, value: Any) -> None:
    """Raises `ValueError`, saying where and what, if the value is not what `<name>.json` says."""
    try:
        _validator(name)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        raise ValueError(f"{name} {error.message}") from error


@cache
def _validator(name: str) -> Callable[[Any], Any]:
    schema = json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema)
    return compiled
