from __future__ import annotations

from pathlib import Path

import pytest

from router.call_log.address import LogAddress
from router.errors import CallLogError

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        pytest.param("calls.db", "sqlite", id="file ending in db"),
        pytest.param("logs/calls.sqlite", "sqlite", id="file ending in sqlite"),
        pytest.param("sqlite:///logs/calls", "sqlite", id="SQLAlchemy's form"),
        pytest.param("calls.jsonl", "lines", id="JSON lines"),
        pytest.param("postgresql://ann@db/logs", "postgres", id="PostgreSQL"),
        pytest.param("postgres://ann@db/logs", "postgres", id="PostgreSQL's short name"),
        pytest.param("postgresql+psycopg://ann@db/logs", "postgres", id="with our driver"),
    ],
)
def test_the_address_names_the_kind_of_store(url: str, kind: str) -> None:
    assert LogAddress.of(url).kind == kind


def test_a_relative_file_stays_where_it_is_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = LogAddress.of("calls.db")
    monkeypatch.chdir("/")
    assert address.path == tmp_path / "calls.db"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("calls.txt", id="unknown ending"),
        pytest.param("mysql://ann@db/logs", id="unknown database"),
        pytest.param("postgresql+asyncpg://ann@db/logs", id="another driver"),
    ],
)
def test_an_address_of_no_store_is_refused_with_the_ones_there_are(url: str) -> None:
    with pytest.raises(CallLogError, match=r"must be a file ending in \.db, \.sqlite or \.jsonl"):
        LogAddress.of(url)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"postgresql://ann:{SECRET}@db:5432/logs", id="password"),
        pytest.param(f"postgresql://ann@db/logs?password={SECRET}", id="password as a parameter"),
        pytest.param(f"postgresql://ann@db/logs?sslpassword={SECRET}", id="password of the key file"),
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    address = LogAddress.of(url)
    told = f"{address} {address.shown} {address.reason(ValueError(f'bad value {SECRET!r} in {url}'))}"
    assert SECRET not in told
    assert "postgresql://" in address.shown


def test_a_password_is_hidden_in_both_of_its_forms() -> None:
    address = LogAddress.of("postgresql://ann:p%40ss@db/logs")
    assert address.reason(ValueError("no p@ss, no p%40ss")) == "no ***, no ***"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"postgresql://ann:{SECRET}@x@db/logs", id="at sign"),
        pytest.param(f"postgresql://ann:{SECRET}/x@db/logs", id="slash"),
        pytest.param(f"postgresql://ann:{SECRET}?x@db/logs", id="question mark"),
        pytest.param(f"postgresql://ann:{SECRET}#x@db/logs", id="hash"),
    ],
)
def test_a_password_that_breaks_the_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(CallLogError, match="PGPASSWORD") as caught:
        LogAddress.of(url)
    assert SECRET not in str(caught.value)


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(CallLogError, match="host and port can't be read"):
        LogAddress.of("postgresql://ann@db:many/logs")


def test_a_reason_is_one_line_as_the_next_ones_may_quote_a_row() -> None:
    error = ValueError("value too long\nDETAIL: row contains (the prompt)")
    assert LogAddress.of("calls.db").reason(error) == "value too long"
