"""The files of a checkpoint: all but what training made of the weights, and those too where nothing was trained."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch
import yaml

from stagewise.commands.derivation.expected import check_yaml, same
from stagewise.config import Config, ScratchModel
from stagewise.data.jsonl import document
from stagewise.hashing import folder_digests, tensor_shapes
from stagewise.model import loading, templates
from stagewise.model.device import device_kind
from stagewise.record.code import deciding, normalized
from stagewise.record.code import packages as installed
from stagewise.record.facts import TrainFacts
from stagewise.record.manifest import Sealed
from stagewise.tracking.package import FOLDER, TOKENIZER, write_package
from stagewise.verification.chain import Chain
from stagewise.verification.files import WEIGHTS
from stagewise.verification.findings import Finding
from stagewise.verification.views import Owner

WHEN = ("utc_time_created", "model_uuid", "mlflow_version")  # of an MLmodel: what no input decides
OWN = (
    "dtype",
    "torch_dtype",
    "transformers_version",
)  # of a model's config: what a phase need not take from its parent


def tokenizer_of(chain: Chain, trained: Sealed) -> Any:
    with chain.source.fetch(_owner(trained), TOKENIZER) as folder:
        return loading.load_tokenizer(folder)


def parameters(sealed: Sealed, chain: Chain) -> int:
    """As many as the tensors have elements, less those of buffers; as told where a bundle left them out."""
    shapes = _shapes(sealed, chain)
    if shapes is None:
        return sealed.facts(TrainFacts).parameters
    return sum(map(prod, shapes.values())) - sealed.facts(TrainFacts).buffers


def dtype_of(sealed: Sealed, chain: Chain) -> str:
    """As the model's config has it."""
    return str(_config(sealed, chain)["dtype"])


def derive(sealed: Sealed, chain: Chain, config: Config, parent: Sealed | None) -> Iterator[Finding]:
    """What is packed around the weights, and what a phase takes over from its parent."""
    model = sealed.model
    yield from _package(sealed, chain, config)
    if parent is None:
        return
    found, expected = _shapes(sealed, chain), _shapes(parent, chain)
    yield from same(f"model {model.name}, shapes of its tensors", found, expected, "its parent has these")
    both = [each.manifest.environment.packages for each in (sealed, parent)]
    if deciding("train", both[0]) != deciding("train", both[1]):
        return  # another release of a library may write the same in another way
    mine, parents = (_small(each, chain) for each in (sealed, parent))
    for name in sorted(mine.keys() | parents.keys()):
        yield from same(f"model {model.name}, file {name}", mine.get(name), parents.get(name), "its parent has this")


def made_again(sealed: Sealed, chain: Chain, config: Config, seed: int, texts: Sequence[str]) -> Iterator[Finding]:
    """A model from scratch, from its seed and the training data, if this is the kind of machine that made it: another
    one's random numbers may differ in the last bits."""
    shapes = _shapes(sealed, chain)
    here = device_kind("cpu") == sealed.manifest.machine["device"]
    if shapes is None or not here or not isinstance(config.model, ScratchModel):
        return
    name, scratch = sealed.model.name, config.model.scratch
    # First the sizes: whoever wrote the record chose them, and may have chosen more than fits here.
    wanted = {"hidden_size": scratch.hidden_size, "intermediate_size": scratch.intermediate_size}
    wanted |= {"layers": scratch.layers}
    sizes = list(same(f"model {name}, sizes", _sizes(shapes), wanted, "that is what the config asks for"))
    if sizes:
        yield from sizes
        return
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        loaded = loading.create(config.model, seed, texts, Path(folder), Path(folder))
        loading.save(loaded, Path(folder) / FOLDER)
        loaded.tokenizer.save_pretrained(Path(folder) / TOKENIZER)
        made = folder_digests(Path(folder))
    files = sealed.model.files
    for path in sorted(made):
        recorded = files.get(path)
        yield from same(f"model {name}, file {path}", recorded, made[path], "that is what its seed and the stages give")


