"""Items as MLflow traces: whole, paired across checkpoints, counted, and gone with their run."""

import shutil
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import Finished
from helpers.answered import made
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from stagewise import pipeline
from stagewise.errors import TrackingError
from stagewise.evaluation import predictions
from stagewise.tracking import eval_traces, leftovers
from stagewise.tracking.records import download, read
from stagewise.tracking.runs import open_run
from stagewise.tracking.store import connect


def found(client: Any, experiment_id: str, run_id: str) -> list[Any]:
    """The traces of a run, as the UI finds and orders them."""
    order = ["timestamp_ms DESC"]
    return list(client.search_traces(locations=[experiment_id], run_id=run_id, max_results=500, order_by=order))


def rows(count: int, output: str = "2+2=4\n4") -> list[dict[str, Any]]:
    return [made(output) | {"item": f"x-{number}", "doc_id": number} for number in range(count)]


def is_whole(trace: Any, row: dict[str, Any]) -> None:
    (span,) = trace.data.spans
    assert span.inputs == {"prompt": row["arguments"]["gen_args_0"]["arg_0"]}
    assert span.outputs == row["resps"][0][0]
    assert trace.info.trace_metadata["stagewise.item"] == row["item"]
    said = {each.name: each.value for each in trace.info.assessments}
    assert sorted(said)[:4] == ["answer", "expected_response", "flexible", "strict"]
    assert said["expected_response"] == row["target"]
    assert said["answer"] == row["filtered_resps"][0]
    assert (said["flexible"] == "yes", said["strict"] == "yes") == (row["flexible"] == 1, row["strict"] == 1)
    measured = {name.removeprefix("structure."): value for name, value in said.items() if "." in name}
    assert measured == pytest.approx(row["measures"])


def test_the_items_of_two_checkpoints_pair(finished: Finished) -> None:
    runs = finished.runs("eval")
    paired = []
    for run in runs:
        rows = predictions.decode(download(finished.client, run.info.run_id, predictions.FILE))
        logged = found(finished.client, finished.experiment_id, run.info.run_id)
        (model,) = run.inputs.model_inputs
        for row, trace in zip(rows, logged, strict=True):
            assert trace.info.trace_metadata["mlflow.modelId"] == model.model_id
            is_whole(trace, row)
        paired.append([trace.info.request_preview for trace in logged])
    assert len(runs) == 5
    assert len(set(paired[0])) == 6
    assert all(labels == paired[0] for labels in paired)
    record = read(finished.client, runs[0].info.run_id, "eval")
    assert record.manifest.facts["traces"] == {"logged": 6, "of": 6, "seed": 0}
    assert runs[0].data.tags["stagewise.traces"] == "6 of 6"


def test_an_evaluation_dataset_of_mlflows_is_made_of_a_records_traces(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompt and expected answer of every item, for MLflow's own scorers."""
    (*_, run) = finished.runs("eval")
    rows = predictions.decode(download(finished.client, run.info.run_id, predictions.FILE))
    shutil.copy(finished.store.folder / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    connect()
    dataset = mlflow.genai.datasets.create_dataset(name="items", experiment_id=[finished.experiment_id])
    logged = mlflow.search_traces(locations=[finished.experiment_id], run_id=run.info.run_id)
    dataset.merge_records(logged)
    made = {record["inputs"]["prompt"]: record for record in dataset.to_df().to_dict("records")}
    assert set(made) == {row["arguments"]["gen_args_0"]["arg_0"] for row in rows}
    for row in rows:
        record = made[row["arguments"]["gen_args_0"]["arg_0"]]
        assert record["expectations"] == {"expected_response": row["target"]}
        assert record["outputs"] == row["resps"][0][0]


def test_of_more_items_a_sample_is_logged_and_the_run_says_so(store: Any, write_config: Any) -> None:
    config = write_config(arms=["flat"], evaluation={"traces_limit": 2})
    study = Finished(store, config, pipeline.run(config), connect())
    labels = []
    for run in study.runs("eval"):
        logged = found(study.client, study.experiment_id, run.info.run_id)
        labels.append({trace.info.request_preview for trace in logged})
        assert run.data.tags["stagewise.traces"] == "2 of 6"
        assert "2 of 6 items are MLflow traces, drawn with seed 0" in run.data.tags["mlflow.note.content"]
        assert read(study.client, run.info.run_id, "eval").manifest.facts["traces"] == {"logged": 2, "of": 6, "seed": 0}
    assert len(labels[0]) == 2
    assert labels[0] == labels[1]


def test_a_sample_is_drawn_by_its_seed() -> None:
    assert eval_traces.sample(6, 200, 0) == list(range(6))
    assert eval_traces.sample(6, 0, 0) == []
    drawn = eval_traces.sample(1000, 200, 7)
    assert drawn == eval_traces.sample(1000, 200, 7) == sorted(set(drawn))
    assert drawn != eval_traces.sample(1000, 200, 8)


@pytest.mark.slow  # by the clock, so nothing else should be at work
def test_a_hundred_items_take_ten_seconds_at_most(store: Any) -> None:
    with open_run(connect(), "0", "eval", "eval") as run:
        started = time.perf_counter()
        eval_traces.log(run, rows(100, "2+2=4, so the answer is 4.\n" * 20), "flat-1-s1", "m-1")
        assert time.perf_counter() - started <= 10


def test_a_hundred_items_are_all_there_in_their_order(store: Any) -> None:
    client = connect()
    with open_run(client, "0", "eval", "eval") as run:
        eval_traces.log(run, rows(100, "\0long" * 400), "flat-1-s1", "m-1")
    logged = found(client, "0", run.id)
    assert [trace.info.request_preview for trace in logged] == [f"[{number:03d}] What is 2+2?" for number in range(100)]
    preview = logged[0].info.response_preview
    assert (len(preview), preview[:5], preview[-1]) == (1000, "␀long", "…")  # what the column takes
    assert logged[0].data.spans[0].outputs == "\0long" * 400


def test_a_trace_that_was_lost_is_an_error(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log_spans = SqlAlchemyStore.log_spans

    def all_but_one(store: Any, location: str, spans: list[Any], **options: Any) -> Any:
        return log_spans(store, location, spans[1:], **options)

    monkeypatch.setattr(SqlAlchemyStore, "log_spans", all_but_one)
    with pytest.raises(TrackingError, match=r"3 MLflow traces were logged and 2 are found; '\[000\] What is 2\+2\?'"):
        with open_run(connect(), "0", "eval", "eval") as run:
            eval_traces.log(run, rows(3), "flat-1-s1", "m-1")


def test_the_traces_of_a_removed_run_are_gone_and_no_others(store: Any) -> None:
    client = connect()
    with open_run(client, "0", "eval", "whole") as whole:
        eval_traces.log(whole, rows(2), "flat-1-s1", "m-1")
    with open_run(client, "0", "eval", "failed") as failed:
        eval_traces.log(failed, rows(3), "flat-1-s1", "m-1")
    client.set_terminated(failed.id, "FAILED")
    (leftover,) = leftovers.find(client)
    leftovers.remove(client, leftover)
    assert (len(found(client, "0", whole.id)), len(found(client, "0", failed.id))) == (2, 0)
