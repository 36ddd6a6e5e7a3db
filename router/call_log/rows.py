"""One row of the call log: its columns, and how values are made to fit every store."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TypeAlias

from router.records import Json
from router.text import well_formed

Row: TypeAlias = dict[str, Json]
"""One value per column: `time` is an aware datetime, JSON columns are JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One attempt of one completion: a row of the call log.

    The path of a request checks nothing: the log's thread makes each value fit, and logs a value that makes
    no sense (a NaN cost, a token count that is not a number) as null, which means unknown.

    Attributes:
        call_id: unique; feedback names it. The attempt whose answer was served has its request's.
        time: start, in seconds since 1970.
        messages, tools, response_format: what the provider got; the log's setting says how much is kept.
        score: in [0, 1].
        propensity: chance, in (0, 1], with which the policy then chose this model for this prompt.
        confidence, shadow_confidence: probability of success in [0, 1].
        truncated: part of the text is missing.
        prompt_key: None: computed from the messages, tools and response format given here.
        attempt: from 1, within the request.
        first_token_s: seconds until a stream's first piece.
        alternatives: success probability per model.
        effort: reasoning effort in the request to the provider; None: left to the provider.
        served_model: name of the model that answered, as the provider states it; None: it states none.
        cached_input_tokens, cache_write_tokens: part of `input_tokens`; None: the provider counts none apart.
    """

    call_id: str
    session_id: str | None = None
    time: float
    messages: Json
    tools: Json = None
    response_format: Json = None
    task_type: str | None = None
    tags: Sequence[str] = ()
    model: str
    success: bool | None = None
    score: float | None = None
    outcome_source: str | None = None
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    propensity: float | None = None
    policy_version: str | None = None
    decision_source: str | None = None
    confidence: float | None = None
    truncated: bool = False
    prompt_key: str | None = None
    request_id: str | None = None
    attempt: int | None = None
    chosen_model: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    first_token_s: float | None = None
    stream: bool | None = None
    baseline_model: str | None = None
    baseline_cost_usd: float | None = None
    expected_cost_usd: float | None = None
    shadow_model: str | None = None
    shadow_confidence: float | None = None
    notes: Sequence[str] = ()
    alternatives: Mapping[str, float] | None = None
    effort: str | None = None
    served_model: str | None = None
    cache_write_tokens: int | None = None


COLUMNS = tuple(field.name for field in fields(CallRecord))
FEEDBACK_COLUMNS = ("feedback_id", "call_id", "time", "success", "score", "source")
KEY = ("time", "call_id")
"""Columns that give the order of the rows; they are always read."""
TEXTS = ("messages", "tools", "response_format")
"""Values that the caller owns and may change after the call."""
JSON_COLUMNS = frozenset({*TEXTS, "tags", "notes", "alternatives"})
NUMBERS = frozenset(
    "score cost_usd latency_s propensity confidence first_token_s baseline_cost_usd expected_cost_usd "
    "shadow_confidence".split()
)
WHOLE_NUMBERS = frozenset(
    "input_tokens output_tokens cached_input_tokens cache_write_tokens reasoning_tokens attempt".split()
)
FLAGS = frozenset({"success", "truncated", "stream"})
IDENTIFIERS = frozenset({"call_id", "session_id", "request_id", "feedback_id"})
_LONGEST_IDENTIFIER = 200
_MOST = 2**63 - 1

dump_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Shortest JSON text of a value; raises TypeError or ValueError if the value is not JSON."""


def fit_row(values: Mapping[str, Json]) -> Row:
    """The values of a row, each fit for its column.

    NUL and lone surrogates, which databases refuse, become U+FFFD. An identifier of more than 200 characters
    becomes its SHA-256. A number that is NaN, infinite or too large, or a value of the wrong type, becomes
    null.
    """
    row = {
        name: None if value is None else _FITTERS.get(name, fit_text)(value) for name, value in values.items()
    }
    for name in row.keys() & _NEVER_NULL.keys():
        row[name] = row[name] or _NEVER_NULL[name]()
    return row


def fit_text(value: object) -> str | None:
    """The value as text that every store accepts."""
    if type(value) is str and value.isascii() and "\x00" not in value:
        return value
    if value is None:
        return None
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return well_formed(text).replace("\x00", "\ufffd")


def fit_identifier(value: object) -> str | None:
    """The value as a text short enough for an index."""
    text = fit_text(value)
    if text is None or len(text) <= _LONGEST_IDENTIFIER:
        return text
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()}"


