"""W&B Weave's calls: its export as JSON lines, and what its API streams.

Names: Weave's reference of the call schema and its trace server's types, as of November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from router.records import Json
from training.readers.judgements import Judgement, judgement_of
from training.readers.litellm_records import NO_CHAT, OTHER_CALL
from training.readers.protocol import NO_RECORD, Record, Rejected, Result
from training.readers.traced_runs import (
    Run,
    TracedRuns,
    amounts_of,
    evidence_in,
    labels_of,
    model_name,
    request_in,
    run_result,
    sum_of,
)
from training.readers.values import first_given, listed, mapping, member, words

_REFERENCE = "weave://"
_NO_CALL = Rejected("not a call of Weave")
_COSTS = ("prompt_tokens_total_cost", "completion_tokens_total_cost")


class Weave(TracedRuns):
    """A call whose inputs are a request to a model; feedback on the calls around it is the last one's."""

    name = "weave"
    telling = ("op_name", "trace_id", "started_at", "inputs")
    listed_in = ("calls", "data")

    def key(self, row: Record) -> str | None:
        """The trace."""
        return words(row.get("trace_id"))

    def run(self, row: Record) -> Run:
        """The call; tokens and costs are by model, and those of a call include the calls within it."""
        summary, inputs = mapping(row.get("summary")), mapping(row.get("inputs"))
        usage = mapping(summary.get("usage"))
        model = _model(inputs)
        counts = mapping(usage.get(model or "")) or mapping(next(iter(usage.values()), None))
        start, end = row.get("started_at"), row.get("ended_at")
        attributes = mapping(row.get("attributes"))
        about = {**attributes, "thread_id": first_given(row.get("thread_id"), attributes.get("thread_id"))}
        known = {
            **model_name(model, _operation(row).partition(".")[0]),
            **labels_of(row.get("id"), row.get("trace_id"), about, tags=attributes.get("tags"), time=start),
            **amounts_of(
                _cost(summary),
                first_given(counts.get("prompt_tokens"), counts.get("input_tokens")),
                first_given(counts.get("completion_tokens"), counts.get("output_tokens")),
                counts,
                start=start,
                end=end,
            ),
            **evidence_in(row.get("output")),
        }
        return Run(
            id=words(row.get("id")),
            parent=words(row.get("parent_id")),
            result=_result(row, inputs, known),
            judgements=[one for one in _judgements(row, summary) if one is not None],
            end=end,
        )


def _operation(row: Record) -> str:
    """The name of the operation, from its reference: `weave:///shop/app/op/openai.chat:VERSION`."""
    return (words(row.get("op_name")) or "").rpartition("/")[2].partition(":")[0]


def _result(row: Record, inputs: Mapping[str, Json], known: dict[str, Json]) -> Result:
    if any(name not in row for name in Weave.telling):
        return _NO_CALL if row else NO_RECORD
    is_model = "model" in known and not NO_CHAT.search(_operation(row)) and request_in(inputs, {})
    return run_result(known, inputs, {}, error=row.get("exception")) if is_model else OTHER_CALL


def _model(inputs: Mapping[str, Json]) -> str | None:
    """The model of the request; None where an operation of the application only passes one on."""
    model = words(first_given(inputs.get("model"), inputs.get("model_name"), inputs.get("modelId")))
    return None if model is None or model.startswith(_REFERENCE) else model


def _cost(summary: Mapping[str, Json]) -> Json:
    costs = mapping(member(mapping(summary.get("weave")), "costs"))
    return sum_of(*(mapping(one).get(name) for one in costs.values() for name in _COSTS))


def _judgements(row: Record, summary: Mapping[str, Json]) -> Iterator[Judgement | None]:
    """Reactions and annotations of people, and what scorers said."""
    feedback = first_given(member(mapping(summary.get("weave")), "feedback"), row.get("feedback"))
    for one in listed(feedback):
        kind, payload = words(member(one, "feedback_type")) or "", mapping(member(one, "payload"))
        if kind.startswith("wandb.reaction"):
            yield judgement_of("feedback", "reaction", payload.get("emoji"))
        elif kind.startswith("wandb.annotation"):
            yield judgement_of("annotation", kind.rpartition(".")[2], payload.get("value"))
        elif kind.startswith("wandb.runnable"):
            output = payload.get("output")
            named = output if isinstance(output, dict) else {kind.rpartition(".")[2]: output}
            for name, value in named.items():
                yield judgement_of("evaluation", name, value)


READER = Weave()
