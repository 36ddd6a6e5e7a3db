from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call_log.costs import GROUPINGS, CostLine, CostTally, cost_report
from router.call_log.log import CallRecord, read_rows
from router.call_log.marks import Span
from router.call_log.sums import FORECAST_UNIT, sums_of
from router.records import Json
from tests.services.postgres import Postgres
from tests.services.runtime_log import NOON, failed, give, record, write_log
from training.dashboard import counting
from training.dashboard.cells import Cell, cells_of, from_text, merged, to_text
from training.dashboard.figures import screen
from training.dashboard.kept import KeptCells, spans_between
from training.dashboard.query import Query

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400.0
WHOLE = Query(days=None)


def made_calls(number: int, seed: int = 0) -> list[CallRecord]:
    """Calls over eight days with everything that a log may hold or lack."""
    draw = random.Random(seed)
    calls = []
    for place in range(number):
        make = failed if draw.random() < 0.1 else record
        calls.append(
            make(
                f"c{seed}-{place}",
                time=NOON + draw.random() * 8 * DAY,
                model=draw.choice(["small", "large"]),
                task_type=draw.choice([None, "code", "chat"]),
                tags=draw.choice([[], ["web"], ["web", "beta"]]),
                session_id=draw.choice([None, "s1", "s2"]),
                policy_version=draw.choice([None, "v1", "v2"]),
                latency_s=draw.choice([None, 0.5, 2.0]),
                cost_usd=draw.choice([None, 0.001, 0.003]),
                baseline_cost_usd=draw.choice([None, 0.002]),
                success=draw.choice([None, True, False]),
                confidence=draw.choice([None, 0.0, 0.73215, draw.random(), 1.0]),
            )
        )
    return calls


def figures_of(line: CostLine) -> dict[str, Json]:
    """The figures of a line, to compare those added up in another order."""
    values = asdict(line)
    values.pop("group")
    return {
        name: pytest.approx(one, rel=1e-12, abs=1e-15) if isinstance(one, float) else one
        for name, one in values.items()
    }


def same_as_costs(kept: KeptCells) -> None:
    """Every sum that the dashboard shows is the one that `pointsman costs` computes."""
    shown = screen(kept, WHOLE)
    rows = list(read_rows(kept.url))
    assert asdict(shown.total.costs) | {"group": ()} == {"group": (), **figures_of(cost_report(rows).total)}
    for grouping in ("model", "task_type", "tag", "source", "version"):
        lines = {line.group[0] or "(none)": line for line in cost_report(rows, [grouping]).lines}
        assert {line.name for line in shown.groups[grouping]} == lines.keys()
        for line in shown.groups[grouping]:
            assert asdict(line.costs) == {"group": (line.name,), **figures_of(lines[line.name])}
    days = {line.group[0]: line for line in cost_report(rows, ["day"], zone=kept.zone).lines}
    assert [line.name for line in shown.days] == sorted(filter(None, days))
    for line in shown.days:
        assert asdict(line.costs) == {"group": (line.name,), **figures_of(days[line.name])}
    assert (shown.total.cell.rates == merged(cells_of(rows).values()).rates).all()
    answered = [row for row in rows if not row["error"]]
    forecast = [row for row in answered if None not in {row["success"], row["confidence"]}]
    assert shown.forecasts[0].before == pytest.approx(
        sum(row["confidence"] for row in forecast) / len(forecast), abs=FORECAST_UNIT
    )
    assert shown.total.cell.known == sum(row["success"] is not None for row in answered)
    succeeded = sum(bool(row["success"]) for row in answered)
    assert shown.total.success.value == pytest.approx(succeeded / shown.total.cell.known)


def kept_of(url: str, folder: Path, zone: tzinfo = UTC) -> KeptCells:
    return KeptCells(url, folder, zone)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[datetime, datetime]]:
    """The periods of the log that are added up."""
    periods: list[tuple[datetime, datetime]] = []

    def summing(url: str, spans: Sequence[Span]) -> object:
        periods.extend(spans)
        return sums_of(url, spans)

    monkeypatch.setattr(counting, "sums_of", summing)
    return periods


@pytest.mark.parametrize("zone", [pytest.param(UTC, id="UTC"), pytest.param(BERLIN, id="Berlin")])
@pytest.mark.parametrize("name", ["calls.db", "calls.jsonl"])
def test_sums_are_those_of_the_costs_command(name: str, zone: tzinfo, tmp_path: Path) -> None:
    same_as_costs(kept_of(write_log(tmp_path / name, *made_calls(300)), tmp_path / "cache", zone))


def test_sums_are_those_of_the_costs_command_in_postgres(postgres: Postgres, tmp_path: Path) -> None:
    url = write_log(postgres.new_database("dashboard_sums"), *made_calls(300))
    kept = kept_of(url, tmp_path)
    same_as_costs(kept)
    give(url, **{"c0-3": (True, None), "c0-5": (False, None)})
    write_log(url, *made_calls(20, seed=2))
    same_as_costs(kept)