def _moment(value: Json) -> datetime:
    try:
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def _number(value: Json) -> float | None:
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool | str | bytes | None):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= _MOST else None
    number = _number(value)
    return int(number) if number is not None and number.is_integer() and abs(number) < _MOST else None


def _flag(value: object) -> bool | None:
    return bool(value) if isinstance(value, bool) or _number(value) in {0, 1} else None


def _texts(value: object) -> str:
    """JSON text of a list of texts."""
    if not value:
        return "[]"
    texts = [value] if isinstance(value, str) else value if isinstance(value, Sequence | set) else []
    return dump_json([fit_text(text) for text in texts])


def _numbers_by_name(value: object) -> str | None:
    """JSON text of an object that holds numbers."""
    if not isinstance(value, Mapping):
        return None
    return dump_json({fit_text(name): _number(number) for name, number in value.items()})


def _unchanged(value: object) -> object:
    return value


_FITTERS: Mapping[str, Callable[[object], Json]] = {
    **dict.fromkeys(NUMBERS, _number),
    **dict.fromkeys(WHOLE_NUMBERS, _whole_number),
    **dict.fromkeys(FLAGS, _flag),
    **dict.fromkeys(IDENTIFIERS, fit_identifier),
    **dict.fromkeys(TEXTS, _unchanged),
    **dict.fromkeys(("tags", "notes"), _texts),
    "alternatives": _numbers_by_name,
    "time": _moment,
}
_NEVER_NULL: Mapping[str, Callable[[], Json]] = {
    "call_id": lambda: uuid.uuid4().hex,
    "time": lambda: datetime.now(UTC),
    "tags": lambda: "[]",
    "notes": lambda: "[]",
    "truncated": lambda: False,
}


_CONVERTED = JSON_COLUMNS | {"time"}
"""Columns whose stored values are not plain JSON values."""
_SQLITE_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(NUMBERS, (float, int)),
    **dict.fromkeys(WHOLE_NUMBERS | FLAGS, (int,)),
}


def row_to_json(row: Mapping[str, Json]) -> dict[str, Json]:
    """A stored row as plain JSON values: the time as ISO 8601 in UTC, JSON columns parsed."""
    values = dict(row)
    for name in _CONVERTED & values.keys():
        values[name] = _json_value(name, values[name])
    return values


def row_from_sqlite(values: Mapping[str, Json]) -> dict[str, Json]:
    """The row as plain JSON values, from the values that SQLite holds.

    Raises:
        ValueError: one is not what pointsman writes there; the message does not quote it.
    """
    row = dict(values)
    for name, value in values.items():
        if value is None:
            continue
        kinds = _SQLITE_KINDS.get(name, (str,))
        if type(value) not in kinds or (name in FLAGS and value not in {0, 1}):
            raise ValueError(f"column {name!r} holds a value of another kind")
        row[name] = _from_sqlite(name, value)
    return row


def _from_sqlite(name: str, value: Json) -> Json:
    try:
        return (
            bool(value) if name in FLAGS else _json_value(name, _time_of(value) if name == "time" else value)
        )
    except (ValueError, RecursionError):
        raise ValueError(f"column {name!r} can't be read") from None


def _time_of(text: str) -> datetime:
    """The moment in a text of SQLite's, which is in UTC and leaves that out."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def row_line(row: Mapping[str, Json]) -> str:
    """A row as one line of JSON, without the newline; the texts come last."""
    head = dump_json({name: _plain(value) for name, value in row.items() if name not in JSON_COLUMNS})
    tail = (f',"{name}":{row[name] or "null"}' for name in row if name in JSON_COLUMNS)
    return f"{head[:-1]}{''.join(tail)}}}"


def row_from_json(value: Mapping[str, Json], columns: Sequence[str]) -> Row:
    """The row in an object that `row_line` wrote; a column that it lacks becomes null.

    Raises:
        ValueError: it has no time, or a value that is not JSON.
    """
    values = {name: value.get(name) for name in columns}
    values["time"] = datetime.fromisoformat(str(values["time"]))
    for name in values.keys() & TEXTS:
        values[name] = None if values[name] is None else well_formed(dump_json(values[name]))
    return fit_row(values)


def _json_value(name: str, value: Json) -> Json:
    return json.loads(value) if name in JSON_COLUMNS and value is not None else _plain(value)


def _plain(value: Json) -> Json:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
