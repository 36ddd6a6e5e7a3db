from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from router.call_log.address import LogAddress
from router.call_log.lookup import Spend, known_calls, log_bytes, spend_since
from router.call_log.store import connection_to
from router.errors import CallLogError
from tests.services.postgres import Postgres
from tests.services.runtime_log import STORES, record, write_log


@pytest.mark.parametrize("name", STORES)
def test_the_calls_that_are_there_are_known(tmp_path: Path, name: str) -> None:
    log = write_log(tmp_path / name, record("a"), record("b"))
    assert known_calls(log, {"a", "c"}) == {"a"}


@pytest.mark.parametrize("name", STORES)
def test_the_spend_since_a_moment_is_added_up(tmp_path: Path, name: str) -> None:
    url = write_log(
        tmp_path / name,
        record("old", time=1000.0, cost_usd=9.0),
        record("a", time=2000.0, cost_usd=0.5, attempt=1),
        record("b-1", time=2001.0, cost_usd=None, error="server: X", attempt=1),
        record("b", time=2002.0, cost_usd=0.25, attempt=2),
        record("c", time=2003.0, cost_usd=None, error=None, attempt=None),
    )
    first = datetime.fromtimestamp(2000.0, UTC)
    assert spend_since(LogAddress.of(url), first) == Spend(
        requests=3, first=first, usd=0.75, known=2, unknown=1
    )
    nothing = spend_since(LogAddress.of(url), datetime.fromtimestamp(3000.0, UTC))
    assert (nothing.requests, nothing.first, nothing.usd) == (0, None, 0.0)


@pytest.mark.parametrize("name", STORES)
def test_no_ids_are_no_calls(tmp_path: Path, name: str) -> None:
    assert known_calls(write_log(tmp_path / name, record("a")), ()) == set()


@pytest.mark.parametrize("name", STORES)
def test_an_id_that_the_log_shortened_is_known_by_its_whole_form(tmp_path: Path, name: str) -> None:
    long = "x" * 1000
    assert known_calls(write_log(tmp_path / name, record(long)), {long}) == {long}


def test_more_ids_than_one_statement_takes_are_looked_up(tmp_path: Path) -> None:
    log = write_log(tmp_path / "calls.db", *(record(f"c{number}") for number in range(3)))
    assert known_calls(log, {f"c{number}" for number in range(1200)}) == {"c0", "c1", "c2"}


def test_lines_that_hold_no_row_are_passed_over(tmp_path: Path) -> None:
    log = Path(write_log(tmp_path / "calls.jsonl", record("a")))
    log.write_bytes(b"[1]\n{half\n" + log.read_bytes())
    assert known_calls(log, {"a"}) == {"a"}


@pytest.mark.parametrize("name", STORES)
def test_a_log_that_is_not_there_is_refused_and_not_made(tmp_path: Path, name: str) -> None:
    for ask in (log_bytes, lambda url: known_calls(url, ())):
        with pytest.raises(CallLogError, match=rf"{name}: no such call log \(from .*\); check the path"):
            ask(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calls.db").write_bytes(b"no database at all " * 99)
    with pytest.raises(CallLogError, match=r"calls\.db: can't be read: file is not a database"):
        known_calls(tmp_path / "calls.db", ["a"])


def test_a_database_without_a_log_is_refused(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "calls.db").execute("CREATE TABLE other (x)")
    with pytest.raises(CallLogError, match=r"calls\.db: holds no call log; check the address"):
        known_calls(tmp_path / "calls.db", ["a"])


def test_the_size_of_a_file_counts_what_is_in_its_write_ahead_log(tmp_path: Path) -> None:
    log = Path(write_log(tmp_path / "calls.db", record("a")))
    log.with_name("calls.db-wal").write_bytes(b"x" * 1000)
    assert log_bytes(log) == log.stat().st_size + 1000


def test_nothing_is_made_beside_a_log_in_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write_log(tmp_path / "calls.db", record("a"))
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with connection_to(LogAddress.of(log)) as connection:
        assert connection.execute(text("SELECT call_id FROM calls")).scalars().all() == ["a"]
        assert [file.name for file in tmp_path.iterdir()] == ["calls.db"]


def test_a_server_knows_its_calls_and_its_size(postgres: Postgres) -> None:
    log = write_log(postgres.new_database("lookup"), record("a"))
    assert known_calls(log, {"a", "b"}) == {"a"}
    assert log_bytes(log) >= 8192


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(CallLogError, match=r"postgresql://127\.0\.0\.1:1/x: can't be read") as refused:
        known_calls("postgresql://me:hush@127.0.0.1:1/x", ["a"])
    assert "hush" not in str(refused.value)


def test_a_server_without_a_log_is_refused(postgres: Postgres) -> None:
    with pytest.raises(CallLogError, match="holds no call log"):
        known_calls(postgres.new_database("lookup_nothing"), ["a"])
