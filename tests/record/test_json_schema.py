"""The JSON Schemas that ship are those of the models, and hold a manifest to them."""

import json

import pytest

from stagewise.record import json_schema


def test_the_files_are_what_the_models_give() -> None:
    for name, text in json_schema.texts().items():
        found = (json_schema.FOLDER / name).read_text(encoding="utf-8")
        assert found == text, f"{name}: python -m stagewise.record.json_schema writes it again"


@pytest.mark.parametrize("name", ["manifest.json", "facts.json"])
def test_no_object_of_ours_takes_a_key_that_its_model_does_not_name(name: str) -> None:
    for model, schema in json.loads((json_schema.FOLDER / name).read_text())["$defs"].items():
        assert schema["additionalProperties"] is False, model
