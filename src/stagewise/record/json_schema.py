"""The JSON Schemas of manifests and facts, from their models.

python -m stagewise.record.json_schema     # writes schemas/manifest.json and schemas/facts.json again
"""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from stagewise.record.facts import FACTS
from stagewise.record.manifest import Manifest

DRAFT = "http://json-schema.org/draft-07/schema#"
FOLDER = Path(__file__).with_name("schemas")


def texts() -> dict[str, str]:
    """The content of the files, by their names."""
    return {f"{name}.json": json.dumps(each, indent=1) + "\n" for name, each in _schemas().items()}


def _schemas() -> dict[str, dict[str, Any]]:
    manifest = {"$schema": DRAFT, "title": "stagewise manifest"} | _plain(Manifest.model_json_schema())
    names, together = models_json_schema([(model, "validation") for model in FACTS.values()])
    by_kind = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": {"facts": names[model, "validation"]}},
        }
        for kind, model in FACTS.items()
    ]
    facts = {
        "$schema": DRAFT,
        "title": "the facts of a stagewise manifest",
        "description": "A step's own counts and digests, by the kind of the run.",
        "type": "object",
        "allOf": by_kind,
    }
    return {"manifest": manifest, "facts": facts | _plain(together)}


def _plain(value: Any, named: bool = False) -> Any:
    """Without the titles, which repeat the fields' names; and with no other keys where some have to match a pattern.
    `named`: the keys are names of fields."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {
        key: _plain(each, key in ("properties", "$defs")) for key, each in value.items() if named or key != "title"
    }
    return plain | ({"additionalProperties": False} if "patternProperties" in plain and not named else {})


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
