from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.call_log.sums import SEPARATOR, sums_of
from tests.services.postgres import Postgres
from tests.services.runtime_log import failed, give, record, write_log

DAY = (datetime(2026, 9, 14, tzinfo=UTC), datetime(2026, 9, 15, tzinfo=UTC))


def written(url: str | Path) -> str:
    log = write_log(
        url,
        record("a", session_id="s", latency_s=0.0, confidence=0.73216),
        record("b", session_id="", cost_usd=None),
        record("c"),
        failed("c-1"),
    )
    give(log, a=(False, None), b=(True, None))
    give(log, a=(True, None))
    return log


def check(url: str) -> None:
    """The database itself tells the groups: two good answers, one of unknown success, one failed attempt."""
    (groups,) = sums_of(url, [DAY])
    assert groups is not None
    by_success = {(bool(one["error"]), one["success"]): one for one in groups}
    good = by_success[False, 1]
    assert len(groups) == 3
    assert (good["calls"], good["known_cost"], good["cost"], good["input_tokens"]) == (2, 1, 0.001, 20)
    assert sorted(good["sessions"].split(SEPARATOR)) == ["b", "s"]
    by_session = dict(zip(good["sessions"].split(SEPARATOR), good["forecasts"].split(","), strict=True))
    assert by_session == {"s": "7322", "b": ""}
    assert sorted(good["latencies"].split(",")) == ["-36", "-698"]
    assert by_success[True, None]["failed_at"].isoformat() == "2026-09-14T12:00:00+00:00"


def test_sqlite_adds_up_calls_that_share_labels_and_success(tmp_path: Path) -> None:
    check(written(tmp_path / "calls.db"))


def test_postgres_adds_up_calls_that_share_labels_and_success(postgres: Postgres) -> None:
    check(written(postgres.new_database("sums")))


def test_sessions_that_can_not_be_told_apart_are_not_summed(tmp_path: Path) -> None:
    url = write_log(tmp_path / "calls.db", record("a", session_id=f"one{SEPARATOR}two"))
    assert list(sums_of(url, [DAY])) == [None]


def test_a_build_of_sqlite_without_a_logarithm_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.call_log.sums._PROBE", "SELECT no_such_function(1)")
    check(written(tmp_path / "calls.db"))
