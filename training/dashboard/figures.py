"""The figures of a screen: this period, the one before, what changed, and the sums of each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo

from router.call_log.costs import CostLine
from router.call_log.marks import Span, first_and_last
from router.call_log.sums import FORECAST_UNIT
from training.dashboard.cells import (
    ATTEMPTS,
    FAILED,
    FORECAST,
    FORECAST_CALLS,
    FORECAST_SUCCEEDED,
    KNOWN,
    SUCCEEDED,
    Cell,
    Key,
    by_group,
    by_key,
    merged,
)
from training.dashboard.changes import Rate, RateChange, against_forecast, change
from training.dashboard.counting import Advance
from training.dashboard.kept import Cells, KeptCells
from training.dashboard.query import FILTERS, Query, filter_values

TITLES: Mapping[str, str] = {
    "model": "model", "task_type": "task type", "tag": "tag", "source": "who decided", "version": "version",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The sums of one group."""

    name: str
    costs: CostLine
    cell: Cell

    @property
    def success(self) -> Rate:
        """Share of successes among the answered calls with a known one."""
        return Rate(part=self.cell.rates[SUCCEEDED], whole=self.cell.rates[KNOWN])

    @property
    def failures(self) -> Rate:
        """Share of failed attempts among all attempts."""
        return Rate(part=self.cell.rates[FAILED], whole=self.cell.rates[ATTEMPTS])


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTime:
    """When a version decided, in this period."""

    name: str
    first: date
    last: date
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the first screen and the tables below it show.

    Attributes:
        span: None: the log holds no call at all.
        before: the sums of the period of the same length before; None where there is no such period.
        changes: rates now and before, the whole first, then of the models.
        forecasts: success and what was forecast for the same calls, likewise; empty without forecasts.
        aside: share of attempts that the rule table decided, now and before; None as `before`.
        groups: lines by grouping, the dearest first.
        days: lines in the order of time.
        choices: values that each filter can have in this period.
    """

    query: Query
    span: Span | None
    span_before: Span | None
    total: Line
    before: Line | None
    changes: Sequence[RateChange]
    forecasts: Sequence[RateChange]
    aside: RateChange | None
    groups: Mapping[str, Sequence[Line]]
    days: Sequence[Line]
    versions: Sequence[VersionTime]
    choices: Mapping[str, Sequence[str]]

    @property
    def baseline(self) -> str:
        """The always-strong models in words."""
        return " or ".join(sorted(self.total.cell.costs.baselines)) or "an always-strong model"

    @property
    def below_forecast(self) -> bool:
        """Whether the intervals show successes, of all calls or of a model, to be fewer than forecast."""
        return any(one.verdict == "worse" for one in self.forecasts)

    @property
    def worse(self) -> Sequence[RateChange]:
        """What the intervals show to have got worse."""
        return [one for one in self.changes if one.verdict == "worse"]


def screen(kept: KeptCells, query: Query, advance: Advance = lambda _: None) -> Screen:
    """Compute a screen from the log as it is now.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        ConfigError: the query's period can't be read.
    """
    log = first_and_last(kept.url)
    span = query.span(log, kept.zone) if log else None
    earlier = _before(query, span, log)
    parts = kept.cells((earlier or span)[0], span[1], advance) if span else []
    now = [part for part in parts if span and part[0][0] >= span[0]]
    wanted = _wanted(now, query)
    flat = _flat(wanted)
    total = _line("", flat)
    then = _flat(_wanted(parts[: len(parts) - len(now)], query))
    before = _line("", then) if earlier else None
    was = by_group(then, lambda key: filter_values(key, "model"))
    groups = {name: _lines(flat, name) for name in TITLES}
    return Screen(
        query=query,
        span=span,
        span_before=earlier,
        total=total,
        before=before,
        changes=_changes(total, before, groups["model"], was),
        forecasts=_forecasts(total, groups["model"]),
        aside=change("", _aside(flat), _aside(then), good=False) if before else None,
        groups=groups,
        days=_days(wanted, kept.zone),
        versions=_versions(wanted, kept.zone),
        choices=_choices(now),
    )


Part = tuple[Span, Cells]


def _before(query: Query, span: Span | None, log: Span | None) -> Span | None:
    """The period of the same length before; None if the log starts later, or all of it is asked for."""
    if span is None or log is None or log[0] >= span[0]:
        return None
    start = span[0] - (span[1] - span[0])
    return (start, span[0]) if start < span[0] else None


def _wanted(parts: Sequence[Part], query: Query) -> list[Part]:
    if not query.filters:
        return list(parts)
    return [(span, {key: cell for key, cell in cells.items() if query.wants(key)}) for span, cells in parts]


def _flat(parts: Sequence[Part]) -> list[tuple[Key, Cell]]:
    """The cells by key, of the whole period."""
    return list(by_key(item for _, cells in parts for item in cells.items()).items())


def _line(name: str, cells: Sequence[tuple[Key, Cell]]) -> Line:
    return _line_of(name, merged(cell for _, cell in cells))


def _line_of(name: str, cell: Cell) -> Line:
    return Line(name=name, costs=cell.costs.line((name,)), cell=cell)


def _choices(parts: Sequence[Part]) -> dict[str, list[str]]:
    keys = {key for _, cells in parts for key in cells}
    return {name: sorted({value for key in keys for value in filter_values(key, name)}) for name in FILTERS}


def _lines(cells: Sequence[tuple[Key, Cell]], grouping: str) -> list[Line]:
    sums = by_group(cells, lambda key: filter_values(key, grouping))
    lines = [_line_of(name, cell) for name, cell in sums.items()]
    return sorted(lines, key=lambda line: (-line.costs.cost_usd, line.name))


def _days(parts: Sequence[Part], zone: tzinfo) -> list[Line]:
    days: dict[date, Cell] = {}
    for span, cells in parts:
        if cells:
            days.setdefault(span[0].astimezone(zone).date(), Cell()).merge(merged(cells.values()))
    return [_line_of(day.isoformat(), cell) for day, cell in sorted(days.items())]


def _versions(parts: Sequence[Part], zone: tzinfo) -> list[VersionTime]:
    """Versions by their first day; calls without a version have none."""
    seen: dict[str, list[tuple[date, int]]] = {}
    for span, cells in parts:
        day = span[0].astimezone(zone).date()
        for key, cell in cells.items():
            if key.version is not None:
                seen.setdefault(key.version, []).append((day, cell.costs.calls))
    times = [
        VersionTime(name=name, first=min(days)[0], last=max(days)[0], calls=sum(calls for _, calls in days))
        for name, days in seen.items()
    ]
    return sorted(times, key=lambda one: (one.first, one.last, one.name))


def _changes(
    total: Line, before: Line | None, models: Sequence[Line], was: Mapping[str, Cell]
) -> list[RateChange]:
    """Success and failed attempts, of all calls and of each model that both periods have."""
    if before is None:
        return []
    pairs = [("", total, before)]
    pairs += [(line.name, line, _line_of("", was[line.name])) for line in models if line.name in was]
    both = 2 * len(pairs)
    return [
        one
        for name, now, then in (pairs if len(pairs) > 2 else pairs[:1])
        for one in (
            change(f"success{_of(name)}", now.success, then.success, good=True, comparisons=both),
            change(f"failed attempts{_of(name)}", now.failures, then.failures, good=False, comparisons=both),
        )
    ]


def _forecasts(total: Line, models: Sequence[Line]) -> list[RateChange]:
    """Of all calls, and of each model where several have forecasts."""
    known = [line for line in models if line.cell.rates[FORECAST_CALLS].any()]
    lines = [total, *known] if len(known) > 1 else [total] if known else []
    return [against_forecast(line.name, *_forecast(line.cell), comparisons=len(lines)) for line in lines]


def _forecast(cell: Cell) -> tuple[Rate, Rate]:
    calls, succeeded, chances = cell.rates[[FORECAST_CALLS, FORECAST_SUCCEEDED, FORECAST]]
    return Rate(part=succeeded, whole=calls), Rate(part=chances * FORECAST_UNIT, whole=calls)


def _aside(cells: Sequence[tuple[Key, Cell]]) -> Rate:
    """Share of attempts that the rule table decided."""
    by_rule = merged(cell for key, cell in cells if key.source == "rule")
    return Rate(part=by_rule.rates[ATTEMPTS], whole=merged(cell for _, cell in cells).rates[ATTEMPTS])


def _of(model: str) -> str:
    return f" of {model}" if model else ""
