"""A Workflow Run RO-Crate: the study's files with a description that other tools read, by the Provenance Run Crate.

    out/ro-crate-metadata.json              what is here, what made it and from what, in JSON-LD
    out/pipeline/config/asked.yaml          the workflow: the config that stagewise, its engine, carried out
    out/split/stages/a.jsonl …              every artifact of every run, with its manifest

Checkpoints and optimizer states stay on the tracking server: they are named, with the digest of their weights, and
their run's manifest here has the digest of every file. PROV's terms say what was derived from what.

https://w3id.org/ro/wfrun/provenance/0.5, https://www.w3.org/TR/prov-o/
"""

import mimetypes
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rocrate.model import ComputationalWorkflow, File
from rocrate.rocrate import ROCrate

from stagewise.export import Study, artifacts, content
from stagewise.record.facts import SplitFacts, TrainFacts
from stagewise.record.frozen import Files
from stagewise.record.manifest import Sealed

WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    WORKFLOW_CRATE: "Workflow RO-Crate",
}
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
PROV = {name: f"http://www.w3.org/ns/prov#{name}" for name in ("wasDerivedFrom", "wasInformedBy")}
WORKFLOW = "pipeline/config/asked.yaml"
STAYS = "state/"  # optimizer states: as large as the weights, and of use only to the next phase
TOOLS = {
    "split": "splits the traces into stages",
    "train": "trains one phase, or makes the base checkpoint",
    "eval": "has a checkpoint answer the eval set",
    "report": "compares the checkpoints",
}
PRODUCTS = {"split": "stages/", "eval": "predictions.jsonl", "report": "comparison.json"}
"""What a step of each kind is for: the files that are derived from what it read; of a train step it is the model."""

Entity = dict[str, Any]
"""A node of the JSON-LD graph."""


def write(study: Study, out: Path) -> list[Path]:
    """Copies the artifacts too, each held against its digest."""
    for name, record in study.records.items():
        for path in _kept(record):
            target = out / _place(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content(record, path))
    crate = describe(study)
    crate.metadata.write(out)
    return [out / crate.metadata.id]


