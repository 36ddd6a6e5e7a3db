"""Facts about a call log without reading all of it: how large it is, and which calls it has."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from router.call_log.address import LogAddress
from router.call_log.rows import fit_identifier
from router.errors import CallLogError

_IDS_AT_ONCE = 500
LONG_FILE_BYTES = 16 * 2**20
_WAL = "-wal"


def log_bytes(url: str | Path) -> int:
    """About how many bytes a log's calls take in storage.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        MissingExtra: the database's driver is not installed.
    """
    address = LogAddress.of(url)
    if address.kind == "postgres":
        from sqlalchemy import text

        from router.call_log.store import connection_to

        with connection_to(address) as connection:
            return int(connection.execute(text("SELECT pg_total_relation_size('calls')")).scalar_one())
    address.check_exists()
    beside = address.path.with_name(address.path.name + _WAL)
    return sum(file.stat().st_size for file in (address.path, beside) if file.is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What the calls of a period cost.

    Attributes:
        requests: first attempts.
        first: time of the first call; None if there is none.
        usd: where known.
        known: calls of known cost.
        unknown: answered calls of unknown cost.
    """

    requests: int
    first: datetime | None
    usd: float
    known: int
    unknown: int


NOTHING_SPENT = Spend(requests=0, first=None, usd=0.0, known=0, unknown=0)


def spend_since(address: LogAddress, since: datetime) -> Spend:
    """What the calls since a moment cost.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        MissingExtra: the database's driver is not installed.
    """
    address.check_exists()
    if address.kind == "lines":
        from router.call_log.lines import LineStore

        rows = list(LineStore(address).read(since, None, ("attempt", "cost_usd", "error", "time")))
        costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
        return Spend(
            requests=sum(row["attempt"] in (None, 1) for row in rows),
            first=datetime.fromisoformat(rows[0]["time"]) if rows else None,
            usd=sum(costs),
            known=len(costs),
            unknown=sum(row["cost_usd"] is None and not row["error"] for row in rows),
        )
    from sqlalchemy import and_, case, func, or_, select

    from router.call_log.store import connection_to
    from router.call_log.tables import CALLS, is_log

    first = or_(CALLS.c.attempt.is_(None), CALLS.c.attempt == 1)
    unknown = and_(CALLS.c.cost_usd.is_(None), CALLS.c.error.is_(None))
    wanted = select(
        func.count(case((first, 1))),
        func.min(CALLS.c.time),
        func.coalesce(func.sum(CALLS.c.cost_usd), 0.0),
        func.count(CALLS.c.cost_usd),
        func.count(case((unknown, 1))),
    ).where(CALLS.c.time >= since)
    with connection_to(address) as connection:
        if not is_log(connection, address.shown):
            return NOTHING_SPENT
        requests, start, usd, known, unknown_calls = connection.execute(wanted).one()
    return Spend(requests=requests, first=start, usd=float(usd), known=known, unknown=unknown_calls)


def known_calls(url: str | Path, call_ids: Collection[str]) -> set[str]:
    """The ids that name a call in the log.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        MissingExtra: the database's driver is not installed.
    """
    return _known(LogAddress.of(url), call_ids)


def _known(address: LogAddress, call_ids: Collection[str]) -> set[str]:
    address.check_exists()
    stored = {fit_identifier(call_id): call_id for call_id in call_ids}
    wanted = {name for name in stored if name is not None}
    known = _in_lines(address, wanted) if address.kind == "lines" else _in_database(address, wanted)
    return {stored[name] for name in known}


def unknown_calls(address: LogAddress, call_ids: Collection[str]) -> list[str]:
    """The ids that name no call in a log that exists; none in a long file, which would be read as a whole.

    Raises:
        CallLogError: the log can't be read.
    """
    if address.kind == "lines" and address.path.stat().st_size > LONG_FILE_BYTES:
        return []
    known = _known(address, call_ids)
    return [call_id for call_id in dict.fromkeys(call_ids) if call_id not in known]


def _in_database(address: LogAddress, wanted: Collection[str]) -> set[str]:
    from sqlalchemy import exc, select

    from router.call_log.sqlite_file import is_corrupt
    from router.call_log.store import DatabaseStore, connection_to
    from router.call_log.tables import CALLS, is_log

    ids = sorted(wanted)
    known: set[str] = set()
    with connection_to(address) as connection:
        if not is_log(connection, address.shown):
            raise CallLogError(f"{address.shown}: holds no call log; check the address, or make a call first")
        try:
            for start in range(0, len(ids), _IDS_AT_ONCE):
                some = CALLS.c.call_id.in_(ids[start : start + _IDS_AT_ONCE])
                known.update(connection.execute(select(CALLS.c.call_id).where(some)).scalars())
        except exc.DBAPIError as error:
            if not is_corrupt(error.orig):
                raise
            known.update(row["call_id"] for row in DatabaseStore(address).read() if row["call_id"] in wanted)
    return known


def _in_lines(address: LogAddress, wanted: Collection[str]) -> set[str]:
    missing = set(wanted)
    try:
        with address.path.open("rb") as lines:
            for line in lines:
                if not missing:
                    break
                missing.discard(_call_id(line))
    except OSError as error:
        raise CallLogError(f"{address.shown}: can't be read: {error.strerror}") from error
    return set(wanted) - missing


def _call_id(line: bytes) -> str:
    """The line's call id; empty if it has none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return str(value.get("call_id") or "") if isinstance(value, dict) else ""
