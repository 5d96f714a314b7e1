"""The crate, read back by rocrate: what the Provenance Run Crate profile requires, and nothing that is not there.

roc-validator passes all its required checks of the profile; it wants a network for the contexts, so it is not run here.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rocrate.rocrate import ROCrate

from stagewise.export import Study, ro_crate
from stagewise.hashing import folder_digests


@pytest.fixture(scope="module")
def folder(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crate")
    assert ro_crate.write(study, out) == [out / "ro-crate-metadata.json"]
    return out


@pytest.fixture(scope="module")
def crate(folder: Path) -> Any:
    return ROCrate(folder)


def of_type(crate: Any, kind: str) -> list[Any]:
    return [each for each in crate.get_entities() if kind in ([each.type] if isinstance(each.type, str) else each.type)]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def test_each_file_is_there_with_the_digest_that_it_is_said_to_have(crate: Any, folder: Path, study: Study) -> None:
    found = folder_digests(folder)
    del found["ro-crate-metadata.json"]
    parts = {each.id: each for each in listed(crate.root_dataset["hasPart"])}
    assert {name: {"sha256": each["sha256"], "size": int(each["contentSize"])} for name, each in parts.items()} == found
    assert sum(len(record.manifest.outputs.artifacts) + 1 for record in study.records.values()) == len(found)


def test_every_reference_leads_somewhere(folder: Path) -> None:
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    known = {each["@id"] for each in graph}
    assert len(known) == len(graph)

    def references(value: Any) -> list[str]:
        if isinstance(value, list):
            return [found for each in value for found in references(each)]
        return [value["@id"]] if isinstance(value, dict) else []

    outside = {"https://w3id.org/ro/crate/1.1"}
    for entity in graph:
        for key, value in entity.items():
            assert set(references(value)) <= known | outside, (entity["@id"], key)


def test_it_is_a_provenance_run_crate(crate: Any, study: Study) -> None:
    root, workflow = crate.root_dataset, crate.mainEntity
    assert {each.id for each in root["conformsTo"]} == set(ro_crate.PROFILES)
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))
    assert set(workflow.type) == {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"}
    assert workflow["programmingLanguage"]["name"] == "stagewise config (YAML)"
    tools = {each.id for each in workflow["hasPart"]}
    for tool in workflow["hasPart"]:
        assert tool["softwareVersion"] == study.pipeline.manifest.code.package_sha256
    steps = {each.id: each for each in workflow["step"]}
    assert len(steps) == len(study.steps)
    assert {each["workExample"].id for each in steps.values()} == tools
    controls = of_type(crate, "ControlAction")
    assert {each["instrument"].id for each in controls} == set(steps)
    (organize,) = of_type(crate, "OrganizeAction")
    assert organize["instrument"].type == "SoftwareApplication"
    assert {each.id for each in organize["object"]} == {each.id for each in controls}
    assert organize["result"]["instrument"].id == workflow.id
    actions = {each.id: each for each in of_type(crate, "CreateAction")}
    assert {each["object"].id for each in controls} == set(actions) - {organize["result"].id}
    assert {each.id for each in root["mentions"]} == set(actions)
    for action in actions.values():
        assert action["startTime"] <= action["endTime"]
        assert action["result"]


def test_a_models_way_back_to_the_source_can_be_walked(crate: Any, study: Study) -> None:
    model = crate.get("#model-curriculum-3-s1")
    outputs = study.steps["train curriculum-3-s1"].model
    assert (model["identifier"], model["sha256"]) == (f"models:/{outputs.model_id}", outputs.weights_sha256)
    waiting, seen = [model], []
    while waiting:
        entity = waiting.pop()
        seen.append(entity.id)
        waiting += listed(entity.get("wasDerivedFrom"))
    wanted = {f"#model-{name}" for name in ("curriculum-3-s1", "curriculum-2-s1", "curriculum-1-s1", "base-0-s1")}
    assert set(seen) == wanted | {f"split/stages/{stage}.jsonl" for stage in "abc"} | {"#source"}
    source = study.steps["split"].manifest.facts["source"]
    assert crate.get("#source")["sha256"] == source["sha256"]
    made = [each for each in of_type(crate, "CreateAction") if model in listed(each["result"])]
    assert [each["identifier"] for each in made] == [f"runs:/{study.steps['train curriculum-3-s1'].run_id}"]


def test_a_pretrained_base_model_is_where_the_way_back_ends(study: Study) -> None:
    model = {"hub": "google/gemma-2b", "revision": "0123456789abcdef0123456789abcdef01234567", "dtype": "auto"}
    pipeline: Any = study.pipeline
    config = pipeline.manifest.config.model_copy(update={"part": study.config | {"model": model}})
    crate = ro_crate.describe(
        replace(study, pipeline=replace(pipeline, manifest=pipeline.manifest.model_copy(update={"config": config})))
    )
    base = crate.get("#model-base-0-s1")["wasDerivedFrom"]
    assert base["name"] == "base model google/gemma-2b"
    assert base["description"] == "commit 0123456789abcdef0123456789abcdef01234567"


def test_it_is_the_same_however_often_it_is_described(study: Study, folder: Path, tmp_path: Path) -> None:
    ro_crate.describe(study).metadata.write(tmp_path)
    assert (tmp_path / "ro-crate-metadata.json").read_bytes() == (folder / "ro-crate-metadata.json").read_bytes()
