"""Braintrust's logs and experiments: events of its API, of its query language, and of its exports.

Names: the event of `project_logs/fetch` in Braintrust's API reference, as of November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.effort import effort_of
from router.records import Json
from training.readers.judgements import Judgement, expected, judgement_of
from training.readers.litellm_records import INTERNAL, OTHER_CALL
from training.readers.protocol import NO_RECORD, Record, Rejected, Result
from training.readers.request_shapes import texts_in
from training.readers.traced_runs import (
    Run,
    TracedRuns,
    amounts_of,
    evidence_in,
    labels_of,
    model_name,
    run_result,
)
from training.readers.values import first_given, listed, mapping, member, words

_NO_EVENT = Rejected("not an event of Braintrust")
_REST = ("tools", "response_format", "functions")


class Braintrust(TracedRuns):
    """A span of type `llm` is a call; scores of the spans around it count for the trace's last call."""

    name = "braintrust"
    telling = ("span_id", "root_span_id", "span_attributes")
    listed_in = ("events", "data", "rows")

    def key(self, row: Record) -> str | None:
        """The trace, which is named by its root span."""
        return words(row.get("root_span_id"))

    def run(self, row: Record) -> Run:
        """The span; its times are in seconds since 1970, among the metrics."""
        metadata, metrics = mapping(row.get("metadata")), mapping(row.get("metrics"))
        start, end = first_given(metrics.get("start"), row.get("created")), metrics.get("end")
        call_id = first_given(row.get("id"), row.get("span_id"))
        known = {
            **model_name(metadata.get("model"), metadata.get("provider")),
            **labels_of(call_id, row.get("root_span_id"), metadata, tags=row.get("tags"), time=start),
            **amounts_of(
                first_given(metrics.get("estimated_cost"), metrics.get("cost")),
                metrics.get("prompt_tokens"),
                metrics.get("completion_tokens"),
                metrics,
                start=metrics.get("start"),
                end=end,
            ),
            "effort": effort_of(metadata),
            **evidence_in(row.get("output")),
        }
        return Run(
            id=words(row.get("span_id")),
            parent=words(member(list(listed(row.get("span_parents"))), 0)),
            result=_result(row, known),
            judgements=[one for one in _judgements(row, known.get("answer")) if one is not None],
            end=end,
        )


def _result(row: Record, known: dict[str, Json]) -> Result:
    about = mapping(row.get("span_attributes"))
    if not about:
        return _NO_EVENT if row else NO_RECORD
    if about.get("purpose") == "scorer":
        return INTERNAL
    if about.get("type") != "llm":
        return OTHER_CALL
    metadata, error = mapping(row.get("metadata")), row.get("error")
    rest = {name: metadata[name] for name in _REST if metadata.get(name)}
    raised = first_given(member(error, "name"), error if isinstance(error, str) else None)
    return run_result(known, row.get("input"), rest, error=first_given(raised, "error" if error else None))


def _judgements(row: Record, answer: Json) -> Iterator[Judgement | None]:
    """Its scores, and whether its output is the expected one."""
    for name, score in mapping(row.get("scores")).items():
        yield judgement_of("evaluation", name, score)
    text = next(iter(texts_in(answer if isinstance(answer, list) else [answer])), None) or words(answer)
    yield expected(row.get("expected"), text)


READER = Braintrust()
