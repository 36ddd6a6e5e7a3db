"""What the address of the page asks for: a period, and which of its calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from urllib.parse import urlencode

from router.call_log.costs import period_bound
from router.call_log.marks import Span
from router.errors import ConfigError
from training.dashboard.cells import Key

FILTERS = ("model", "task_type", "source", "tag", "version")
NAMES = frozenset({"period", "since", "until", *FILTERS})
NONE = "(none)"
"""In a filter: calls that have no such value."""
PERIODS = {"1": "1 day", "7": "7 days", "30": "30 days", "90": "90 days", "all": "the whole log"}
DAYS = 7
_MOST_DAYS = 3660


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The calls to look at.

    Attributes:
        days: length of the period up to the log's last call; None: the whole log.
        since, until: first and last day, or times, in place of `days`; "" is open.
        filters: the value that the calls must have, by the filter's name.
    """

    days: int | None = DAYS
    since: str = ""
    until: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Iterable[tuple[str, str]]) -> Query:
        """Read the parameters of an address; empty ones count as left out.

        Raises:
            ConfigError: one is unknown or can't be read.
        """
        given = {name: value for name, value in parameters if value}
        if unknown := sorted(given.keys() - NAMES):
            raise ConfigError(f"unknown filter {unknown[0]!r}; known ones: {', '.join(sorted(NAMES))}")
        return cls(
            days=_days(given.get("period", str(DAYS))),
            since=given.get("since", ""),
            until=given.get("until", ""),
            filters={name: given[name] for name in FILTERS if name in given},
        )

    def span(self, log: Span, zone: tzinfo) -> Span:
        """The period in a log, from a midnight to a midnight unless times are given.

        Args:
            log: the times of the log's first and last call.

        Raises:
            ConfigError: `since` or `until` can't be read, or the period is empty.
        """
        last_day = f"{log[1].astimezone(zone):%Y-%m-%d}"
        stop = _bound("until", self.until or last_day, zone)
        if self.since or self.days is None:
            first_day = f"{log[0].astimezone(zone):%Y-%m-%d}"
            start = _bound("since", self.since or first_day, zone)
        else:
            start = stop - timedelta(days=self.days)
        if start >= stop:
            if self.since and self.until:
                raise ConfigError(f"the period from {self.since} to {self.until} is empty; swap its ends")
            stop = start = min(start, stop)
        return start, stop

    def wants(self, key: Key) -> bool:
        """Whether the calls of a key are asked for."""
        return all(value in filter_values(key, name) for name, value in self.filters.items())

    def address(self, **changed: str) -> str:
        """The address of this query with some of its parameters changed; "" leaves one out."""
        period = "all" if self.days is None else "" if self.days == DAYS else str(self.days)
        values = {"period": period, "since": self.since, "until": self.until, **self.filters, **changed}
        text = urlencode({name: value for name, value in values.items() if value})
        return f"?{text}" if text else "?"


def filter_values(key: Key, name: str) -> tuple[str, ...]:
    """The values that the calls of a key have for a filter, or `NONE`."""
    if name == "tag":
        return key.tags or (NONE,)
    value = getattr(key, name)
    return (NONE if value is None else str(value),)


def _days(text: str) -> int | None:
    if text == "all":
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= _MOST_DAYS):
        raise ConfigError(f"period {text!r}: it is a number of days from 1 to {_MOST_DAYS}, or all")
    return int(text)


def _bound(name: str, text: str, zone: tzinfo) -> datetime:
    try:
        return period_bound(text, zone, end=name == "until")
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{name} {text!r}: write a day or a time, for example 2026-09-14") from error
