"""Each item that a checkpoint answered, as one MLflow trace: what the UI compares two checkpoints by, item by item.

    log(run, rows, "curriculum-3-s42", "m-61ab…")

    [007] What is 12 × 3?   →   12 × 3 = 36⏎36
        answer 36 · expected_response 36 · flexible yes · strict yes · structure.steps 2 · structure.equations_true 1 …

Under `/#/experiments/E/runs/A/traces?compareToRunUuid=B` rows pair by their preview, which is the same for every
checkpoint. The UI drops what stands before a slash in a name, and shows the first four names by the alphabet.

A trace is written by the client's store calls, in this process, and read back: MLflow's own export loses some
without a word (871 of 1,000 were kept), and takes a request for each assessment.
"""

import base64
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import (
    Assessment,
    AssessmentSource,
    Expectation,
    Feedback,
    TraceInfo,
    TraceLocation,
    TraceState,
)
from mlflow.entities.span import Span, SpanType
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import (
    TRACE_REQUEST_RESPONSE_PREVIEW_MAX_LENGTH_OSS,
    AssessmentMetadataKey,
    SpanAttributeKey,
    TokenUsageKey,
    TraceMetadataKey,
    TraceTagKey,
)

from stagewise.errors import TrackingError
from stagewise.evaluation.predictions import label
from stagewise.hashing import sha256
from stagewise.tracking.calls import call, create
from stagewise.tracking.client import ABSENT
from stagewise.tracking.runs import ActiveRun

BATCH = 100  # traces of a request, so that it stays at a few hundred kilobytes
SOURCE = AssessmentSource(source_type="CODE", source_id="stagewise")


def sample(count: int, limit: int, seed: int) -> list[int]:
    """Which of `count` items are logged: all, or `limit` of them, the same for equal arguments."""
    return sorted(random.Random(seed).sample(range(count), min(count, limit)))


def log(run: ActiveRun, rows: Sequence[Mapping[str, Any]], checkpoint: str, model_id: str) -> None:
    """Logs rows of predictions.jsonl. Raises `TrackingError` unless each is found again, with all that is said of it.

    To be found by run and by model, `checkpoint` being its name.
    """
    now = int(time.time() * 1000)
    # The UI lists the newest first: so the items come in their order.
    infos = [_info(run, row, checkpoint, model_id, now - position) for position, row in enumerate(rows)]
    for start in range(0, len(rows), BATCH):
        _log(run, infos[start : start + BATCH], rows[start : start + BATCH])


def _log(run: ActiveRun, infos: Sequence[TraceInfo], rows: Sequence[Mapping[str, Any]]) -> None:
    client = TracingClient(run.client.tracking_uri)

    for info in infos:
        # MLflow adds the assessments of a trace that is sent twice to those that are there.
        create(partial(client.start_trace, info), "log a trace", partial(_sent, client, info.trace_id))
    spans = [_span(info, row) for info, row in zip(infos, rows, strict=True)]
    call(partial(client.log_spans, run.experiment_id, spans), "log spans")
    ids = [info.trace_id for info in infos]
    found = {trace.info.trace_id: trace for trace in call(partial(client.batch_get_traces, ids), "read traces")}
    for info in infos:
        trace = found.get(info.trace_id)
        if not trace or len(trace.data.spans) != 1 or len(trace.info.assessments) != len(info.assessments):
            raise TrackingError(
                f"run {run.id}: {len(infos)} MLflow traces were logged and {len(found)} are found; "
                f"{info.request_preview!r} is not there whole"
            )


def _sent(client: TracingClient, trace_id: str) -> TraceInfo | None:
    try:
        return client.get_trace_info(trace_id)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def remove(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """Deletes the traces of a run."""
    while found := client.search_traces(
        locations=[experiment_id], run_id=run_id, max_results=BATCH, include_spans=False
    ):
        client.delete_traces(experiment_id, trace_ids=[trace.info.trace_id for trace in found])


def _info(run: ActiveRun, row: Mapping[str, Any], checkpoint: str, model_id: str, at: int) -> TraceInfo:
    return TraceInfo(
        # Made from run and item: a request that is sent again after a time-out makes no second trace.
        trace_id="tr-" + sha256(f"{run.id}/{row['item']}".encode())[:32],
        trace_location=TraceLocation.from_experiment_id(run.experiment_id),
        request_time=at,
        state=TraceState.OK,
        request_preview=_preview(label(row)),
        response_preview=_preview(row["resps"][0][0]),
        trace_metadata={
            TraceMetadataKey.SOURCE_RUN: run.id,
            TraceMetadataKey.MODEL_ID: model_id,
            "stagewise.item": row["item"],
        },
        tags={TraceTagKey.TRACE_NAME: checkpoint},
        assessments=list(_assessments(row, {AssessmentMetadataKey.SOURCE_RUN_ID: run.id})),
    )


def _preview(text: str) -> str:
    """What a table cell takes; the trace's span has the whole. PostgreSQL takes no NUL, which a model may say."""
    text = text.replace("\0", "␀")
    limit = TRACE_REQUEST_RESPONSE_PREVIEW_MAX_LENGTH_OSS
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _assessments(row: Mapping[str, Any], metadata: dict[str, str]) -> Iterator[Assessment]:
    def feedback(name: str, value: str | float, why: str | None = None) -> Feedback:
        return Feedback(name, value, source=SOURCE, metadata=metadata, rationale=why)

    extraction = row["extraction"]
    where = f"rule {extraction['rule']}, characters {extraction['span']}" if extraction else "no rule found an answer"
    equal = "a comparison took too long" if row["timed_out"] else f"equal by {row['matched'] or 'no matcher'}"
    yield Expectation("expected_response", row["target"], source=SOURCE, metadata=metadata)
    yield feedback("answer", row["filtered_resps"][0], where)
    for name in ("flexible", "strict"):
        verdict = "unscored" if row[name] is None else "yes" if row[name] else "no"  # the UI makes pass and fail of two
        yield feedback(name, verdict, equal)
    for name, value in row["measures"].items():
        yield feedback(f"structure.{name}", value)


def _span(info: TraceInfo, row: Mapping[str, Any]) -> Span:
    trace_id = bytes.fromhex(info.trace_id.removeprefix("tr-"))
    tokens = {TokenUsageKey.INPUT_TOKENS: row["prompt_tokens"], TokenUsageKey.OUTPUT_TOKENS: row["output_tokens"]}
    tokens[TokenUsageKey.TOTAL_TOKENS] = sum(tokens.values())
    attributes = {
        SpanAttributeKey.REQUEST_ID: info.trace_id,
        SpanAttributeKey.SPAN_TYPE: SpanType.LLM,
        SpanAttributeKey.INPUTS: {"prompt": row["arguments"]["gen_args_0"]["arg_0"]},  # evaluation datasets want names
        SpanAttributeKey.OUTPUTS: row["resps"][0][0],
        SpanAttributeKey.CHAT_USAGE: tokens,
        "finish_reason": row["finish_reason"],
    }
    # Items are answered in batches, so the time that one took is not known.
    at = info.request_time * 1_000_000
    return Span.from_dict(
        {
            "trace_id": _encoded(trace_id),
            "span_id": _encoded(trace_id[:8]),
            "parent_span_id": None,
            "name": info.tags[TraceTagKey.TRACE_NAME],
            "start_time_unix_nano": at,
            "end_time_unix_nano": at,
            "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": {key: json.dumps(value, ensure_ascii=False) for key, value in attributes.items()},
        }
    )


def _encoded(identity: bytes) -> str:
    return base64.b64encode(identity).decode()
