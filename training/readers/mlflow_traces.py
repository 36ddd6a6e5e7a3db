"""MLflow's traces, of a tracking server or in files: the spans of language models, with their assessments.

Names: MLflow's `TraceInfo.to_dict`, `Span.to_dict` (of schemas 2 and 3), `Assessment.to_dictionary` and
`mlflow.tracing.constant`, as of MLflow 3.17.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from router.addresses import shown_address
from router.errors import CallLogError, MissingExtra
from router.loading.registry import cause_of
from router.records import Json
from training.readers.judgements import Judge, Judgement, expected, judgement_of, with_error, with_judgements
from training.readers.litellm_records import CACHED
from training.readers.mlflow_server import AT_FIRST, ONCE_IT_ANSWERED, asking
from training.readers.mlflow_spans import attributes_of, error_of, llm_spans, span_id, spans_of
from training.readers.protocol import NO_PROMPT, Apart, Call, Reader, Record, Rejected, Result, Sample
from training.readers.request_shapes import answer_evidence, request_fields, texts_in
from training.readers.times import from_nanoseconds, seconds_between
from training.readers.values import first_given, first_words, listed, mapping, member, truth, unpacked, words

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

NO_LLM = Apart("no span of a language model")
OUTER = Apart("span around another model call")
_NO_SPAN = Rejected("no span of an MLflow trace")
_NO_MODEL = Rejected("model is missing")


class MLflowTraces(Reader):
    """A span of a language model is a call; a trace's assessments are its last such span's outcome."""

    name = "mlflow"
    many_rows = True
    schemes = (_SCHEME,)

    def recognise(self, sample: Sample) -> float:
        """By a trace's two parts, or by the columns of `search_traces`."""
        if {"trace_id", "trace", "spans", "assessments"} <= sample.columns:
            return 0.9
        whole = [one for one in sample.records if _is_info(one.get("info")) and spans_of(one)]
        of_all = len(whole) / len(sample.records) if sample.records else 0.0
        return 0.9 * max(of_all, sample.share("trace_metadata", "spans", "assessments"))

    def rows(self, record: Record) -> Iterator[Record]:
        """The spans of a trace, each with what is said of it there."""
        trace = mapping(record.get("trace")) or record
        info = mapping(trace.get("info")) or trace
        spans = spans_of(trace)
        inner, outer = llm_spans(spans)
        last = inner[-1] if inner else None
        around = {id(span) for span in outer}
        for span in spans:
            yield {
                "span": span,
                "role": "outer" if id(span) in around else None,
                "trace_id": first_given(info.get("trace_id"), info.get("request_id")),
                "metadata": first_given(info.get("trace_metadata"), info.get("request_metadata")),
                "tags": info.get("tags"),
                "assessments": [*_assessments(info, span, is_last=span is last)],
            }

    def fetch(self, address: str) -> Iterator[Record]:
        """All traces of the experiment of that name, the earliest first, from where MLflow is set to look.

        Raises:
            CallLogError: there is no such experiment, or the server does not answer.
            MissingExtra: MLflow is not installed.
        """
        try:
            from mlflow import MlflowClient, get_tracking_uri
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise MissingExtra("mlflow", "train") from error
        try:
            yield from _traces(MlflowClient(), address)
        except MlflowException as error:
            server = shown_address(get_tracking_uri())
            raise CallLogError(
                f"{address}: can't be read from {server}: {cause_of(error)}; is MLFLOW_TRACKING_URI set "
                "right, and does the server run?"
            ) from None

    def convert(self, row: Record) -> Result:
        """The request and the answer are the span's inputs and outputs."""
        span = row.get("span")
        if not isinstance(span, dict):
            return _NO_SPAN
        attributes = attributes_of(span)
        if row.get("role") == "outer":
            return OUTER
        if attributes.get("mlflow.spanType") not in ("LLM", "CHAT_MODEL"):
            return NO_LLM
        return CACHED if truth(attributes.get("cache_hit")) else _call(row, span, attributes)


def _is_info(value: Json) -> bool:
    info = mapping(value)
    return "trace_metadata" in info or "request_metadata" in info


def _traces(client: MlflowClient, address: str) -> Iterator[Record]:
    name = address.removeprefix(_SCHEME)
    with asking(AT_FIRST):
        experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise CallLogError(
            f"{address}: no experiment of that name where MLFLOW_TRACKING_URI points; check both"
        )
    token: str | None = None
    while True:
        with asking(ONCE_IT_ANSWERED):
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
    """Those of the span, and at the last call those of the whole trace; withdrawn ones are left out."""
    for one in listed(info.get("assessments")):
        if not isinstance(one, dict) or one.get("valid") is False:
            continue
        of_span = words(one.get("span_id"))
        if of_span == span_id(span) or (of_span is None and is_last):
            yield one


