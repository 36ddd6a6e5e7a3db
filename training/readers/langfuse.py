"""Joins the generations of Langfuse's blob export or API to their scores and traces in other files.

Field names: langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields for both exports, and
the reference of the public API for the same in camel case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from router.effort import effort_of
from router.records import Json
from training.readers.cells import boolean, number
from training.readers.judgements import (
    Judge,
    Judgement,
    error_class,
    judgement_of,
    with_error,
    with_judgements,
)
from training.readers.langfuse_fields import amounts, camel, field, pairs, score_columns
from training.readers.protocol import (
    JOINED,
    NO_MODEL,
    NO_PROMPT,
    NO_RECORD,
    Call,
    JoiningReader,
    Record,
    Rejected,
    Result,
    Sample,
    Skipped,
)
from training.readers.providers import without_path
from training.readers.request_shapes import answer_evidence, request_fields
from training.readers.traced_runs import without_outer
from training.readers.values import (
    filled,
    first_given,
    first_words,
    listed,
    mapping,
    unpacked,
    words,
)

_Kind: TypeAlias = Literal["score", "observation", "trace"]

_TELLING: Mapping[_Kind, Sequence[str]] = {
    "score": ("trace_id", "observation_id", "name", "source", "data_type"),
    "observation": ("trace_id", "type", "start_time", "parent_observation_id"),
    "trace": ("id", "timestamp", "session_id", "bookmarked", "tags"),
}
_JUDGES: Mapping[str, Judge] = {"ANNOTATION": "annotation", "API": "feedback", "EVAL": "evaluation"}

_WALLS = ("TOOL", "AGENT", "EVALUATOR", "GUARDRAIL")
"""Types of observations whose generations are calls of their own, though a generation is around them."""

_MANIFEST = ("exportSource", "window", "tables", "files")
"""Members of the manifest that an export writes last, beside its folders: `manifests/TIME.json`."""

MANIFEST = Skipped("manifest of an export")
NO_GENERATION = Skipped("no generation")
NO_CHAT = Skipped("input is no chat")
UNUSABLE_SCORE = Skipped("score without a verdict")
NO_SCORED_CALL = Skipped("score of what is no call here")
NO_CALL_IN_TRACE = Skipped("trace without a call")
_NO_ROW = Rejected("not a row of a Langfuse export")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """The newest state of an observation, score or trace.

    Attributes:
        number: place among the rows of the trace.
        id: the row's own, or a unique text if it has none.
    """

    number: int
    kind: _Kind
    id: str
    fields: Record


class Langfuse(JoiningReader):
    """A generation is a call; its scores, or those of its trace, are its outcome.

    The score of a trace belongs to its last generation, whose answer the user saw. A generation that several
    exports hold is one call; later rows replace the fields of earlier ones.
    """

    name = "langfuse"

    def recognise(self, sample: Sample) -> float:
        """By the columns of its three kinds of row, in snake or camel case, or by those of a manifest."""
        spelled = [names for snake in _TELLING.values() for names in (snake, [camel(name) for name in snake])]
        if any(set(names) <= sample.columns for names in spelled):
            return 0.9
        return 0.9 * sample.share_of(
            lambda row: any(all(name in row for name in names) for names in (*spelled, _MANIFEST))
        )

    def key(self, row: Record) -> str | None:
        """The trace."""
        return words(row.get("id")) if _kind(row) == "trace" else words(field(row, "trace_id"))

    def join(self, rows: Sequence[Record]) -> Sequence[Result]:
        """The generations as calls, and a result for each other row of their trace."""
        results = [_alone(row) for row in rows]
        newest = _newest(rows)
        trace = next((row.fields for row in newest if row.kind == "trace"), {})
        seen = {row.id: row.fields for row in newest if row.kind == "observation"}
        calls = {name: _call(fields, trace) for name, fields in seen.items()}
        scores = _scores(newest, calls)
        judged = {
            name: with_judgements(call, [*scores.judgements[name], *score_columns(seen[name])])
            if isinstance(call, dict)
            else call
            for name, call in calls.items()
        }
        results_of = without_outer(
            judged,
            {name: words(field(fields, "parent_observation_id")) for name, fields in seen.items()},
            {name for name, fields in seen.items() if _type(fields) in _WALLS},
        )
        for row in newest:
            if row.kind == "score":
                results[row.number] = scores.results[row.id]
            elif row.kind == "observation":
                results[row.number] = results_of[row.id]
            elif not any(isinstance(call, dict) for call in calls.values()):
                results[row.number] = NO_CALL_IN_TRACE
        return results


def _alone(row: Record) -> Result:
    """The result of a row, before the other rows of its trace are known."""
    if _kind(row):
        return JOINED
    if all(name in row for name in _MANIFEST):
        return MANIFEST
    return _NO_ROW if row else NO_RECORD


def _kind(row: Record) -> _Kind | None:
    if field(row, "data_type") is not None or ("value" in row and "source" in row):
        return "score"
    if "type" in row and field(row, "start_time") is not None:
        return "observation"
    return "trace" if "timestamp" in row and field(row, "trace_id") is None else None


def _newest(rows: Sequence[Record]) -> Sequence[_Row]:
    """Each observation, score and trace once, at its last row; earlier rows fill the fields that it lacks."""
    newest: dict[tuple[_Kind, str], _Row] = {}
    for place, fields in enumerate(rows):
        kind = _kind(fields)
        if kind is None:
            continue
        row_id = words(fields.get("id")) or f"row {place}"
        before = newest.pop((kind, row_id), None)
        whole = {**before.fields, **filled(dict(fields), zeros=True)} if before else fields
        newest[kind, row_id] = _Row(number=place, kind=kind, id=row_id, fields=whole)
    return list(newest.values())


@dataclass(frozen=True, slots=True)
class _Scores:
    """The scores of a trace: judgements by the id of the call, results by the id of the score."""

    judgements: Mapping[str, Sequence[Judgement]]
    results: Mapping[str, Result]


def _scores(rows: Sequence[_Row], calls: Mapping[str, Result]) -> _Scores:
    called = [row for row in rows if row.kind == "observation" and isinstance(calls[row.id], dict)]
    last = max(called, key=lambda row: (str(field(row.fields, "start_time")), row.number), default=None)
    ids = {row.id for row in called}
    judgements: dict[str, list[Judgement]] = defaultdict(list)
    results: dict[str, Result] = {}
    for row in rows:
        if row.kind != "score":
            continue
        target = words(field(row.fields, "observation_id")) or (last and last.id)
        judgement = _judgement(row.fields)
        if target is None or target not in ids:
            results[row.id] = NO_SCORED_CALL
        elif judgement is None:
            results[row.id] = UNUSABLE_SCORE
        else:
            results[row.id] = JOINED
            judgements[target].append(judgement)
    return _Scores(judgements, results)


def _judgement(row: Record) -> Judgement | None:
    """The judgement of a score: 0 or 1 for a boolean, a word for a category; none for free text."""
    judge = _JUDGES.get(words(row.get("source")) or "")
    if judge is None:
        return None
    kind = field(row, "data_type")
    value: Json = row.get("value")
    if kind in ("CATEGORICAL", "TEXT"):
        value = first_given(field(row, "string_value"), value) if kind == "CATEGORICAL" else None
        return judgement_of(judge, row.get("name"), value if isinstance(value, str) else None)
    try:
        grade = boolean(value) if kind == "BOOLEAN" else number(value)
    except ValueError:
        return None
    return judgement_of(judge, row.get("name"), grade)


def _call(row: Record, trace: Record) -> Result:
    if _type(row) != "GENERATION":
        return NO_GENERATION
    fields = _request(row)
    if not fields:
        return NO_CHAT if row.get("input") else NO_PROMPT
    model = without_path(first_words(field(row, "provided_model_name"), row.get("model")))
    if model is None:
        return NO_MODEL
    output = unpacked(row.get("output"))
    evidence = answer_evidence(output) or ({"answer": output} if output else {})
    call = {**fields, "model": model, **_labels(row, trace), **amounts(row, model), **evidence}
    if row.get("level") != "ERROR":
        return call
    return with_error(call, error_class(field(row, "status_message")))


def _type(row: Record) -> str:
    return (words(row.get("type")) or "").upper()


def _request(row: Record) -> Call:
    """Messages and tools; the input is a body, messages or a text, and may be JSON text."""
    prompt = _observed(row.get("input"))
    parameters = mapping(field(row, "model_parameters"))
    body = {name: parameters[name] for name in ("tools", "response_format") if name in parameters}
    effort = filled({"effort": effort_of(parameters)})
    tools = [_tool(name, about) for name, about in pairs(field(row, "tool_definitions")).items()]
    if tools:
        body["tools"] = tools
    fields = request_fields({**body, "messages": prompt})
    return {**effort, **fields} if fields else {}


def _observed(given: Json) -> Json:
    """The input; of a function that `@observe` logged, its arguments."""
    inner = unpacked(given)
    if not isinstance(inner, dict) or inner.keys() != {"args", "kwargs"}:
        return given
    return inner["kwargs"] or next(iter(listed(inner["args"])), None)


def _tool(name: str, about: Json) -> Json:
    """A tool from its name and the rest of its definition, which the export keeps as JSON text."""
    defined = mapping(about)
    if "function" in defined:
        return defined
    schema = first_given(unpacked(defined.get("parameters")), unpacked(defined.get("input_schema")))
    function = {"name": name, "description": defined.get("description"), "parameters": schema}
    return {"type": "function", "function": filled(function)}


def _labels(row: Record, trace: Record) -> Call:
    sessions = field(row, "session_id"), field(trace, "session_id"), field(row, "trace_id")
    return filled(
        {
            "call_id": row.get("id"),
            "session_id": first_words(*sessions),
            "time": field(row, "start_time"),
            "tags": first_given(row.get("tags"), field(row, "trace_tags"), trace.get("tags")),
            "task_type": words(pairs(row.get("metadata")).get("task_type")),
        }
    )


READER = Langfuse()
