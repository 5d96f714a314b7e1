"""A server that does what it is asked, and whose answer gets lost: nothing is made twice."""

from pathlib import Path
from typing import Any

import pytest
from helpers.proxy import EMPTY, LOSE
from mlflow.tracing.client import TracingClient

from stagewise.evaluation.predictions import label
from stagewise.tracking import eval_traces
from stagewise.tracking.datasets import DatasetRef, log_datasets
from stagewise.tracking.models import claim, log_checkpoint, register
from stagewise.tracking.runs import open_run
from stagewise.tracking.store import connect, experiment


class Losing:
    """Loses the first answer to each request that ends so."""

    def __init__(self, proxy: Any) -> None:
        self.proxy, self.left, self.lost, self.how = proxy, list[str](), list[str](), LOSE
        proxy.rule = self.rule

    def rule(self, method: str, path: str) -> str | None:
        for ending in self.left:
            if path.endswith(ending) and method == "POST":
                self.left.remove(ending)
                self.lost.append(ending)
                return self.how
        return None

    def lose(self, *endings: str) -> None:
        self.left = list(endings)


@pytest.fixture
def losing(proxy: Any) -> Losing:
    return Losing(proxy)


@pytest.fixture
def client(losing: Losing) -> Any:
    return connect()


@pytest.fixture
def study(client: Any, request: Any) -> str:
    return experiment(client, request.node.name)


def test_an_experiment(client: Any, losing: Losing) -> None:
    losing.lose("/experiments/create")
    made = experiment(client, "lost")
    assert losing.lost == ["/experiments/create"]
    assert [each.experiment_id for each in client.search_experiments(filter_string="name = 'lost'")] == [made]


def test_a_run(client: Any, losing: Losing, study: str) -> None:
    losing.lose("/runs/create", "/runs/log-batch", "/runs/update")
    with open_run(client, study, "split", "a run") as run:
        run.tag(arm="flat")
        run.metrics({"eval/flexible": 0.5})
    (found,) = client.search_runs([study])
    assert losing.lost == ["/runs/create", "/runs/log-batch", "/runs/update"]
    assert (found.info.run_id, found.info.status) == (run.id, "FINISHED")
    assert len(client.get_metric_history(run.id, "eval/flexible")) == 1


def checkpoint(folder: Path) -> Path:
    from helpers.models import loaded

    from stagewise.model import loading

    model = loaded()
    loading.save(model, folder / "model")
    model.tokenizer.save_pretrained(folder / "components" / "tokenizer")
    return folder


ANSWERING = {"template": "{prompt}\n", "chat": False, "start": [], "max_new_tokens": 8}


def test_a_model_its_name_and_its_version(client: Any, losing: Losing, study: str, tmp_path: Path) -> None:
    losing.lose("/logged-models", "/runs/outputs", "/registered-models/create", "/model-versions/create")
    claim(client, "lost")
    with open_run(client, study, "train", "a run") as run:
        made = log_checkpoint(run, checkpoint(tmp_path / "c"), "flat-1-s1", {}, {}, "a note", ANSWERING)
    version = register(client, tmp_path / "lock", "lost", made.model_id, "flat-s1", {"arm": "flat"}, "a note")
    assert len(losing.lost) == 4
    (found,) = client.search_logged_models([study])
    assert (found.model_id, str(found.status)) == (made.model_id, "READY")
    assert [output.model_id for output in client.get_run(run.id).outputs.model_outputs] == [made.model_id]
    (registered,) = client.search_model_versions("name = 'lost'")
    assert registered.version == version.version
    assert client.get_model_version_by_alias("lost", "flat-s1").source == f"models:/{made.model_id}"
    assert registered.tags == {"arm": "flat"}


def test_what_is_made_and_answered_with_nothing_is_found(
    client: Any, losing: Losing, study: str, tmp_path: Path
) -> None:
    losing.how = EMPTY
    losing.lose("/experiments/create", "/runs/create", "/logged-models", "/registered-models/create")
    assert client.get_experiment(experiment(client, "empty")).name == "empty"
    claim(client, "empty")
    with open_run(client, study, "train", "a run") as run:
        made = log_checkpoint(run, checkpoint(tmp_path / "c"), "flat-1-s1", {}, {}, "a note", ANSWERING)
    assert len(losing.lost) == 4
    assert [each.info.run_id for each in client.search_runs([study])] == [run.id]
    assert [each.model_id for each in client.search_logged_models([study])] == [made.model_id]
    assert client.get_registered_model("empty").name == "empty"


def test_datasets(client: Any, losing: Losing, study: str) -> None:
    losing.lose("/runs/log-inputs")
    with open_run(client, study, "split", "a run") as run:
        log_datasets(client, run.id, [DatasetRef(name, name * 64, 10, 1, "training", name) for name in "abc"])
    inputs = client.get_run(run.id).inputs.dataset_inputs
    assert losing.lost == ["/runs/log-inputs"]
    assert [entry.dataset.name for entry in inputs] == ["a", "b", "c"]
    assert all(len(entry.tags) == 3 for entry in inputs)


def row(number: int) -> dict[str, Any]:
    return {
        "doc_id": number,
        "item": f"{number:03d}",
        "doc": {"prompt": f"What is {number} + 1?"},
        "target": str(number + 1),
        "arguments": {"gen_args_0": {"arg_0": f"What is {number} + 1?\n"}},
        "resps": [["5"]],
        "filtered_resps": ["5"],
        "extraction": None,
        "timed_out": False,
        "matched": None,
        "flexible": 0.0,
        "strict": 0.0,
        "measures": {"steps": 1.0},
        "prompt_tokens": 4,
        "output_tokens": 1,
        "finish_reason": "stop",
    }


@pytest.mark.parametrize("ending", ["/traces", "/v1/traces"])
def test_traces(client: Any, losing: Losing, study: str, ending: str) -> None:
    rows = [row(number) for number in range(4)]
    losing.lose(ending, ending)
    with open_run(client, study, "eval", "a run") as run:
        eval_traces.log(run, rows, "flat-1-s1", "m-1")
    assert losing.lost
    found = TracingClient(client.tracking_uri).search_traces(locations=[study])
    assert sorted(trace.info.request_preview for trace in found) == sorted(label(each) for each in rows)  # type: ignore[type-var]
    assert all(len(trace.data.spans) == 1 and len(trace.info.assessments) == 5 for trace in found)


def test_files(client: Any, proxy: Any, study: str, tmp_path: Path) -> None:
    """What is stored again is the same file."""
    lost: list[str] = []

    def rule(method: str, path: str) -> str | None:
        if method in ("PUT", "GET") and path.endswith("/file.txt") and lost.count(method) == 0:
            lost.append(method)
            return LOSE
        return None

    proxy.rule = rule
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file.txt").write_text("content")
    with open_run(client, study, "split", "a run") as run:
        run.upload(tmp_path / "out")
    assert lost == ["PUT", "GET"]
    assert run.files.sizes() == {"file.txt": 7}
