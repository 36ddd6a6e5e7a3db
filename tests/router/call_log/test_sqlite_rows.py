"""A SQLite log of which a part is damaged."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from router.call_log.address import LogAddress
from router.call_log.lookup import known_calls
from router.call_log.rows import COLUMNS, FLAGS, JSON_COLUMNS, NUMBERS, WHOLE_NUMBERS
from router.call_log.store import DatabaseStore, connection_to
from router.errors import CallLogError
from router.records import Json
from tests.router.call_log.call_records import rows_of
from tests.router.call_log.test_store import row, verdict

PROMPT = "zebra"
CALLS = 400
PAGE = 4096
Damage = Callable[[bytes], bytes]


def question(number: int) -> str:
    """Messages of which some fill several pages."""
    return f'[{{"role":"user","content":"{PROMPT} {PROMPT * (number % 7) ** 4}"}}]'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "calls.db"
    store = DatabaseStore(LogAddress.of(path))
    names = [f"call-{number:03}" for number in range(CALLS)]
    store.append_calls(
        [row(name, time=float(at % 50), messages=question(at)) for at, name in enumerate(names)]
    )
    store.append_feedback([verdict(name, at, success=True) for at, name in enumerate(names) if at % 3])
    return path


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    path = tmp_path / "calls.db"
    path.write_bytes(whole.read_bytes())
    return path


def change(log: Path, statement: str, *values: Json) -> None:
    with sqlite3.connect(log) as connection:
        connection.execute(statement, values)
    connection.close()


def as_nothing(page: bytes) -> bytes:
    return bytes(len(page))


def as_noise(page: bytes) -> bytes:
    return random.Random(0).randbytes(len(page))


def without_its_head(page: bytes) -> bytes:
    return bytes(100) + page[100:]


def pages_of(log: Path, *names: str) -> list[int]:
    """Where the root pages of tables and indexes begin."""
    query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    roots = [sqlite3.connect(log).execute(query, (name,)).fetchone()[0] for name in names]
    return [(root - 1) * PAGE for root in roots]


def left_out(messages: list[str]) -> int:
    """How many rows were reported as damaged."""
    return sum(int(number) for number in re.findall(r": (\d+) row\(s\) are damaged", "\n".join(messages)))


@pytest.mark.parametrize("damage", [as_nothing, as_noise, without_its_head])
def test_a_damaged_page_costs_its_own_rows_and_they_are_counted(
    whole: Path, log: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    content = whole.read_bytes()
    expected = {row["call_id"]: row for row in rows_of(whole)}
    costs = []
    needed = {0, *pages_of(whole, "pointsman_log")}
    for start in range(0, len(content), PAGE):
        page = content[start : start + PAGE]
        log.write_bytes(content[:start] + damage(page) + content[start + PAGE :])
        caplog.clear()
        if start in needed:
            with pytest.raises(CallLogError, match=f"^{log}: can't be read: [a-z ]+$"):
                rows_of(log)
            continue
        rows = rows_of(log)
        read = {row["call_id"] for row in rows}
        assert [row["call_id"] for row in rows] == [name for name in expected if name in read]
        assert all(without_outcome(row) == without_outcome(expected[row["call_id"]]) for row in rows)
        assert len(rows) == CALLS or left_out(caplog.messages) >= CALLS - len(rows)
        assert PROMPT not in caplog.text
        costs.append(CALLS - len(rows))
    assert sum(cost > 20 for cost in costs) <= 3  # the roots of the tables
    assert sum(cost > 0 for cost in costs) > len(costs) // 4


def without_outcome(row: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in row.items() if name not in ("success", "outcome_source")}


NO_TEXTS = sorted(JSON_COLUMNS | NUMBERS | WHOLE_NUMBERS | FLAGS | {"time"})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((name, "5 zebras") for name in NO_TEXTS),
        *((name, b"zebra \xff") for name in COLUMNS),
        pytest.param("messages", "[" * 100_000, id="endless nesting"),
        pytest.param("success", 2, id="neither true nor false"),
        pytest.param("input_tokens", 1.5, id="half a token"),
    ],
)
def test_a_damaged_value_costs_its_row_and_is_not_quoted(
    log: Path, column: str, value: Json, caplog: pytest.LogCaptureFixture
) -> None:
    given = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    change(log, f"UPDATE calls SET {column} = {given} WHERE call_id = 'call-099'", value)
    assert len(rows_of(log)) == CALLS - 1
    assert left_out(caplog.messages) == 1
    assert PROMPT not in caplog.text


def test_a_damaged_text_is_not_quoted_by_another_reader_of_the_file(log: Path) -> None:
    change(log, "UPDATE calls SET messages = CAST(? AS TEXT)", b"zebra \xff")
    with connection_to(LogAddress.of(log)) as connection:
        assert set(connection.execute(text("SELECT messages FROM calls")).scalars()) == {"zebra \ufffd"}


def test_a_period_of_a_damaged_log_is_read(whole: Path, log: Path) -> None:
    content = bytearray(whole.read_bytes())
    for start in range(PAGE, len(content), 17 * PAGE):
        content[start : start + PAGE] = bytes(PAGE)
    log.write_bytes(content)
    since, until = datetime.fromtimestamp(10, UTC), datetime.fromtimestamp(20, UTC)
    times = {row["time"] for row in DatabaseStore(LogAddress.of(log)).read(since, until)}
    assert times <= {f"1970-01-01T00:00:{second}.000000Z" for second in range(10, 20)}


def test_calls_are_known_past_a_damaged_page(whole: Path, log: Path) -> None:
    content = whole.read_bytes()
    names = {f"call-{number:03}" for number in range(CALLS)}
    (start,) = pages_of(whole, "sqlite_autoindex_calls_1")
    log.write_bytes(content[:start] + bytes(PAGE) + content[start + PAGE :])
    assert known_calls(log, {*names, "other"}) == names
