"""What is read and written, held against the JSON Schemas (draft 7) that stand beside this file.

check({"schema": "stagewise.predictions/2", "doc_id": -1, …}, "predictions", "p.jsonl: line 3")
->  DataError: p.jsonl: line 3, field "doc_id": found the number -1, which must be bigger than or equal to 0
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from stagewise.data.jsonl import described
from stagewise.errors import DataError


def check(value: Any, schema: str, where: str) -> None:
    """Raises `DataError` for a value that the schema of this name does not allow."""
    try:
        _validator(schema)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        at = f', field "{".".join(error.path[1:])}"' if error.path[1:] else ""
        if error.rule == "required":
            missing = ", ".join(name for name in error.rule_definition if name not in error.value)
            raise DataError(f"{where}{at}: found an object without {missing}, expected it there") from None
        rule = error.message.removeprefix(str(error.name)).strip()
        raise DataError(f"{where}{at}: found {described(error.value)}, which {rule}") from None


@cache
def _validator(schema: str) -> Callable[[Any], Any]:
    definition = json.loads(Path(__file__).with_name(f"{schema}.json").read_text(encoding="utf-8"))
    compiled: Callable[[Any], Any] = fastjsonschema.compile(definition, use_default=False)  # a check changes nothing
    return compiled