def _call(row: Record, span: Record, attributes: Mapping[str, Json]) -> Result:
    inputs, outputs = attributes.get("mlflow.spanInputs"), attributes.get("mlflow.spanOutputs")
    fields = _request(inputs)
    if not fields:
        return NO_PROMPT
    model = _model(attributes, inputs)
    if model is None:
        return _NO_MODEL
    evidence = answer_evidence(outputs) or ({"answer": outputs} if outputs else {})
    call = {**fields, "model": model, **_labels(row, span), **_amounts(span, attributes), **evidence}
    result = with_error(call, error) if (error := error_of(span)) else call
    if not isinstance(result, dict):
        return result
    text = next(iter(texts_in([evidence.get("answer")])), None) or words(evidence.get("answer"))
    return with_judgements(result, _verdicts(row, text))


def _request(inputs: Json) -> Call:
    """A request's body; or a list of messages, in LangChain's form a list of such lists."""
    given = unpacked(inputs)
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list):
        given = given[0]
    if isinstance(given, list):
        given = [_with_role(message) for message in given]
    return request_fields(given if isinstance(given, dict) and "role" not in given else {"messages": given})


_ROLES: Mapping[Json, str] = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


def _with_role(message: Json) -> Json:
    """A message with the chat protocol's role, where LangChain's type stands for it."""
    kind = message.get("type") if isinstance(message, dict) and "role" not in message else None
    if not isinstance(kind, str) or kind not in _ROLES:
        return message
    kept = {name: message[name] for name in ("content", "tool_calls", "tool_call_id") if message.get(name)}
    return {"role": _ROLES[kind], **kept}


def _model(attributes: Mapping[str, Json], inputs: Json) -> str | None:
    model = first_words(
        attributes.get("mlflow.llm.model"), attributes.get("model"), mapping(inputs).get("model")
    )
    provider = first_words(attributes.get("custom_llm_provider"), attributes.get("mlflow.llm.provider"))
    if model is None or provider is None or model.startswith(f"{provider}/"):
        return model
    return f"{provider}/{model}"


def _labels(row: Record, span: Record) -> Call:
    trace, named = words(row.get("trace_id")), span_id(span)
    found: Call = {
        "call_id": f"{trace}/{named}" if trace and named else None,
        "session_id": first_words(mapping(row.get("metadata")).get("mlflow.trace.session"), trace),
        "time": from_nanoseconds(_start(span)),
        "task_type": words(mapping(row.get("tags")).get("task_type")),
    }
    return {name: value for name, value in found.items() if value}


def _start(span: Record) -> Json:
    return first_given(span.get("start_time_unix_nano"), span.get("start_time"))


def _amounts(span: Record, attributes: Mapping[str, Json]) -> Call:
    """Cost, tokens and latency; MLflow's own cost stands in where the library that was traced has none."""
    usage = mapping(attributes.get("mlflow.chat.tokenUsage"))
    end = from_nanoseconds(first_given(span.get("end_time_unix_nano"), span.get("end_time")))
    costs = member(attributes, "mlflow.llm.cost", "total_cost"), attributes.get("response_cost")
    found: Call = {
        "cost_usd": first_given(*(cost for cost in costs if cost != 0)),
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "latency_s": seconds_between(from_nanoseconds(_start(span)), end),
    }
    return {name: value for name, value in found.items() if value is not None}


def _verdicts(row: Record, answer: str | None) -> Sequence[Judgement | None]:
    given = [one for one in listed(row.get("assessments")) if isinstance(one, dict)]
    return [_verdict(one, answer) for one in given]


def _verdict(assessment: Mapping[str, Json], answer: str | None) -> Judgement | None:
    """A feedback's value, or for an expectation of the answer whether it was met."""
    name = first_words(assessment.get("assessment_name"), assessment.get("name"))
    if "expectation" in assessment:
        wanted = member(assessment, "expectation", "value")
        return expected(wanted, answer) if name in _EXPECTED else None
    judge = _JUDGES.get(words(member(assessment, "source", "source_type")) or "")
    return judgement_of(judge, name, member(assessment, "feedback", "value")) if judge else None


READER = MLflowTraces()
