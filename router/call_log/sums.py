"""Sums over the calls of a span, which the log's database adds up itself."""

from __future__ import annotations

import math
import sqlite3
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Integer, Text, and_, case, cast, exc, func, literal_column, or_, select, type_coerce

from router.call_log.address import LogAddress
from router.call_log.costs import COST_COLUMNS, LATENCY_STEP, LEAST_LATENCY_S, TOKENS
from router.call_log.marks import Span, log_read
from router.call_log.store import with_feedback

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select, Subquery

    from router.records import Json

SUMMED_COLUMNS = COST_COLUMNS | {"chosen_model", "confidence", "outcome_source", "score", "success"}
"""What the sums read of a call."""
FORECAST_UNIT = 1e-4
"""Forecast chances of success are summed as whole numbers of this, so that every order gives the same sum."""
SEPARATOR = "\x1f"
"""Between the sessions of a group."""
_LABELS = (
    "model",
    "task_type",
    "decision_source",
    "tags",
    "policy_version",
    "baseline_model",
    "outcome_source",
    "error",
)
_NUMBERS = (*TOKENS, "cost_usd", "baseline_cost_usd", "latency_s", "score", "confidence")
_PROBE = "SELECT ln(1)"
_REPAIRED = "\ufffd"
"""In a text that may be damaged."""


def sums_of(url: str | Path, spans: Iterable[Span]) -> Iterator[list[dict[str, Json]] | None]:
    """The calls of each span in groups that share their labels and success; failed attempts their time, too.

    Each group has the number of its `calls`, the sums of its numbers over the known ones, the `latencies` of
    its calls as numbers of their bins, their `sessions` (a call without one is its own) and, where success is
    known, the `forecasts` in the same order, "" for none. None in the place of a span: the database can't
    tell them exactly, as where a row is damaged; read the rows instead.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        MissingExtra: the database's driver is not installed.
    """
    address = LogAddress.of(url)
    is_sqlite = address.kind == "sqlite"
    with log_read(address) as connection:
        connection.rollback()
        if is_sqlite:
            _prepare(connection)
        for span in spans:
            rows = with_feedback(connection, *span, SUMMED_COLUMNS).order_by(None).subquery()
            try:
                found = connection.execute(_grouped(rows, is_sqlite=is_sqlite)).mappings()
                groups = list(map(dict, found))
            except (exc.DBAPIError, ValueError):
                groups = None
            connection.rollback()  # a SQLite log's writer waits no longer
            yield groups if groups is not None and all(map(_is_whole, groups)) else None


def _prepare(connection: Connection) -> None:
    """Let SQLite keep the feedback's index in memory, and know the logarithm, which some builds lack."""
    file = typing.cast("sqlite3.Connection", connection.connection.driver_connection)
    file.execute("PRAGMA cache_size = -32000")
    try:
        file.execute(_PROBE)
    except sqlite3.OperationalError:
        file.create_function("ln", 1, _ln, deterministic=True)


def _ln(value: float | None) -> float | None:
    return None if value is None else math.log(value)


def _is_whole(group: Mapping[str, Json]) -> bool:
    """Whether every value is one that pointsman writes, and the sessions can be told apart."""
    texts = [group[name] for name in (*_LABELS, "sessions")]
    return (
        not group["odd"]
        and group["success"] in {None, 0, 1}
        and all(isinstance(text, str | None) and _REPAIRED not in (text or "") for text in texts)
        and not any(isinstance(group[name], float) for name in TOKENS)
        and group["sessions"].count(SEPARATOR) + 1 == group["calls"]
        and (group["success"] is None or group["forecasts"].count(",") + 1 == group["calls"])
    )


def _grouped(rows: Subquery, *, is_sqlite: bool) -> Select[tuple[Json]]:
    c = rows.c
    known = and_(c.cost_usd.is_not(None), c.baseline_cost_usd.is_not(None))
    latency = case((c.latency_s > LEAST_LATENCY_S, c.latency_s), (c.latency_s.is_not(None), LEAST_LATENCY_S))
    forecast = case((c.confidence.between(0.0, 1.0), _floor(c.confidence / FORECAST_UNIT + 0.5)))
    joined = func.group_concat if is_sqlite else func.string_agg
    keys = [
        *(c[name] for name in _LABELS),
        type_coerce(c.success, Integer).label("success"),
        case((c.error != literal_column("''"), c.time)).label("failed_at"),
    ]
    sums = {
        "calls": func.count(),
        **{name: func.sum(c[name]) for name in TOKENS},
        "known_tokens": func.count(c.input_tokens + c.output_tokens),
        "known_cost": func.count(c.cost_usd),
        "cost": func.sum(c.cost_usd),
        "baseline": func.sum(c.baseline_cost_usd),
        "compared": func.count(case((known, 1))),
        "compared_cost": func.sum(case((known, c.cost_usd))),
        "compared_baseline": func.sum(case((known, c.baseline_cost_usd))),
        "latency": func.sum(c.latency_s),
        "least_latency": func.min(c.latency_s),
        "most_latency": func.max(c.latency_s),
        "latencies": joined(_floor(func.ln(latency) / math.log(LATENCY_STEP)), ","),
        "sessions": joined(func.coalesce(func.nullif(c.session_id, ""), c.call_id), SEPARATOR),
        "forecasts": joined(case((c.success.is_not(None), func.coalesce(forecast, ""))), ","),
        "scored": func.count(c.score),
        "fallbacks": func.count(case((c.chosen_model != c.model, 1))),
        "odd": func.count(case((or_(*(c[name] > math.inf for name in _NUMBERS)), 1))),
    }
    return select(*keys, *(one.label(name) for name, one in sums.items())).group_by(*keys)


def _floor(number: ColumnElement[Json]) -> ColumnElement[str]:
    near = cast(number, Integer)  # SQLite cuts off, PostgreSQL rounds
    return cast(near - case((near > number, 1), else_=0), Text)