def test_sums_of_days_with_many_calls_are_those_of_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Span]
) -> None:
    monkeypatch.setattr(counting, "_AT_ONCE", 7)
    same_as_costs(kept_of(write_log(tmp_path / "calls.db", *made_calls(300)), tmp_path / "cache"))
    assert len(reads) > 30


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("cost_usd = 'much'", id="a text for a number"),
        pytest.param("input_tokens = 1.5", id="a broken number of tokens"),
        pytest.param("success = 2", id="a flag that is neither"),
        pytest.param("tags = '[\"web'", id="tags that end early"),
        pytest.param("model = CAST(x'ff' AS TEXT)", id="a text that is none"),
    ],
)
def test_damaged_rows_are_left_out_as_the_costs_command_does(damage: str, tmp_path: Path) -> None:
    url = write_log(tmp_path / "calls.db", *made_calls(100))
    with sqlite3.connect(url) as database:
        database.execute(f"UPDATE calls SET {damage} WHERE call_id IN ('c0-3', 'c0-50')")
    assert len(list(read_rows(url))) == 98
    same_as_costs(kept_of(url, tmp_path / "cache"))


def test_kept_sums_stay_right_under_late_calls_and_late_feedback(tmp_path: Path) -> None:
    url = write_log(tmp_path / "calls.db", *made_calls(200))
    for turn in range(4):
        same_as_costs(kept_of(url, tmp_path / "cache"))
        give(url, **{f"c0-{turn * 3}": (turn % 2 == 0, None), f"c0-{turn}": (False, None)})
        write_log(url, *made_calls(10, seed=turn + 1))
    same_as_costs(kept_of(url, tmp_path / "cache"))


def test_only_what_changed_is_read_again(tmp_path: Path, reads: list[tuple[datetime, datetime]]) -> None:
    url = write_log(tmp_path / "calls.db", *made_calls(200))
    for _ in range(2):
        screen(kept_of(url, tmp_path / "cache"), WHOLE)
    first = len(reads)
    assert len(set(reads)) == first, "the second process finds everything kept"
    give(url, **{"c0-0": (True, None)})
    screen(kept_of(url, tmp_path / "cache"), WHOLE)
    (since, until) = reads[first]
    assert len(reads) == first + 1
    assert until - since == timedelta(days=1)


def test_another_log_at_the_same_place_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    write_log(path, record("a", cost_usd=1.0))
    screen(kept_of(str(path), tmp_path / "cache"), WHOLE)
    path.unlink()
    write_log(path, record("b", cost_usd=2.0))
    assert screen(kept_of(str(path), tmp_path / "cache"), WHOLE).total.costs.cost_usd == 2.0


def test_the_log_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    write_log(path, *made_calls(50))
    before = path.read_bytes()
    screen(kept_of(str(path), tmp_path / "cache"), WHOLE)
    assert path.read_bytes() == before


def test_kept_files_hold_no_text_and_no_session(tmp_path: Path) -> None:
    calls = [
        record("secret-id", session_id="secret-session", messages=[{"role": "user", "content": "secret"}])
    ]
    screen(kept_of(write_log(tmp_path / "calls.db", *calls), tmp_path / "cache"), WHOLE)
    (file,) = (tmp_path / "cache" / "dashboard").iterdir()
    assert b"2026-09-14" in file.read_bytes()
    assert b"secret-session" not in file.read_bytes()
    assert b'"content"' not in file.read_bytes()


def test_cells_come_back_from_their_text(tmp_path: Path) -> None:
    cells = cells_of(read_rows(write_log(tmp_path / "calls.db", *made_calls(60))))
    again = from_text(to_text(cells))
    assert again.keys() == cells.keys()
    for key, cell in cells.items():
        assert to_text({key: again[key]}) == to_text({key: cell})


def test_cells_of_parts_add_up_to_the_cell_of_all(tmp_path: Path) -> None:
    rows = list(read_rows(write_log(tmp_path / "calls.db", *made_calls(120))))
    whole, parts = Cell(), merged(cells_of(rows).values())
    for row in rows:
        whole.add(row)
    assert figures_of(whole.costs.line(())) == {
        name: one for name, one in asdict(parts.costs.line(())).items() if name != "group"
    }
    assert (whole.rates == parts.rates).all()
    assert (whole.errors, whole.minutes, whole.outcomes) == (parts.errors, parts.minutes, parts.outcomes)


def test_tallies_come_back_from_json() -> None:
    tally = CostTally()
    tally.add({"cost_usd": 1.0, "latency_s": 0.5, "baseline_model": "large", "input_tokens": 3})
    assert CostTally.from_json(tally.to_json()) == tally
    assert CostTally.from_json(CostTally().to_json()) == CostTally()


@given(
    start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC)),
    hours=st.integers(1, 24 * 40),
    ago=st.integers(-24 * 60, 24 * 60),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_spans_cover_the_period_without_gap_and_stay_in_one_day(
    start: datetime, hours: int, ago: int, zone: str
) -> None:
    until, place = start + timedelta(hours=hours), ZoneInfo(zone)
    spans = spans_between(start, until, place, until + timedelta(hours=ago))
    assert (spans[0][0], spans[-1][1]) == (start, until)
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    last_moment = timedelta(microseconds=1)
    assert all(a.astimezone(place).date() == (b - last_moment).astimezone(place).date() for a, b in spans)


def test_the_groupings_of_the_page_are_groupings_of_costs() -> None:
    assert {"model", "task_type", "tag", "source", "version", "day"} <= set(GROUPINGS)
