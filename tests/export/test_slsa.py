"""The statement, read and checked by the reference libraries of in-toto, SLSA and DSSE."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from google.protobuf.json_format import Parse
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from stagewise.errors import ExportError
from stagewise.export import Study, slsa

KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def pem(key: Any, path: Path, password: bytes = b"") -> Path:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return path


def written(study: Study, folder: Path, key: Path | None = None) -> list[Path]:
    folder.mkdir()
    return slsa.write(study, folder, key)


def test_the_reference_library_reads_the_statement(study: Study, tmp_path: Path) -> None:
    (path,) = written(study, tmp_path / "out")
    message = Parse(path.read_text(), StatementMessage())
    Statement.copy_from_pb(message).validate()
    assert message.predicate_type == "https://slsa.dev/provenance/v1"
    predicate = Parse(json.dumps(json.loads(path.read_text())["predicate"]), Provenance())
    assert predicate.run_details.metadata.invocation_id == study.pipeline.run_id
    built = predicate.run_details.metadata
    assert built.started_on.ToMilliseconds() <= built.finished_on.ToMilliseconds()
    assert (tmp_path / "out").exists()
    assert path.read_bytes() == written(study, tmp_path / "again")[0].read_bytes()


def test_every_file_that_came_out_is_named_once_with_its_digest(study: Study) -> None:
    told = slsa.statement(study)
    named = [*told["subject"], *told["predicate"]["runDetails"]["byproducts"]]
    digests = {each["name"]: each["digest"]["sha256"] for each in named}
    assert len(digests) == len(named)
    for name, record in study.records.items():
        outputs = record.manifest.outputs
        files = outputs.artifacts | (outputs.model.files if outputs.model else {})
        for path, entry in files.items():
            assert digests.pop(f"{name}/{path}") == entry["sha256"]
        assert digests.pop(f"{name}/manifest.json") == record.digest
    assert not digests
    weights = [each["name"] for each in told["subject"] if each["name"].endswith(".safetensors")]
    assert len(weights) == len(study.of_kind("train"))


def test_what_went_in_is_named(study: Study) -> None:
    definition = slsa.statement(study)["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["config"]["seeds"] == [1]
    assert '"seeds": [1]' in json.dumps(definition)  # a whole number stays one
    code, source, items, *packages = definition["resolvedDependencies"]
    manifest, facts = study.pipeline.manifest, study.steps["split"].manifest.facts
    assert code["annotations"]["package_sha256"] == manifest.code.package_sha256
    assert source["digest"] == {"sha256": facts["source"]["sha256"]}
    assert items["digest"] == {"sha256": facts["eval"]["sha256"]}
    uris = [each["uri"] for each in packages]
    assert f"pkg:pypi/torch@{manifest.environment.packages['torch']}" in uris
    assert len(uris) == len(manifest.environment.packages)


def test_the_sources_of_a_pretrained_model_are_named(study: Study) -> None:
    base, pipeline = study.steps["train base-0-s1"].manifest, study.pipeline.manifest
    revision = "0123456789abcdef0123456789abcdef01234567"
    models = {
        "hub": ({"hub": "google/gemma-2b", "revision": revision}, None),
        "gguf": ({"gguf": "small.gguf"}, {"small.gguf": {"sha256": "ab" * 32, "size": 3}}),
    }
    found = {}
    for kind, (model, source) in models.items():
        config = pipeline.config.model_copy(update={"part": {"model": model}})
        of = Study(replace(study.pipeline, manifest=pipeline.model_copy(update={"config": config})), {})
        told = base.model_copy(update={"facts": base.facts | {"model_source": source}})
        found[kind] = list(slsa._model(of, replace(study.steps["train base-0-s1"], manifest=told)))
    (hub,), (gguf,) = found["hub"], found["gguf"]
    assert (hub["uri"], hub["digest"]) == (f"pkg:huggingface/google/gemma-2b@{revision}", {"gitCommit": revision})
    assert (gguf["name"], gguf["digest"]) == ("model small.gguf", {"sha256": "ab" * 32})


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_holds_for_its_key_and_its_payload_alone(study: Study, tmp_path: Path, kind: str) -> None:
    key = KEYS[kind]()
    statement, path = written(study, tmp_path / "out", pem(key, tmp_path / "key.pem"))
    envelope = Envelope.from_dict(json.loads(path.read_text()))
    assert envelope.payload == statement.read_bytes()
    assert envelope.payload_type == "application/vnd.in-toto+json"
    public = SSlibKey.from_crypto(key.public_key())  # type: ignore[attr-defined]
    assert list(envelope.verify([public], 1)) == [public.keyid]
    with pytest.raises(VerificationError):
        envelope.verify([SSlibKey.from_crypto(KEYS[kind]().public_key())], 1)  # type: ignore[attr-defined]
    envelope.payload = envelope.payload.replace(b'"curriculum"', b'"curriculun"', 1)
    with pytest.raises(VerificationError):
        envelope.verify([public], 1)


def test_a_key_that_cannot_sign_is_one_line(study: Study, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    unusable = [
        tmp_path / "text",
        pem(KEYS["ed25519"](), tmp_path / "locked", b"sesame"),
        pem(ec.generate_private_key(ec.SECP256K1()), tmp_path / "curve"),
        pem(dsa.generate_private_key(1024), tmp_path / "dsa"),
    ]
    for number, key in enumerate(unusable):
        with pytest.raises(ExportError, match="expected the PEM of a private key without a password"):
            written(study, tmp_path / str(number), key)
    with pytest.raises(ExportError, match="none: cannot be read: No such file"):
        written(study, tmp_path / "out", tmp_path / "none")
