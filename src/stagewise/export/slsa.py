"""An in-toto statement with a SLSA provenance predicate: what was built, from what, how, and by whom.

    {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
     "subject": [{"name": "train curriculum-3-s42/model/model.safetensors", "digest": {"sha256": "…"}}, …],
     "predicate": {"buildDefinition": {…}, "runDetails": {…}}}

Subjects are the files of all checkpoints and those of the pipeline's run, the report among them; what the steps in
between left are byproducts. With a key the statement's bytes are the payload of a signed DSSE envelope beside it.

https://github.com/in-toto/attestation/tree/main/spec/v1, https://slsa.dev/spec/v1.0/provenance,
https://github.com/secure-systems-lab/dsse
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.protobuf.json_format import Parse
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import STATEMENT_TYPE_URI, Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from stagewise.errors import ExportError
from stagewise.export import Study, artifacts
from stagewise.record.facts import SplitFacts, TrainFacts
from stagewise.record.frozen import File
from stagewise.record.manifest import Sealed

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
# Names of ours, as SLSA asks for: docs/export.md says what they stand for.
BUILD_TYPE, BUILDER = "urn:stagewise:study:1", "urn:stagewise:builder:self"
STATEMENT, ENVELOPE = "statement.json", "statement.intoto.jsonl"

Resource = dict[str, Any]
"""in-toto's ResourceDescriptor."""


def write(study: Study, out: Path, key: Path | None = None) -> list[Path]:
    """Raises `ExportError` for a key that cannot sign."""
    path, envelope = out / STATEMENT, out / ENVELOPE
    path.write_text(json.dumps(statement(study), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if key is None:
        return [path]
    envelope.write_text(json.dumps(_signed(path.read_bytes(), key).to_dict()) + "\n")
    return [path, envelope]


def statement(study: Study) -> dict[str, Any]:
    """The statement, held against in-toto's and SLSA's own schemas.

    It is written as it stands here and not as protobuf's JSON, which would make 42 of a config 42.0.
    """
    predicate = {"buildDefinition": _definition(study), "runDetails": _details(study)}
    told = {
        "_type": STATEMENT_TYPE_URI,
        "subject": list(_subjects(study)),
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    Statement.copy_from_pb(Parse(json.dumps(told), StatementMessage())).validate()
    Parse(json.dumps(predicate), Provenance())
    return told


def _signed(payload: bytes, key: Path) -> Envelope:
    try:
        signer = CryptoSigner(load_pem_private_key(key.read_bytes(), None))
    except OSError as error:
        raise ExportError(f"--key {key}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ExportError(
            f"--key {key}: expected the PEM of a private key without a password: Ed25519, ECDSA (P-256, P-384 or "
            "P-521) or RSA"
        ) from None
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return envelope


def _definition(study: Study) -> dict[str, Any]:
    manifest = study.pipeline.manifest
    environment = manifest.environment.model_dump(include={"python", "platform", "cores"})
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {"config": study.config, "config_sha256": manifest.config.file_sha256},
        "internalParameters": {"machine": manifest.machine, "environment": environment},
        "resolvedDependencies": list(_dependencies(study)),
    }


def _details(study: Study) -> dict[str, Any]:
    manifest, packages = study.pipeline.manifest, study.pipeline.manifest.environment.packages
    return {
        "builder": {
            "id": BUILDER,
            "version": {name: packages[name] for name in ("stagewise", "mlflow") if name in packages},
        },
        "metadata": {
            "invocationId": study.pipeline.run_id,
            "startedOn": manifest.times.started,
            "finishedOn": manifest.times.ended,
        },
        "byproducts": [each for name, record in study.steps.items() for each in _artifacts(name, record)],
    }


def _subjects(study: Study) -> Iterator[Resource]:
    yield from _artifacts("pipeline", study.pipeline)
    for name, record in study.steps.items():
        if model := record.manifest.outputs.model:
            for path, entry in model.files.items():
                yield _file(f"{name}/{path}", f"models:/{model.model_id}/{path}", entry)


def _artifacts(name: str, record: Sealed) -> Iterator[Resource]:
    for path, entry in artifacts(record).items():
        yield _file(f"{name}/{path}", f"runs:/{record.run_id}/{path}", entry)


def _file(name: str, uri: str, entry: File) -> Resource:
    return {"name": name, "uri": uri, "digest": {"sha256": entry["sha256"]}, "annotations": {"size": entry["size"]}}


# --- what went in -------------------------------------------------------------------------------


def _dependencies(study: Study) -> Iterator[Resource]:
    """Code, data, base model and packages, each once: steps may have run at several commits and places."""
    seen = []
    for record in study.records.values():
        for each in (_code(record), *_model(study, record)):
            if each not in seen:
                seen.append(each)
    yield from seen
    facts = study.steps["split"].facts(SplitFacts)
    for name, data in (("source", facts.source), ("eval", facts.eval)):
        yield {
            "name": f"{name} dataset {data['name']}",
            "digest": {"sha256": data["sha256"]},
            "annotations": {"rows": data["rows"]},
        }
    packages = [record.manifest.environment.packages for record in study.records.values()]
    for name, version in sorted({item for each in packages for item in each.items()}):
        yield {"name": name, "uri": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"}


def _code(record: Sealed) -> Resource:
    """The commit; what was not committed is the artifact code.diff, and the sources' digest is of both."""
    code = record.manifest.code
    told: Resource = {"name": "code", "annotations": code.model_dump(include={"dirty", "package_sha256"})}
    if code.commit:
        told["digest"] = {"gitCommit": code.commit}
    if code.remote:
        told["uri"] = f"git+{code.remote}@{code.commit}"
    return told


def _model(study: Study, record: Sealed) -> Iterator[Resource]:
    """What a base checkpoint was made from: files, or a commit on the hub; nothing for a model from scratch."""
    model = study.config["model"]
    if record.manifest.kind == "train" and (facts := record.facts(TrainFacts)).phase == 0:
        if "hub" in model:
            uri = f"pkg:huggingface/{model['hub']}@{model['revision']}"
            yield {"name": f"model {model['hub']}", "uri": uri, "digest": {"gitCommit": model["revision"]}}
        for path, entry in (facts.model_source or {}).items():
            yield {"name": f"model {path}", "digest": {"sha256": entry["sha256"]}}
