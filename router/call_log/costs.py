"""Costs of logged calls, summed by day, model, task type and more, beside the always-strong model's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import product
from typing import Literal, Self, TypeAlias, get_args

from router.records import Json

Grouping = Literal["day", "month", "model", "task_type", "tag", "source", "session", "version"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
Row: TypeAlias = Mapping[str, Json]
Group: TypeAlias = tuple[str | None, ...]

_COLUMNS: Mapping[Grouping, str] = {
    "model": "model", "task_type": "task_type", "source": "decision_source", "session": "session_id",
    "version": "policy_version",
}  # fmt: skip
_DATES: Mapping[Grouping, str] = {"day": "%Y-%m-%d", "month": "%Y-%m"}
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
COST_COLUMNS = frozenset(
    {
        *_COLUMNS.values(),
        *TOKENS,
        "call_id",
        "time",
        "tags",
        "error",
        "cost_usd",
        "baseline_model",
        "baseline_cost_usd",
        "latency_s",
    }
)
"""What a report reads of a row."""

LATENCY_STEP = 1.02
"""Ratio of neighbouring latencies that the median distinguishes: it is within 1 % of the exact one."""
LEAST_LATENCY_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """The sums over the calls of one group. A failed attempt is a row with an error: it gave no whole answer.

    Attributes:
        group: value per grouping, in order; None if the calls have none; () for the total.
        calls: answered calls.
        unknown_tokens: answered calls with unknown input or output tokens; the sums lack them.
        cost_usd: of answered calls and failed attempts, where known.
        unknown_cost: answered calls of unknown cost; `cost_usd` lacks them.
        failed_cost_usd: the part of `cost_usd` that failed attempts cost.
        unknown_failed_cost: failed attempts of unknown cost; most were never billed.
        baseline_cost_usd: what the always-strong model would have cost, as estimated at the time of each
            call; over the answered calls with an estimate.
        compared: answered calls whose cost and estimate are both known.
        saved_usd: estimate less cost over the compared calls.
        saved_share: `saved_usd` over the estimates of the compared calls; None if those are 0.
        latency_mean_s, latency_median_s: of answered calls; None if no latency is known.
    """

    group: Group
    calls: int
    failed_attempts: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    unknown_tokens: int
    cost_usd: float
    unknown_cost: int
    failed_cost_usd: float
    unknown_failed_cost: int
    baseline_cost_usd: float
    compared: int
    saved_usd: float
    saved_share: float | None
    latency_mean_s: float | None
    latency_median_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """A log's costs.

    Attributes:
        lines: a line per group: in the order of time where days or months were asked for, else the dearest
            first.
        total: every row once, however many tags it has.
        baselines: always-strong models that the estimates were made for.
    """

    by: tuple[Grouping, ...]
    lines: Sequence[CostLine]
    total: CostLine
    baselines: tuple[str, ...]


def cost_report(rows: Iterable[Row], by: Sequence[Grouping] = (), *, zone: tzinfo = UTC) -> CostReport:
    """Add up the rows of a call log; memory grows with the groups, not with the rows.

    Args:
        rows: as `read_rows` gives them.
        by: a row counts in the group of its values; a row with several tags in the group of each.
        zone: where days and months begin.
    """
    tallies: dict[Group, CostTally] = {}
    total = CostTally()
    for row in rows:
        total.add(row)
        for group in product(*(_values(row, grouping, zone) for grouping in by)):
            tallies.setdefault(group, CostTally()).add(row)
    lines = [tally.line(group) for group, tally in tallies.items()] if by else []
    return CostReport(
        by=tuple(by),
        lines=sorted(lines, key=_in_time(by) or _dearest_first),
        total=total.line(()),
        baselines=tuple(sorted(total.baselines)),
    )


def period_bound(text: str, zone: tzinfo, *, end: bool) -> datetime:
    """One end of a period, from a date or a time in ISO 8601.

    Args:
        zone: of a text that names none.
        end: a date stands for its whole day: as the end of a period for the moment after it.

    Raises:
        ValueError: the text is neither.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return datetime.combine(day + timedelta(days=1) if end else day, time(), zone)


