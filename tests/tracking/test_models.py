"""A checkpoint in the registry, as others meet it: by its URI, in MLflow's loaders, in transformers, over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from conftest import TINY, Store
from helpers import models
from helpers.studies import experiment_id
from transformers import AutoModelForCausalLM, AutoTokenizer

from stagewise import pipeline
from stagewise.config import Training
from stagewise.errors import LineageError
from stagewise.hashing import folder_digests
from stagewise.model import loading
from stagewise.model.templates import prompt_ids
from stagewise.tracking.models import claim, fetch_checkpoint, register
from stagewise.tracking.records import download, read
from stagewise.tracking.runs import open_run
from stagewise.tracking.store import connect, experiment

URI = "models:/spoken@flat-s1"
STOP = "a"  # it stands in some of the answers


class Spoken:
    """A study whose model says something: weights wide enough that different prompts get different answers."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.client = connect()
        (self.evaluated,) = self._runs("eval", "flat")
        (self.trained,) = self._runs("train", "flat")
        lines = download(self.client, self.evaluated, "predictions.jsonl").decode().splitlines()
        self.rows = [json.loads(line) for line in lines]
        self.prompts = [row["doc"]["prompt"] for row in self.rows]
        self.answers = [row["resps"][0][0] for row in self.rows]

    def _runs(self, kind: str, arm: str) -> list[str]:
        experiment = experiment_id(self.client, "spoken")
        query = f"tags.`stagewise.kind` = '{kind}' and tags.`stagewise.arm` = '{arm}'"
        return [run.info.run_id for run in self.client.search_runs([experiment], query)]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory, fresh_database: bytes) -> Iterator[Spoken]:
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "mlflow.db").write_bytes(fresh_database)
    loading.save(models.loaded("llama", "bpe"), folder / "wide")
    config = folder / "config.yaml"
    study = {
        **TINY,
        "study": "spoken",
        "arms": ["flat"],
        "model": {"path": "wide"},
        "training": {"batch_size": 8, "learning_rate": 1e-5},
        "evaluation": {"max_new_tokens": 24, "match": ["exact"], "stop": [STOP]},
    }
    config.write_text(yaml.safe_dump(study))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in Store(folder).environment.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        pipeline.run(config)
        made = Spoken(folder)
        assert len(set(made.answers)) > 3, "a model that says the same to all shows nothing"
        yield made


def test_mlflow_transformers_loads_it_by_its_alias(spoken: Spoken) -> None:
    loaded = mlflow.transformers.load_model(URI)
    (row, *_) = spoken.rows
    # One prompt, greedily, in transformers' own pipeline: another program than ours says the same.
    said = loaded(f"{spoken.prompts[0]}\n", max_new_tokens=24, do_sample=False, return_full_text=False)
    assert said[0]["generated_text"].split(STOP)[0] == row["resps"][0][0]


def test_transformers_loads_the_weights_folder_in_it(spoken: Spoken, tmp_path: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(URI, dst_path=str(tmp_path))) / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(f"{spoken.prompts[0]}\n", add_special_tokens=False, return_tensors="pt")
    output = model.generate(**ids, max_new_tokens=24, do_sample=False)
    said = tokenizer.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    assert said.split(STOP)[0] == spoken.answers[0]


def test_pyfunc_gives_the_recorded_answers(spoken: Spoken) -> None:
    loaded = mlflow.pyfunc.load_model(URI)
    assert loaded.predict(spoken.prompts, params={"max_new_tokens": 24, "stop": [STOP]}) == spoken.answers


CHAT = "{% for m in messages %}<|turn|>{{ m.content }}<|end|>{% endfor %}<|turn|>"


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_a_prompt_that_spells_a_special_token_is_text_as_in_the_study(spoken: Spoken, template: Any) -> None:
    served = mlflow.pyfunc.load_model(URI).unwrap_python_model()
    if template == "chat":
        served.tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|end|>"]})
        served.tokenizer.chat_template = CHAT
        served.special |= set(served.tokenizer.all_special_ids)
        served.settings = served.settings | {"chat": True}
    settings = Training(batch_size=1, learning_rate=1.0, template=template, special_tokens_in_text="text")
    for prompt in ("Say <eos>.", "<pad>", "<|end|>", "What is 12 + 30?"):
        assert [served._ids(prompt)] == prompt_ids(served.tokenizer, settings, [prompt], str)


def test_a_prompt_without_room_for_an_answer_is_refused(spoken: Spoken) -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        mlflow.pyfunc.load_model(URI).predict(["1" * 3000])


