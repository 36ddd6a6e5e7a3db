"""LangSmith's runs: its bulk export in Parquet, its API's runs as JSON lines, and pages of them.

Names: LangSmith's page on the format of runs, as of November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from router.records import Json
from training.readers.judgements import Judgement, judgement_of
from training.readers.litellm_records import OTHER_CALL
from training.readers.protocol import NO_RECORD, Record, Rejected
from training.readers.traced_runs import (
    Run,
    TracedRuns,
    amounts_of,
    evidence_in,
    labels_of,
    model_name,
    run_model,
    run_result,
    sum_of,
)
from training.readers.values import first_given, is_zero, mapping, member, words

_NO_RUN = Rejected("not a LangSmith run")
_DETAILS = ("prompt_token_details", "completion_token_details")
_REST = ("tools", "functions", "response_format", "reasoning_effort", "reasoning", "thinking")


class LangSmith(TracedRuns):
    """A run of type `llm` is a call; feedback on the runs around it counts for the trace's last call."""

    name = "langsmith"
    telling = ("run_type", "trace_id", "start_time", "inputs")
    listed_in = ("runs",)

    def key(self, row: Record) -> str | None:
        """The trace."""
        return words(row.get("trace_id"))

    def run(self, row: Record) -> Run:
        """The run; `session_id` is LangSmith's project, so the session comes from the metadata."""
        extra = mapping(row.get("extra"))
        metadata, parameters = mapping(extra.get("metadata")), mapping(extra.get("invocation_params"))
        model, provider = run_model(parameters, metadata)
        start, end = row.get("start_time"), row.get("end_time")
        known = {
            **model_name(first_given(model, member(mapping(row.get("inputs")), "model")), provider),
            **labels_of(row.get("id"), row.get("trace_id"), metadata, tags=row.get("tags"), time=start),
            **amounts_of(_cost(row), *_tokens(row), _usage(row), start=start, end=end),
            **evidence_in(row.get("outputs")),
        }
        rest = {name: parameters[name] for name in _REST if parameters.get(name)}
        failed = first_given(row.get("error"), "error" if row.get("status") == "error" else None)
        if row.get("run_type") == "llm":
            result = run_result(known, row.get("inputs"), rest, error=failed)
        else:
            result = OTHER_CALL if "run_type" in row else _NO_RUN if row else NO_RECORD
        return Run(
            id=words(row.get("id")),
            parent=words(row.get("parent_run_id")),
            result=result,
            judgements=[one for one in _judgements(row) if one is not None],
            end=end,
        )


def _cost(row: Record) -> Json:
    whole = row.get("total_cost")
    parts = sum_of(row.get("prompt_cost"), row.get("completion_cost"))
    return parts if whole is None or is_zero(whole) else whole


def _tokens(row: Record) -> tuple[Json, Json]:
    """Tokens of both sides; two zeros mean that they were not counted."""
    both = row.get("prompt_tokens"), row.get("completion_tokens")
    return (None, None) if all(one is None or is_zero(one) for one in both) else both


def _usage(row: Record) -> Mapping[str, Json]:
    """What the provider counted: of the run, or in the answer."""
    details: Json = {
        name: row[name] for name in ("prompt_token_details", "completion_token_details") if row.get(name)
    }
    outputs = mapping(row.get("outputs"))
    message = member(outputs, "generations", 0, 0, "message")
    within = (
        outputs.get("usage_metadata"), outputs.get("usage"), member(message, "usage_metadata"),
        member(message, "kwargs", "usage_metadata"), member(outputs, "llm_output", "token_usage"),
    )  # fmt: skip
    return next((usage for one in (details, *within) if (usage := mapping(one))), {})


def _judgements(row: Record) -> Iterator[Judgement | None]:
    """One for each key of the feedback: its mean, or the words of its categories."""
    for name, stats in mapping(row.get("feedback_stats")).items():
        about: Mapping[str, Json] = mapping(stats)
        yield judgement_of("feedback", name, about.get("avg"))
        for word in mapping(about.get("values")):
            yield judgement_of("feedback", name, word)


READER = LangSmith()
