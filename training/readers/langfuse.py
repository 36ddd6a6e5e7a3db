"""Langfuse's blob export and its API's rows: generations, with their scores and traces from other files.

Field names: langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields for both exports, and
the reference of the public API for the same in camel case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from router.records import Json
from training.readers.cells import number
from training.readers.judgements import (
    Judge,
    Judgement,
    error_class,
    judgement_of,
    with_error,
    with_judgements,
)
from training.readers.protocol import (
    JOINED,
    NO_PROMPT,
    NO_RECORD,
    Apart,
    Call,
    JoiningReader,
    Record,
    Rejected,
    Result,
    Sample,
)
from training.readers.request_shapes import answer_evidence, request_fields
from training.readers.times import seconds_between
from training.readers.values import first_given, first_words, mapping, member, unpacked, words

_Kind: TypeAlias = Literal["score", "observation", "trace"]

_TELLING: Mapping[_Kind, Sequence[str]] = {
    "score": ("trace_id", "observation_id", "name", "source", "data_type"),
    "observation": ("trace_id", "type", "start_time", "parent_observation_id"),
    "trace": ("id", "timestamp", "session_id", "bookmarked", "tags"),
}
_JUDGES: Mapping[str, Judge] = {"ANNOTATION": "annotation", "API": "feedback", "EVAL": "evaluation"}

_MANIFEST = ("exportSource", "window", "tables", "files")
"""Members of what an export writes last of all, beside its folders: `manifests/TIME.json`."""

MANIFEST = Apart("manifest of an export")
NO_GENERATION = Apart("no generation")
NO_CHAT = Apart("input is no chat")
NO_VERDICT = Apart("score without a verdict")
NO_SCORED_CALL = Apart("score of what is no call here")
NO_CALL_IN_TRACE = Apart("trace without a call")
_NO_ROW = Rejected("no row of a Langfuse export")
_NO_MODEL = Rejected("model is missing")


@cache
def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _get(row: Record, name: str) -> Json:
    """A member by its name in the exports, or by the API's."""
    value = row.get(name)
    return row.get(_camel(name)) if value is None else value


