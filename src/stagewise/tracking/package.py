"""What makes a checkpoint's folder a model of MLflow's: found by its URI, loaded by a flavor, served over HTTP.

    model/                   weights, config, generation config, tokenizer: what `from_pretrained` reads
    components/tokenizer/    the tokenizer again (small), where `mlflow.transformers.load_model` looks for it
    completion.py            what `mlflow models serve` runs
    MLmodel                  flavors, signature, template; beside it an input example and pinned requirements

`mlflow.transformers.log_model` would write the weights a second time; these files are all that it adds to them.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mlflow.models import Model, ModelSignature
from mlflow.models.utils import _Example
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

FOLDER, TOKENIZER = "model", "components/tokenizer"
COMPLETION = "completion.py"
REQUIREMENTS, PYTHON = "requirements.txt", "python_env.yaml"
NEEDED = ("accelerate", "mlflow", "numpy", "pandas", "safetensors", "tokenizers", "torch", "transformers")
PROMPT = "What is 12 + 30?"


def write_package(
    folder: Path, model_id: str, run_id: str, answering: Mapping[str, Any], packages: Mapping[str, str], python: str
) -> None:
    """Writes MLmodel and what it names beside the `model/` in `folder`.

    `answering` says how a prompt is put to the model: `template`, `chat`, `start`, `max_new_tokens`. `packages` and
    `python` are the versions that the model was made with, and that are pinned.
    """
    shutil.copy(Path(__file__).with_name(COMPLETION), folder / COMPLETION)
    pins = [f"{name}=={packages[name].partition('+')[0]}" for name in NEEDED]
    (folder / REQUIREMENTS).write_text("".join(f"{pin}\n" for pin in pins))
    needed = {"python": python, "build_dependencies": ["pip"], "dependencies": [f"-r {REQUIREMENTS}"]}
    (folder / PYTHON).write_text(yaml.safe_dump(needed))
    example = _Example([PROMPT])
    example.save(str(folder))
    model = Model(
        run_id=run_id,
        model_id=model_id,
        signature=_signature(answering["max_new_tokens"]),
        saved_input_example_info=example.info,
        metadata={"prompt_template": answering["template"]},
    )
    model.add_flavor("transformers", **_transformers(folder))
    model.add_flavor(
        "python_function",
        loader_module="mlflow.pyfunc.model",
        model_code_path=COMPLETION,
        artifacts={"model": {"path": FOLDER, "uri": FOLDER}},
        config=dict(answering),
        env={"virtualenv": PYTHON},
        python_version=python,
    )
    model.save(str(folder / "MLmodel"))


def _transformers(folder: Path) -> dict[str, Any]:
    """The names of the classes, as the flavor's loader wants them."""
    config = json.loads((folder / FOLDER / "config.json").read_bytes())
    tokenizer = json.loads((folder / TOKENIZER / "tokenizer_config.json").read_bytes())
    return {
        "task": "text-generation",
        "instance_type": "TextGenerationPipeline",
        "model_binary": FOLDER,
        "pipeline_model_type": config["architectures"][0],
        "torch_dtype": f"torch.{config['dtype']}",
        "components": ["tokenizer"],
        "tokenizer_type": tokenizer["tokenizer_class"],
    }


def _signature(max_new_tokens: int) -> ModelSignature:
    text = Schema([ColSpec("string")])
    params = ParamSchema(
        [
            ParamSpec("max_new_tokens", "long", max_new_tokens),
            ParamSpec("stop", "string", [], shape=(-1,)),
        ]
    )
    signature = ModelSignature(inputs=text, outputs=text, params=params)
    signature._is_signature_from_type_hint = True
    return signature