def test_it_carries_what_a_stranger_needs(spoken: Spoken) -> None:
    info = mlflow.models.get_model_info(URI)
    assert info.signature.inputs.to_dict() == [{"type": "string", "required": True}]
    assert [param.name for param in info.signature.params] == ["max_new_tokens", "stop"]
    assert info.metadata == {"prompt_template": "{prompt}\n"}
    assert info.flavors["python_function"]["config"]["max_new_tokens"] == 512
    folder = Path(mlflow.artifacts.download_artifacts(URI))
    assert json.loads((folder / "input_example.json").read_text()) == ["What is 12 + 30?"]
    assert (folder / "model" / "generation_config.json").is_file()
    pins = (folder / "requirements.txt").read_text().split()
    assert all(len(pin.split("==")) == 2 and "+" not in pin for pin in pins)
    assert {"torch", "transformers", "mlflow"} <= {pin.split("==")[0] for pin in pins}


def test_weights_are_there_once_and_nothing_is_pickled(spoken: Spoken) -> None:
    sizes = folder_digests(spoken.store.folder / "mlruns")
    logged = [path for path in sizes if "/models/m-" in path]
    assert sum(path.endswith(".safetensors") for path in logged) == 2  # the base's and the arm's
    assert not [path for path in logged if path.endswith((".pkl", ".bin", ".pt", ".pth", ".joblib", ".pickle"))]
    for path in sizes:
        start = (spoken.store.folder / "mlruns" / path).read_bytes()[:2]
        assert not start.startswith(b"\x80"), f"{path} begins like a pickle"
        # PyTorch's own files are zip archives with a pickle in them.
        assert start != b"PK", f"{path} is a zip archive"


def test_the_manifest_names_every_file_of_the_model(spoken: Spoken) -> None:
    model = read(spoken.client, spoken.trained, "train").model
    (folder,) = (spoken.store.folder / "mlruns").rglob(f"{model.model_id}/artifacts")
    # MLflow's loaders leave these in a store that is a local folder.
    left = ("registered_model_meta", "__pycache__/")
    found = {path: entry for path, entry in folder_digests(folder).items() if not path.startswith(left)}
    assert found == model.files
    assert {"MLmodel", "completion.py", "model/model.safetensors"} <= set(model.files)


@pytest.mark.parametrize("name", ["MLmodel", "completion.py", "requirements.txt", "model/config.json"])
def test_an_altered_file_is_named_when_the_checkpoint_is_fetched(spoken: Spoken, name: str, tmp_path: Path) -> None:
    record = read(spoken.client, spoken.trained, "train")
    model = record.model
    (folder,) = (spoken.store.folder / "mlruns").rglob(f"{model.model_id}/artifacts")
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(before + b" ")
    try:
        with (
            pytest.raises(LineageError, match=f"model file {name} was altered"),
            open_run(spoken.client, record.experiment_id, "eval", "eval") as run,
        ):
            fetch_checkpoint(run, record, tmp_path / "parent")
    finally:
        (folder / name).write_bytes(before)


@pytest.mark.parametrize(
    ("delete", "whose"),
    [
        (None, "experiment one"),
        ("delete_run", "experiment one, of a run that is deleted"),
        ("delete_logged_model", "experiment one"),
    ],
)
def test_an_alias_that_moves_says_from_where(
    delete: str | None, whose: str, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    client, ids = connect(), []
    for name in ("one", "two"):
        study = experiment(client, name)
        run_id = client.create_run(study).info.run_id
        ids.append((run_id, client.create_logged_model(study, name, run_id).model_id))
    (run_id, first), (_, second) = ids

    claim(client, "mine")

    def registered(model_id: str) -> str:
        lock = store.folder / "lock"
        return str(register(client, lock, "mine", model_id, "flat-s1", {"arm": "flat"}, "a note").version)

    assert (registered(first), registered(first)) == ("1", "1")
    assert capsys.readouterr().out == ""
    if delete:
        getattr(client, delete)(run_id if delete == "delete_run" else first)
    client.delete_model_version_tag("mine", "1", "arm")
    assert registered(second) == "2"
    assert capsys.readouterr().out == f"! alias models:/mine@flat-s1 moved from version 1 ({whose}) to 2\n"
    if not delete:
        assert registered(first) == "1"  # the same version again, with what was taken from it
        assert client.get_model_version("mine", "1").tags == {"arm": "flat"}


@pytest.mark.entry
def test_mlflow_serves_it_over_http(spoken: Spoken) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # From a folder and an environment in which there is no stagewise.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["mlflow", "models", "serve", "-m", URI, "--env-manager", "local", "-p", str(port), "-h", "127.0.0.1"]
    with (spoken.store.folder / "serve.log").open("w") as log:
        server = subprocess.Popen(
            command, env=environment, cwd=spoken.store.folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        body = {"inputs": spoken.prompts, "params": {"max_new_tokens": 24, "stop": [STOP]}}
        answer = ask(f"http://127.0.0.1:{port}/invocations", body, server)
        assert answer == {"predictions": spoken.answers}, (spoken.store.folder / "serve.log").read_text()
    finally:
        os.killpg(server.pid, 15)
        server.wait(60)


def ask(url: str, body: dict[str, Any], server: subprocess.Popen[bytes]) -> Any:
    """The answer, once the server listens."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError("the server did not come up")