def _sizes(shapes: Mapping[str, list[int]]) -> dict[str, int]:
    """Those of a Llama's tensors that decide all others but for the vocabulary's."""
    layers = {name.split(".")[2] for name in shapes if name.startswith("model.layers.")}
    embedding = shapes.get("model.embed_tokens.weight", [0, 0])
    gate = shapes.get("model.layers.0.mlp.gate_proj.weight", [0, 0])
    return {"hidden_size": embedding[-1], "intermediate_size": gate[0], "layers": len(layers)}


# --- parts ----------------------------------------------------------------------------------------


def _owner(sealed: Sealed) -> Owner:
    return Owner("models", sealed.model.model_id)


def _shapes(sealed: Sealed, chain: Chain) -> dict[str, list[int]] | None:
    """Of every tensor; None where the weights are not here."""
    if not chain.source.weights:
        return None
    files = sealed.model.files
    shapes: dict[str, list[int]] = {}
    for name in files:
        if name.startswith(f"{FOLDER}/") and name.endswith(WEIGHTS):
            with chain.source.fetch(_owner(sealed), name) as path:
                shapes |= tensor_shapes(path)
    return shapes


def _small(sealed: Sealed, chain: Chain) -> dict[str, Any]:
    """What a phase takes over: tokenizer and config, but for what is its own."""
    files = sealed.model.files
    found: dict[str, Any] = {
        name: entry["sha256"] for name, entry in files.items() if name.startswith((f"{FOLDER}/token", f"{TOKENIZER}/"))
    }
    config = {key: value for key, value in _config(sealed, chain).items() if key not in OWN}
    return found | {f"{FOLDER}/config.json": config}


def _config(sealed: Sealed, chain: Chain) -> dict[str, Any]:
    with chain.source.fetch(_owner(sealed), f"{FOLDER}/config.json") as path:
        return dict(document(path.read_bytes(), f"{FOLDER}/config.json"))


def _package(sealed: Sealed, chain: Chain, config: Config) -> Iterator[Finding]:
    """MLmodel and what stands beside it: what is loaded and served, and by what code."""
    model, environment = sealed.model, sealed.manifest.environment
    packages = normalized(environment.packages)
    answering = templates.answering(tokenizer_of(chain, sealed), config.training)
    with tempfile.TemporaryDirectory() as name:
        again = Path(name)
        for path in (f"{FOLDER}/config.json", f"{TOKENIZER}/tokenizer_config.json"):
            (again / path).parent.mkdir(parents=True)
            with chain.source.fetch(_owner(sealed), path) as local:
                (again / path).write_bytes(local.read_bytes())
        write_package(again, model.model_id, sealed.run_id, answering, packages, environment.python)
        follows = {
            path.relative_to(again).as_posix(): path.read_bytes()
            for path in again.rglob("*")
            if path.is_file() and not path.is_relative_to(again / FOLDER) and not path.is_relative_to(again / TOKENIZER)
        }
    inside = (f"{FOLDER}/", f"{TOKENIZER}/")
    found = {path for path in model.files if not path.startswith(inside)}
    # Another release of MLflow may write the same in another way.
    checked = packages.get("mlflow") == normalized(installed())["mlflow"]
    for path in sorted(found | follows.keys()):
        where = f"model {model.name}, file {path}"
        if path not in found or path not in follows:
            told, wanted = ("a file", "none") if path in found else ("none", "a file")
            yield Finding(where, told, wanted, "that is what the package writes", checked)
            continue
        with chain.source.fetch(_owner(sealed), path) as local:
            recorded = _comparable(path, local.read_bytes())
        for each in same(where, recorded, _comparable(path, follows[path]), "that is what the package writes"):
            yield replace(each, checked=checked or path == "completion.py")


def _comparable(path: str, data: bytes) -> Any:
    text = data.decode(errors="surrogateescape")
    if path != "MLmodel":
        return text.encode(errors="backslashreplace").decode()
    check_yaml(data, path)
    told = yaml.safe_load(text)
    return {key: value for key, value in told.items() if key not in WHEN}
