from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest

from router.errors import ConfigError
from training.dashboard.cells import Key
from training.dashboard.query import FILTERS, Query

LOG = (datetime(2026, 9, 1, 7, tzinfo=UTC), datetime(2026, 9, 14, 12, tzinfo=UTC))
KEY = Key("small", None, "learned", ("web", "beta"), "v1")


def span_of(text: str, zone: str = "UTC") -> tuple[str, str]:
    start, stop = Query.of(parse_qsl(text)).span(LOG, ZoneInfo(zone))
    return f"{start:%m-%d %H:%M}", f"{stop:%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        pytest.param("", "09-08 00:00", "09-15 00:00", id="the week up to the last call"),
        pytest.param("period=1", "09-14 00:00", "09-15 00:00", id="a day"),
        pytest.param("period=all", "09-01 00:00", "09-15 00:00", id="all"),
        pytest.param("since=2026-09-03&until=2026-09-04", "09-03 00:00", "09-05 00:00", id="days"),
        pytest.param("since=2026-09-03T10:00", "09-03 10:00", "09-15 00:00", id="from a time"),
        pytest.param("until=2026-09-10&period=2", "09-09 00:00", "09-11 00:00", id="days up to one"),
    ],
)
def test_a_period_is_in_the_address(text: str, start: str, stop: str) -> None:
    assert span_of(text) == (start, stop)


def test_a_day_begins_at_the_zones_midnight() -> None:
    assert span_of("period=1", "Asia/Kolkata") == ("09-14 00:00", "09-15 00:00")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("modle=small", "unknown filter 'modle'", id="unknown name"),
        pytest.param("period=week", "period 'week'", id="no number"),
        pytest.param("period=0", "period '0'", id="no day"),
        pytest.param("period=-3", "period '-3'", id="negative"),
        pytest.param("period=99999999", "period '99999999'", id="too long"),
        pytest.param("since=yesterday", "since 'yesterday'", id="no date"),
        pytest.param("until=99999-01-01", "until '99999-01-01'", id="no date of this calendar"),
        pytest.param("since=2026-09-10&until=2026-09-01", "is empty", id="swapped"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        span_of(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("model=small", True, id="its model"),
        pytest.param("model=large", False, id="another model"),
        pytest.param("task_type=(none)", True, id="no task type"),
        pytest.param("tag=beta", True, id="one of its tags"),
        pytest.param("tag=(none)", False, id="it has tags"),
        pytest.param("version=v1&source=rule", False, id="one of two"),
        pytest.param("model=&version=", True, id="empty is any"),
    ],
)
def test_filters_choose_calls(text: str, wanted: bool) -> None:
    assert Query.of(parse_qsl(text, keep_blank_values=True)).wants(KEY) is wanted


def test_an_address_comes_back_from_its_query() -> None:
    text = "period=30&since=2026-09-01&until=2026-09-02&" + "&".join(
        f"{name}=a%26b%3D%3Cc" for name in FILTERS
    )
    query = Query.of(parse_qsl(text))
    assert Query.of(parse_qsl(query.address()[1:])) == query
    assert Query.of(parse_qsl(query.address(model="x")[1:])).filters["model"] == "x"