@dataclass(slots=True)
class CostTally:
    """The sums of one group while the rows go by; parts of a group add up to it."""

    calls: int = 0
    failed: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    unknown_tokens: int = 0
    cost: float = 0.0
    unknown_cost: int = 0
    failed_cost: float = 0.0
    unknown_failed_cost: int = 0
    baseline: float = 0.0
    compared: int = 0
    compared_cost: float = 0.0
    compared_baseline: float = 0.0
    latency: float = 0.0
    least_latency: float = math.inf
    most_latency: float = 0.0
    latencies: Counter[int] = field(default_factory=Counter)
    baselines: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        """Count a row as `read_rows` gives it."""
        if baseline := row.get("baseline_model"):
            self.baselines.add(str(baseline))
        for name in TOKENS:
            self.tokens[name] += row.get(name) or 0
        cost = row.get("cost_usd")
        self.cost += cost or 0.0
        if row.get("error"):
            self.failed += 1
            self.failed_cost += cost or 0.0
            self.unknown_failed_cost += cost is None
        else:
            self._add_answer(row, cost)

    def _add_answer(self, row: Row, cost: float | None) -> None:
        self.calls += 1
        self.unknown_cost += cost is None
        self.unknown_tokens += row.get("input_tokens") is None or row.get("output_tokens") is None
        baseline = row.get("baseline_cost_usd")
        self.baseline += baseline or 0.0
        if cost is not None and baseline is not None:
            self.compared += 1
            self.compared_cost += cost
            self.compared_baseline += baseline
        if (latency := row.get("latency_s")) is not None:
            self.latency += latency
            self.least_latency = min(self.least_latency, latency)
            self.most_latency = max(self.most_latency, latency)
            self.latencies[_latency_bin(latency)] += 1

    def add_group(self, group: Row) -> None:
        """Count a group of rows that the database summed, from `sums_of`."""
        calls, cost = group["calls"], group["cost"] or 0.0
        if group["baseline_model"]:
            self.baselines.add(group["baseline_model"])
        for name in TOKENS:
            self.tokens[name] += int(group[name] or 0)
        self.cost += cost
        if group["error"]:
            self.failed += calls
            self.failed_cost += cost
            self.unknown_failed_cost += calls - group["known_cost"]
            return
        self.calls += calls
        self.unknown_cost += calls - group["known_cost"]
        self.unknown_tokens += calls - group["known_tokens"]
        self.compared += group["compared"]
        for name in ("baseline", "compared_cost", "compared_baseline", "latency"):
            setattr(self, name, getattr(self, name) + (group[name] or 0.0))
        if group["latencies"] is not None:
            self.least_latency = min(self.least_latency, group["least_latency"])
            self.most_latency = max(self.most_latency, group["most_latency"])
            self.latencies.update(map(int, group["latencies"].split(",")))

    def merge(self, other: Self) -> None:
        """Count the rows that another tally counted."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.least_latency = min(self.least_latency, other.least_latency)
        self.most_latency = max(self.most_latency, other.most_latency)
        self.tokens.update(other.tokens)
        self.latencies.update(other.latencies)
        self.baselines |= other.baselines

    def to_json(self) -> list[Json]:
        """The sums as JSON values, for `from_json`."""
        values = (getattr(self, one.name) for one in fields(self))
        return [_plain(one) for one in values]

    @classmethod
    def from_json(cls, values: Sequence[Json]) -> Self:
        """The tally that `to_json` wrote."""
        tally = cls()
        for one, value in zip(fields(cls), values, strict=True):
            kind = type(getattr(tally, one.name))
            setattr(
                tally, one.name, Counter(dict(zip(*value, strict=True))) if kind is Counter else kind(value)
            )
        return tally

    def line(self, group: Group) -> CostLine:
        """The sums as a line of a report."""
        saved = self.compared_baseline - self.compared_cost
        timed = self.latencies.total()
        median = min(max(_median(self.latencies), self.least_latency), self.most_latency) if timed else None
        return CostLine(
            group=group,
            calls=self.calls,
            failed_attempts=self.failed,
            input_tokens=self.tokens["input_tokens"],
            cached_input_tokens=self.tokens["cached_input_tokens"],
            output_tokens=self.tokens["output_tokens"],
            reasoning_tokens=self.tokens["reasoning_tokens"],
            unknown_tokens=self.unknown_tokens,
            cost_usd=self.cost,
            unknown_cost=self.unknown_cost,
            failed_cost_usd=self.failed_cost,
            unknown_failed_cost=self.unknown_failed_cost,
            baseline_cost_usd=self.baseline,
            compared=self.compared,
            saved_usd=saved,
            saved_share=saved / self.compared_baseline if self.compared_baseline else None,
            latency_mean_s=self.latency / timed if timed else None,
            latency_median_s=median,
        )


def _plain(value: Json) -> Json:
    if isinstance(value, Counter):
        return [list(value), list(value.values())]
    return sorted(value) if isinstance(value, set) else value


_SUMMED = tuple(
    one.name
    for one in fields(CostTally)
    if one.type in {"int", "float"} and not one.name.endswith("st_latency")
)


def _values(row: Row, grouping: Grouping, zone: tzinfo) -> Sequence[str | None]:
    """The groups of one kind that a row counts in: one, unless the row has several tags."""
    if grouping in _DATES:
        moment = datetime.fromisoformat(row["time"]).astimezone(zone)
        return [moment.strftime(_DATES[grouping])]
    if grouping == "tag":
        return list(dict.fromkeys(row.get("tags") or ())) or [None]
    value = row.get(_COLUMNS[grouping])
    return [None if value is None else str(value)]


def _in_time(by: Sequence[Grouping]) -> Callable[[CostLine], tuple[object, ...]] | None:
    """Sort key of the lines by day or month, then the dearest first; None without days or months."""
    dates = [place for place, grouping in enumerate(by) if grouping in _DATES]
    if not dates:
        return None
    return lambda line: (*(line.group[place] or "" for place in dates), *_dearest_first(line))


def _dearest_first(line: CostLine) -> tuple[object, ...]:
    return -line.cost_usd, tuple(value or "" for value in line.group)


def _latency_bin(seconds: float) -> int:
    return math.floor(math.log(max(seconds, LEAST_LATENCY_S)) / math.log(LATENCY_STEP))


def _median(latencies: Counter[int]) -> float:
    """The middle of the bin that holds the median (the lower one of an even number)."""
    left = (latencies.total() + 1) // 2
    for number in sorted(latencies):
        left -= latencies[number]
        if left <= 0:
            break
    return float(LATENCY_STEP ** (number + 0.5))