def describe(study: Study) -> Any:
    """The crate, as rocrate holds it; of version 1.1, which the profiles are of."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(TERMS)
    crate.metadata.extra_terms.update(PROV)
    for place, properties in _files(study):
        kind = ComputationalWorkflow if place == WORKFLOW else File
        crate.add(kind(crate, dest_path=place, properties=properties))
    for entity in (*_contexts(study), *_software(study), *_actions(study), *_organisation(study)):
        crate.add_jsonld(entity)
    crate.mainEntity = crate.get(WORKFLOW)
    crate.metadata["conformsTo"] = _refs([crate.metadata.profile, WORKFLOW_CRATE])
    for key, value in _root(study).items():
        crate.root_dataset[key] = value
    return crate


def _root(study: Study) -> Entity:
    manifest = study.pipeline.manifest
    return {
        "name": study.name,
        "description": study.config["hypothesis"] or f"The study {study.name}, carried out by stagewise.",
        "identifier": f"manifest sha256 {study.pipeline.digest}",
        "datePublished": manifest.times.ended,
        "license": _ref("#license"),
        "conformsTo": _refs(PROFILES),
        "mentions": _refs([_run(record) for record in study.records.values()]),
    }


def _ref(identifier: str) -> Entity:
    return {"@id": identifier}


def _refs(identifiers: Iterable[str]) -> list[Entity] | Entity:
    """A single one stands alone, as RO-Crate wants it."""
    found = [_ref(each) for each in identifiers]
    return found[0] if len(found) == 1 else found


def _run(record: Sealed) -> str:
    return f"#run-{record.run_id}"


def _model(record: Sealed) -> str:
    return f"#model-{record.model.name}"


def _place(name: str, path: str) -> str:
    """`train curriculum-1-s42` is a folder below `train`."""
    return f"{name.replace(' ', '/')}/{path}"


# --- what there is ------------------------------------------------------------------------------


def _kept(record: Sealed) -> Files:
    return {path: entry for path, entry in artifacts(record).items() if not path.startswith(STAYS)}


def _files(study: Study) -> Iterator[tuple[str, Entity]]:
    for name, record in study.records.items():
        for path, entry in _kept(record).items():
            told: Entity = {
                "name": f"{path} of {name}",
                "encodingFormat": _media(path),
                "contentSize": str(entry["size"]),
                "sha256": entry["sha256"],
            }
            if path.startswith(PRODUCTS.get(record.manifest.kind, "\0")):
                told["wasDerivedFrom"] = _refs(_used(study, record))
            if _place(name, path) == WORKFLOW:
                told |= _workflow(study)
            yield _place(name, path), told


def _media(path: str) -> str:
    return "application/jsonl" if path.endswith(".jsonl") else mimetypes.guess_type(path)[0] or "text/plain"


def _workflow(study: Study) -> Entity:
    return {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": f"config of {study.name}",
        "version": f"sha256 {study.pipeline.manifest.config.file_sha256}",
        "programmingLanguage": _ref("#config-language"),
        "hasPart": _refs(f"#tool-{kind}" for kind in TOOLS),
        "step": _refs(f"#step-{record.run_id}" for record in study.steps.values()),
    }


def _contexts(study: Study) -> Iterator[Entity]:
    for identifier, name in PROFILES.items():
        version = identifier.rpartition("/")[2]
        yield {"@id": identifier, "@type": "CreativeWork", "name": name, "version": version}
    yield {
        "@id": "#license",
        "@type": "CreativeWork",
        "name": "No licence stated",
        "description": "The record names no licence for data and results: ask whoever made them.",
    }
    facts = study.steps["split"].facts(SplitFacts).source
    yield {
        "@id": "#source",
        "@type": "CreativeWork",
        "name": f"source dataset {facts['name']}",
        "sha256": facts["sha256"],
        "description": f"{facts['rows']} traces. Their lines stand in the stages; rows.json says where each one stood.",
    }
    yield from _base_model(study)
    for record in study.of_kind("train").values():
        yield _checkpoint(study, record)


def _base_model(study: Study) -> Iterator[Entity]:
    """Where the base checkpoint comes from; a model from scratch comes from nowhere."""
    model = study.config["model"]
    if "scratch" not in model:
        (place,) = (model[kind] for kind in ("hub", "path", "gguf") if kind in model)
        files = [record.facts(TrainFacts).model_source or {} for record in study.of_kind("train").values()]
        named = [f"{path} has sha256 {entry['sha256']}" for each in files for path, entry in each.items()]
        said = "; ".join([f"commit {model['revision']}"] if "revision" in model else named)
        yield {"@id": "#base-model", "@type": "CreativeWork", "name": f"base model {place}", "description": said}


def _checkpoint(study: Study, record: Sealed) -> Entity:
    model = record.model
    return {
        "@id": _model(record),
        "@type": "CreativeWork",
        "name": f"checkpoint {model.name}",
        "identifier": f"models:/{model.model_id}",
        "sha256": model.weights_sha256,
        "description": "A model on the tracking server. The sha256 is that of its weights: of names, dtypes, shapes "
        "and bytes of the tensors. The manifest of the run that made it has the digest of each of its files.",
        "wasDerivedFrom": _refs(_used(study, record)),
    }


# --- what made it -------------------------------------------------------------------------------


def _software(study: Study) -> Iterator[Entity]:
    code = study.pipeline.manifest.code
    engine = {"name": "stagewise", "softwareVersion": code.commit or code.package_sha256}
    yield {"@id": "#stagewise", "@type": "SoftwareApplication", **engine}
    yield {
        "@id": "#config-language",
        "@type": "ComputerLanguage",
        "name": "stagewise config (YAML)",
        "version": engine["softwareVersion"],
    }
    for kind, does in TOOLS.items():
        versions = {each.manifest.code.package_sha256 for each in study.of_kind(kind).values()}
        yield {
            "@id": f"#tool-{kind}",
            "@type": "SoftwareApplication",
            "name": f"stagewise {kind}",
            "softwareVersion": ", ".join(sorted(versions)),
            "description": f"{does}; the version is the sha256 of the package's sources",
        }


def _actions(study: Study) -> Iterator[Entity]:
    """A CreateAction for each run: what it read and what it left."""
    for name, record in study.records.items():
        manifest = record.manifest
        whole = record is study.pipeline
        made = [_place(name, path) for path in _kept(record)]
        yield {
            "@id": _run(record),
            "@type": "CreateAction",
            "name": name,
            "identifier": f"runs:/{record.run_id}",
            "description": f"manifest sha256 {record.digest}",
            "instrument": _ref(WORKFLOW if whole else f"#tool-{manifest.kind}"),
            "object": _refs(_used(study, record)),
            "result": _refs([*made, *([_model(record)] if manifest.outputs.model else [])]),
            "startTime": manifest.times.started,
            "endTime": manifest.times.ended,
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "wasInformedBy": _refs(f"#run-{each['run_id']}" for each in manifest.inputs.runs.values()),
        }


def _used(study: Study, record: Sealed) -> list[str]:
    """What a run read, of the files and models of the runs that it was made from."""
    manifest = record.manifest
    runs = {role: f"{each['run_id']}" for role, each in manifest.inputs.runs.items()}
    models = [_model(each) for each in study.of_kind("train").values() if each.run_id in runs.values()]
    if manifest.kind in ("pipeline", "split"):
        return ["#source"]
    if manifest.kind == "report":
        read = {"eval": "predictions.jsonl", "train": "curve.json"}
        return [_place(f"{kind} {name}", path) for kind, path in read.items() for name in study.of_kind(kind)]
    if manifest.kind == "eval":
        return [*models, "split/eval.jsonl"]
    if record.facts(TrainFacts).phase == 0:
        return [] if "scratch" in study.config["model"] else ["#base-model"]
    return [*models, *(f"split/stages/{stage}.jsonl" for stage in manifest.inputs.datasets)]


def _organisation(study: Study) -> Iterator[Entity]:
    """The steps of the workflow, and the engine that carried them out."""
    for position, (name, record) in enumerate(study.steps.items(), 1):
        step, tool = f"#step-{record.run_id}", f"#tool-{record.manifest.kind}"
        yield {"@id": step, "@type": "HowToStep", "name": name, "position": position, "workExample": _ref(tool)}
        yield {
            "@id": f"#control-{record.run_id}",
            "@type": "ControlAction",
            "name": f"the engine runs {name}",
            "instrument": _ref(step),
            "object": _ref(_run(record)),
        }
    times = study.pipeline.manifest.times
    yield {
        "@id": "#organize",
        "@type": "OrganizeAction",
        "name": f"stagewise carries out {study.name}",
        "instrument": _ref("#stagewise"),
        "object": _refs(f"#control-{record.run_id}" for record in study.steps.values()),
        "result": _ref(_run(study.pipeline)),
        "startTime": times.started,
        "endTime": times.ended,
    }
