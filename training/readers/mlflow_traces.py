"""MLflow's traces from a tracking server or files: spans of language models, with their assessments.

Names: MLflow's `TraceInfo.to_dict`, `Span.to_dict` (of schemas 2 and 3), `Assessment.to_dictionary` and
`mlflow.tracing.constant`, as of MLflow 3.17.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from router.errors import CallLogError, MissingExtra
from router.errors.masking import shown_address
from router.loading.registry import cause_of, check_database
from router.records import Json
from training.readers.judgements import Judge, Judgement, expected, judgement_of, with_error, with_judgements
from training.readers.litellm_records import CACHED
from training.readers.mlflow_spans import (
    MODELS,
    amounts_in,
    attributes_of,
    error_of,
    llm_spans,
    request_of,
    span_id,
    span_model,
    spans_of,
)
from training.readers.protocol import (
    NO_MODEL,
    NO_PROMPT,
    OUTER,
    Call,
    Reader,
    Record,
    Rejected,
    Result,
    Sample,
    Skipped,
)
from training.readers.request_shapes import texts_in
from training.readers.traced_runs import evidence_in
from training.readers.values import (
    filled,
    first_given,
    first_words,
    from_nanoseconds,
    listed,
    mapping,
    member,
    seconds_between,
    truth,
    words,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 100
_SCHEME = "mlflow://"
_JUDGES: Mapping[str, Judge] = {
    "HUMAN": "feedback", "LLM_JUDGE": "evaluation", "AI_JUDGE": "evaluation", "CODE": "evaluation",
}  # fmt: skip
_EXPECTED = frozenset(
    "expected expected_response expected_output expected_answer ground_truth answer".split()
)

NO_LLM = Skipped("no span of a language model")
_NO_SPAN = Rejected("not a span of an MLflow trace")


FIRST_REQUEST: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
"""For a request that any server answers at once; MLflow's defaults retry for minutes."""
LATER_REQUESTS: Mapping[str, str] = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""For a page of traces, which may take a slow server long."""


@contextmanager
def client_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Apply these settings where the environment has none, and silence messages about retries."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    connections = logging.getLogger("urllib3.connectionpool")
    os.environ.update(added)
    connections.addFilter(_silent)
    try:
        yield
    finally:
        connections.removeFilter(_silent)
        for name in added:
            os.environ.pop(name, None)


def _silent(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


class MLflowTraces(Reader):
    """A span of a language model is a call; assessments of the whole trace count for its last call."""

    name = "mlflow"
    many_rows = True
    schemes = (_SCHEME,)

    def recognise(self, sample: Sample) -> float:
        """By the two parts of a trace, or by the columns of `search_traces`."""
        if {"trace_id", "trace", "spans", "assessments"} <= sample.columns:
            return 0.9
        whole = sample.share_of(lambda record: _is_info(record.get("info")) and bool(spans_of(record)))
        return 0.9 * max(whole, sample.share("trace_metadata", "spans", "assessments"))

    def rows(self, record: Record) -> Iterator[Record]:
        """The spans of a trace, each with its assessments and the details of the trace."""
        trace = mapping(record.get("trace")) or record
        info = mapping(trace.get("info")) or trace
        spans = spans_of(trace)
        inner, outer = llm_spans(spans)
        last = inner[-1] if inner else None
        outer_ids = {id(span) for span in outer}
        for span in spans:
            yield {
                "span": span,
                "role": "outer" if id(span) in outer_ids else None,
                "trace_id": first_given(info.get("trace_id"), info.get("request_id")),
                "metadata": first_given(info.get("trace_metadata"), info.get("request_metadata")),
                "tags": info.get("tags"),
                "assessments": [*_assessments(info, span, is_last=span is last)],
            }

    def fetch(self, address: str) -> Iterator[Record]:
        """All traces of the experiment of that name, earliest first, from MLflow's tracking server.

        Raises:
            CallLogError: no experiment has that name, or the server does not answer.
            MissingExtra: MLflow is not installed.
        """
        try:
            from mlflow import MlflowClient, get_tracking_uri
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise MissingExtra("mlflow", "train") from error
        try:
            check_database(get_tracking_uri())
            yield from _traces(MlflowClient(), address)
        except (MlflowException, FileNotFoundError) as error:
            server = shown_address(get_tracking_uri())
            raise CallLogError(
                f"{address}: can't be read from {server}: {cause_of(error)}; check "
                "MLFLOW_TRACKING_URI, and whether the server runs"
            ) from None

    def convert(self, row: Record) -> Result:
        """The call in a span, whose inputs and outputs are request and answer."""
        span = row.get("span")
        if not isinstance(span, dict):
            return _NO_SPAN
        attributes = attributes_of(span)
        if row.get("role") == "outer":
            return OUTER
        if attributes.get("mlflow.spanType") not in MODELS:
            return NO_LLM
        return CACHED if truth(attributes.get("cache_hit")) else _call(row, span, attributes)


def _is_info(value: Json) -> bool:
    info = mapping(value)
    return "trace_metadata" in info or "request_metadata" in info


def _traces(client: MlflowClient, address: str) -> Iterator[Record]:
    name = address.removeprefix(_SCHEME)
    with client_settings(FIRST_REQUEST):
        experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise CallLogError(
            f"{address}: the server of MLFLOW_TRACKING_URI has no experiment of that name; check both"
        )
    token: str | None = None
    while True:
        with client_settings(LATER_REQUESTS):
            page = client.search_traces(
                locations=[experiment.experiment_id],
                max_results=_PAGE,
                order_by=["timestamp_ms ASC"],
                page_token=token,
            )
        yield from (json.loads(trace.to_json()) for trace in page)
        token = page.token
        if not token:
            return


def _assessments(info: Mapping[str, Json], span: Record, *, is_last: bool) -> Iterator[Json]:
    """Valid assessments of the span; for the last call, those of the whole trace too."""
    for one in listed(info.get("assessments")):
        if not isinstance(one, dict) or one.get("valid") is False:
            continue
        of_span = words(one.get("span_id"))
        if of_span == span_id(span) or (of_span is None and is_last):
            yield one


def _call(row: Record, span: Record, attributes: Mapping[str, Json]) -> Result:
    fields = request_of(attributes)
    if not fields:
        return NO_PROMPT
    model = span_model(attributes)
    evidence = evidence_in(attributes.get("mlflow.spanOutputs"))
    call = {**fields, "model": model, **_labels(row, span), **_amounts(span, attributes, model), **evidence}
    result = with_error(call, error) if (error := error_of(span)) else call
    if not isinstance(result, dict):
        return result
    if model is None:
        del result["model"]
        return replace(NO_MODEL, call=result)
    said = evidence.get("answer")
    text = next(iter(texts_in(said if isinstance(said, list) else [said])), None) or words(said)
    return with_judgements(result, _judgements(row, text))


def _labels(row: Record, span: Record) -> Call:
    trace, own_id = words(row.get("trace_id")), span_id(span)
    return filled(
        {
            "call_id": f"{trace}/{own_id}" if trace and own_id else None,
            "session_id": first_words(mapping(row.get("metadata")).get("mlflow.trace.session"), trace),
            "time": from_nanoseconds(_start(span)),
            "task_type": words(mapping(row.get("tags")).get("task_type")),
        }
    )


def _start(span: Record) -> Json:
    return first_given(span.get("start_time_unix_nano"), span.get("start_time"))


def _amounts(span: Record, attributes: Mapping[str, Json], model: str | None) -> Call:
    end = from_nanoseconds(first_given(span.get("end_time_unix_nano"), span.get("end_time")))
    latency = seconds_between(from_nanoseconds(_start(span)), end)
    return {**amounts_in(attributes, model), **filled({"latency_s": latency}, zeros=True)}


def _judgements(row: Record, answer: str | None) -> Sequence[Judgement | None]:
    return [_judgement(one, answer) for one in listed(row.get("assessments")) if isinstance(one, dict)]


def _judgement(assessment: Mapping[str, Json], answer: str | None) -> Judgement | None:
    """The value of a feedback, or whether the answer meets an expectation."""
    name = first_words(assessment.get("assessment_name"), assessment.get("name"))
    if "expectation" in assessment:
        wanted = member(assessment, "expectation", "value")
        return expected(wanted, answer) if name in _EXPECTED else None
    judge = _JUDGES.get(words(member(assessment, "source", "source_type")) or "")
    return judgement_of(judge, name, member(assessment, "feedback", "value")) if judge else None


READER = MLflowTraces()
