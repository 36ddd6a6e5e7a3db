"""Opik's spans and traces: pages of its API, its SDK's objects, and the files of `opik export`.

Names: the API's reference of spans and feedback scores, as of November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from router.effort import effort_of
from router.records import Json
from training.readers.judgements import Judge, Judgement, judgement_of
from training.readers.litellm_records import OTHER_CALL
from training.readers.protocol import NO_RECORD, Record, Rejected, Result
from training.readers.traced_runs import (
    Run,
    TracedRuns,
    amounts_of,
    evidence_in,
    labels_of,
    model_name,
    run_result,
)
from training.readers.values import first_given, listed, mapping, words

_TYPES = ("llm", "general", "tool", "guardrail")
_OWN = ("parent_span_id", "total_estimated_cost", "feedback_scores", "usage")
_NO_SPAN = Rejected("not a span or trace of Opik")
_JUDGES: Mapping[str, Judge] = {"ui": "annotation", "sdk": "feedback", "online_scoring": "evaluation"}


class Opik(TracedRuns):
    """A span of type `llm` is a call; scores of its trace count for the trace's last call."""

    name = "opik"
    telling = ("trace_id", "type", "input", "start_time", "feedback_scores")
    listed_in = ("content", "spans", "traces")

    def rows(self, record: Record) -> list[Record]:
        """The spans and traces in a page or an exported file."""
        page = list(super().rows(record))
        trace = record.get("trace")
        return [trace, *page] if isinstance(trace, dict) and page != [record] else page

    def is_run(self, record: Record) -> bool:
        """Whether a record is a span."""
        own = any(name in record for name in _OWN)
        return own and record.get("type") in _TYPES and {"trace_id", "input", "start_time"} <= record.keys()

    def key(self, row: Record) -> str | None:
        """The trace."""
        return words(first_given(row.get("trace_id"), row.get("id")))

    def run(self, row: Record) -> Run:
        """The span, or the trace around all of them."""
        metadata = mapping(row.get("metadata"))
        usage = mapping(row.get("usage"))
        start, end = row.get("start_time"), row.get("end_time")
        session = _with_thread(row, metadata)
        known = {
            **model_name(first_given(row.get("model"), metadata.get("model")), row.get("provider")),
            **labels_of(row.get("id"), row.get("trace_id"), session, tags=row.get("tags"), time=start),
            **amounts_of(
                row.get("total_estimated_cost"),
                first_given(usage.get("prompt_tokens"), usage.get("input_tokens")),
                first_given(usage.get("completion_tokens"), usage.get("output_tokens")),
                usage,
                start=start,
                end=end,
            ),
            "effort": effort_of(metadata),
            **evidence_in(row.get("output")),
        }
        rest = {name: metadata[name] for name in ("tools", "response_format") if metadata.get(name)}
        failed = _failure(mapping(row.get("error_info")))
        is_model = row.get("type") == "llm" and "trace_id" in row
        result = run_result(known, row.get("input"), rest, error=failed) if is_model else _other(row)
        return Run(
            id=words(row.get("id")),
            parent=words(first_given(row.get("parent_span_id"), row.get("trace_id"))),
            result=result,
            judgements=[one for one in _judgements(row) if one is not None],
            end=end,
        )


def _failure(error: Mapping[str, Json]) -> str | None:
    """What went wrong: the class of the error, with its message."""
    about = (words(error.get(name)) for name in ("exception_type", "message"))
    return ": ".join(one for one in about if one) or None


def _other(row: Record) -> Result:
    if not row:
        return NO_RECORD
    return OTHER_CALL if "start_time" in row and "id" in row else _NO_SPAN


def _with_thread(row: Record, metadata: Mapping[str, Json]) -> Mapping[str, Json]:
    """The metadata, with the thread of the row itself."""
    return {**metadata, "thread_id": first_given(row.get("thread_id"), metadata.get("thread_id"))}


def _judgements(row: Record) -> Iterator[Judgement | None]:
    """The scores of people, of the application and of rules; a category counts before its number."""
    for score in listed(row.get("feedback_scores")):
        if not isinstance(score, dict):
            continue
        judge = _JUDGES.get(words(score.get("source")) or "sdk", "feedback")
        category = judgement_of(judge, score.get("name"), words(score.get("category_name")))
        yield category or judgement_of(judge, score.get("name"), score.get("value"))


READER = Opik()