def _pairs(value: Json) -> Mapping[str, Json]:
    """An object, also from the list of keys and values that it is in Parquet."""
    if not isinstance(value, list):
        return mapping(value)
    pairs = [pair for pair in value if isinstance(pair, dict) and isinstance(pair.get("key"), str)]
    return {pair["key"]: pair.get("value") for pair in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row in its newest form.

    Attributes:
        number: its place among the rows of the trace.
        named: its id; where it has none, something that no other row has.
    """

    number: int
    kind: _Kind
    named: str
    fields: Record


class Langfuse(JoiningReader):
    """A generation is a call; scores of it, or of its trace, are its outcome.

    A trace's score is its last generation's, whose answer the user saw. What a later export repeats, or the
    legacy one beside the enriched, is one call, with what the later row has.
    """

    name = "langfuse"

    def recognise(self, sample: Sample) -> float:
        """By the names of any of its three kinds of row, in snake or camel case, or by a manifest's."""
        spelled = [names for some in _TELLING.values() for names in (some, [_camel(name) for name in some])]
        if any(set(names) <= sample.columns for names in spelled):
            return 0.9
        return 0.9 * max(sample.share(*names) for names in (*spelled, _MANIFEST))

    def key(self, row: Record) -> str | None:
        """The trace."""
        return words(row.get("id")) if _kind(row) == "trace" else words(_get(row, "trace_id"))

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """The generations as calls, and what became of the other rows of their trace."""
        results = [_alone(row) for row in rows]
        newest = _newest(rows)
        trace = next((row.fields for row in newest if row.kind == "trace"), {})
        calls = {row.named: _call(row.fields, trace) for row in newest if row.kind == "observation"}
        verdicts = _verdicts(newest, calls)
        for row in newest:
            if row.kind == "score":
                results[row.number] = verdicts.results[row.named]
            elif row.kind == "observation":
                call = calls[row.named]
                said = verdicts.of_call[row.named]
                results[row.number] = with_judgements(call, said) if isinstance(call, dict) else call
            elif not any(isinstance(call, dict) for call in calls.values()):
                results[row.number] = NO_CALL_IN_TRACE
        return results


def _alone(row: Record) -> Result:
    """What becomes of a row before those of its trace are looked at."""
    if _kind(row):
        return JOINED
    if all(name in row for name in _MANIFEST):
        return MANIFEST
    return _NO_ROW if row else NO_RECORD


def _kind(row: Record) -> _Kind | None:
    if _get(row, "data_type") is not None or ("value" in row and "source" in row):
        return "score"
    if "type" in row and _get(row, "start_time") is not None:
        return "observation"
    return "trace" if "timestamp" in row and _get(row, "trace_id") is None else None


def _newest(rows: Sequence[Record]) -> Sequence[_Row]:
    """Each observation, score and trace once, at its last row; what that lacks is from earlier ones."""
    found: dict[tuple[_Kind, str], _Row] = {}
    for place, fields in enumerate(rows):
        kind = _kind(fields)
        if kind is None:
            continue
        named = words(fields.get("id")) or f"row {place}"
        before = found.pop((kind, named), None)
        given = {name: value for name, value in fields.items() if value is not None and value != ""}
        whole = {**before.fields, **given} if before else fields
        found[kind, named] = _Row(number=place, kind=kind, named=named, fields=whole)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """What the scores of a trace say, by the id of the call; and what became of each score, by its own."""

    of_call: Mapping[str, Sequence[Judgement]]
    results: Mapping[str, Result]


def _verdicts(rows: Sequence[_Row], calls: Mapping[str, Result]) -> _Verdicts:
    good = [row for row in rows if row.kind == "observation" and isinstance(calls[row.named], dict)]
    last = max(good, key=lambda row: (str(_get(row.fields, "start_time")), row.number), default=None)
    names = {row.named for row in good}
    of_call: dict[str, list[Judgement]] = defaultdict(list)
    results: dict[str, Result] = {}
    for row in rows:
        if row.kind != "score":
            continue
        target = words(_get(row.fields, "observation_id")) or (last and last.named)
        said = _verdict(row.fields)
        if target is None or target not in names:
            results[row.named] = NO_SCORED_CALL
        elif said is None:
            results[row.named] = NO_VERDICT
        else:
            results[row.named] = JOINED
            of_call[target].append(said)
    return _Verdicts(of_call, results)


def _verdict(row: Record) -> Judgement | None:
    """A boolean's value is 0 or 1, a category's is in words, a free text says nothing that can be counted."""
    judge = _JUDGES.get(words(row.get("source")) or "")
    if judge is None:
        return None
    kind = _get(row, "data_type")
    value: Json = row.get("value")
    if kind in ("CATEGORICAL", "TEXT"):
        value = first_given(_get(row, "string_value"), value) if kind == "CATEGORICAL" else None
        return judgement_of(judge, row.get("name"), value if isinstance(value, str) else None)
    try:
        said = float(value) if isinstance(value, bool) else number(value)
    except ValueError:
        return None
    flag = bool(said) if said in (0, 1) else None
    return judgement_of(judge, row.get("name"), flag if kind == "BOOLEAN" else said)


def _call(row: Record, trace: Record) -> Result:
    if row.get("type") != "GENERATION":
        return NO_GENERATION
    fields = _request(row)
    if not fields:
        return NO_CHAT if first_given(row.get("input")) else NO_PROMPT
    model = first_words(_get(row, "provided_model_name"), row.get("model"))
    if model is None:
        return _NO_MODEL
    output = unpacked(row.get("output"))
    evidence = answer_evidence(output) or ({"answer": output} if output else {})
    call = {**fields, "model": model, **_labels(row, trace), **_amounts(row), **evidence}
    if row.get("level") != "ERROR":
        return call
    return with_error(call, error_class(_get(row, "status_message")))


def _request(row: Record) -> Call:
    """Messages and tools; the input is the request's body, its messages or its text, also as JSON text."""
    given = unpacked(row.get("input"))
    parameters = mapping(_get(row, "model_parameters"))
    body = {name: parameters[name] for name in ("tools", "response_format") if name in parameters}
    tools = [_tool(name, about) for name, about in _pairs(_get(row, "tool_definitions")).items()]
    if tools:
        body["tools"] = tools
    if isinstance(given, dict) and "role" not in given:
        return request_fields({**body, **given})
    return request_fields({**body, "messages": given})


def _tool(name: str, about: Json) -> Json:
    """A tool from its name and what else was defined of it, which the export keeps as JSON text."""
    defined = mapping(about)
    if "function" in defined:
        return defined
    schema = first_given(unpacked(defined.get("parameters")), unpacked(defined.get("input_schema")))
    named = {"name": name, "description": defined.get("description"), "parameters": schema}
    return {"type": "function", "function": {key: value for key, value in named.items() if value}}


def _labels(row: Record, trace: Record) -> Call:
    found: Call = {
        "call_id": row.get("id"),
        "session_id": first_words(_get(row, "session_id"), _get(trace, "session_id"), _get(row, "trace_id")),
        "time": _get(row, "start_time"),
        "tags": first_given(row.get("tags"), trace.get("tags")),
        "task_type": words(_pairs(row.get("metadata")).get("task_type")),
    }
    return {name: value for name, value in found.items() if value}


def _amounts(row: Record) -> Call:
    """Cost, tokens and latency. A cost of zero without its details says that Langfuse knows no price.

    The column `latency` is in milliseconds in enriched exports set up before April 2026 and in seconds in all
    others, without a mark; so latency is the time from start to end, on which both agree.
    """
    details = _pairs(_get(row, "cost_details"))
    cost = first_given(_get(row, "total_cost"), _get(row, "calculated_total_cost"), details.get("total"))
    usage = _pairs(first_given(_get(row, "usage_details"), row.get("usage")))
    found: Call = {
        "cost_usd": None if cost in (0, "0") and not details else cost,
        "input_tokens": first_given(_tokens(usage, "input"), _get(row, "prompt_tokens")),
        "output_tokens": first_given(_tokens(usage, "output"), _get(row, "completion_tokens")),
        "latency_s": seconds_between(_get(row, "start_time"), _get(row, "end_time")),
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _tokens(usage: Mapping[str, Json], side: str) -> int | None:
    """All tokens of one side: cached ones and the like are counted beside the plain ones, not among them."""
    counts = [member(usage, name) for name in usage if side in name.lower() and "cost" not in name.lower()]
    whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool)]
    return sum(whole) if whole else None


READER = Langfuse()
