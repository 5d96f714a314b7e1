"""What is written to a record has a JSON Schema in this folder, and is held against it.

validator("manifest")({"schema": "stagewise.manifest/2", …})
"""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import fastjsonschema


@cache
def validator(name: str) -> Callable[[Any], Any]:
    """Raises `fastjsonschema.JsonSchemaValueException`, a `ValueError` that says where and what, for a value that is
    not what `<name>.json` says."""
    schema = json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema)
    return compiled
