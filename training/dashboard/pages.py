"""The dashboard's pages as HTML."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from router.call_log.address import LogAddress
from router.call_log.log import read_rows
from router.call_log.marks import Span, latest_calls, places_of
from router.call_log.sums import SUMMED_COLUMNS
from router.numbers import dollars, duration, signed_percent, signed_points, significant
from router.records import Json
from training.dashboard.cells import key_of
from training.dashboard.charts import spending, success
from training.dashboard.counting import Advance
from training.dashboard.figures import TITLES, Screen, screen
from training.dashboard.kept import KeptCells
from training.dashboard.query import PERIODS, Query
from training.dashboard.registered import RegisteredRouter
from training.pages.rendering import packaged, render, typeset_by
from training.whole_file import check_place, write_whole

PACKAGE = "training.dashboard"
MOST_ROWS = 50
LATEST = 200
"""Last calls of the period that the list of calls is chosen from."""
LISTED = 30
_MOST_ATTEMPTS = 20
_MOST_TEXT = 20_000
_FACTS: Mapping[str, str] = {
    "call_id": "Call", "time": "Time", "policy_version": "Version", "decision_source": "Decided by",
    "chosen_model": "Chosen model", "confidence": "Confidence", "propensity": "Propensity",
    "task_type": "Task type", "tags": "Tags", "session_id": "Session",
    "expected_cost_usd": "Expected cost, USD", "cost_usd": "Cost, USD", "baseline_model": "Always strong",
    "baseline_cost_usd": "Its estimated cost, USD", "input_tokens": "Input tokens",
    "output_tokens": "Output tokens", "latency_s": "Latency, s", "first_token_s": "First piece, s",
    "finish_reason": "Finish reason", "error": "Error", "success": "Success", "score": "Score",
    "outcome_source": "Outcome from", "shadow_model": "Shadow model",
    "shadow_confidence": "Shadow confidence", "notes": "Notes",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the pages are made from.

    Attributes:
        timezone: name of the cells' zone.
        show_text: whether a call's page shows the texts that the log holds.
        router: whose versions the registry describes.
    """

    kept: KeptCells
    timezone: str = "UTC"
    show_text: bool = False
    router: RegisteredRouter | None = None

    @property
    def log(self) -> str:
        """The log's address without secrets."""
        return LogAddress.of(self.kept.url).shown


def dashboard_page(site: Site, query: Query, advance: Advance = lambda _: None) -> str:
    """The whole dashboard for a query.

    Raises:
        CallLogError: there is no such log, or it can't be read.
        ConfigError: the query's period can't be read.
        MissingExtra: a package is not installed.
    """
    figures = screen(site.kept, query, advance)
    latest = list(_latest(site, figures)) if figures.span else []
    return _page(site, figures, latest=latest, link=True)


def call_page(site: Site, call_id: str) -> str:
    """One request's attempts, and how it was decided; raises as `dashboard_page`."""
    rows = _attempts(site, call_id)
    values = {
        "rows": rows,
        "call_id": call_id,
        "facts": _facts,
        "chances": _chances,
        "show_text": site.show_text,
    }
    return _render("call.html.j2", {"log": site.log, **values})


def write_costs_page(
    log: str, span: tuple[datetime | None, datetime | None], timezone: str, zone: tzinfo, out: Path
) -> None:
    """Write the first screen over a period as one file; it appears whole or not at all.

    Args:
        span: None: the end of the log.

    Raises:
        CallLogError: the log can't be read, or `out` can't be written.
        MissingExtra: a package is not installed.
    """
    check_place(out)
    since, until = ("" if one is None else one.isoformat() for one in span)
    site = Site(kept=KeptCells(log, None, zone), timezone=timezone)
    figures = screen(site.kept, Query(days=None, since=since, until=until))
    write_whole(out, _page(site, figures, latest=[], link=False))


def answer_sentence(figures: Screen) -> str:
    """The answer to "what did we save, and did anything get worse?" in one sentence."""
    costs = figures.total.costs
    if not costs.calls + costs.failed_attempts:
        return "No call is logged in this period" if figures.span else "The log holds no call yet"
    if not costs.compared:
        saved = "What was saved is unknown"
    elif costs.saved_usd < 0:
        saved = f"Spent {dollars(-costs.saved_usd)} more than always {figures.baseline} would have cost"
    else:
        saved = f"Saved {dollars(costs.saved_usd)} against always {figures.baseline}"
    if figures.worse:
        return f"{saved}; something got worse"
    if figures.below_forecast:
        return f"{saved}; successes are fewer than forecast"
    compared = any(not math.isnan(one.low) for one in figures.changes)
    return (
        f"{saved}; nothing is shown to be worse"
        if compared
        else f"{saved}; too little to see if anything got worse"
    )


def _page(site: Site, figures: Screen, *, latest: Sequence[Mapping[str, Json]], link: bool) -> str:
    query = figures.query
    values = {
        "s": figures, "log": site.log, "timezone": site.timezone, "link": link,
        "headline": answer_sentence(figures), "latest": latest, "looked_at": LATEST, "most": MOST_ROWS,
        "titles": TITLES,
        "periods": PERIODS, "outcome": _outcome,
        "chosen_period": "all" if query.days is None else str(query.days),
        "compared_cost": figures.total.cell.costs.compared_cost,
        "period": lambda span: _period(span, site.kept.zone),
        "spending": spending(figures.days, figures.versions),
        "success": success(figures.days, figures.versions),
        "router": site.router.name if site.router else "",
        "registered": site.router.said() if site.router else None,
    }  # fmt: skip
    return _render("page.html.j2", values)


def _render(template: str, values: Mapping[str, object]) -> str:
    filters = {
        "usd": typeset_by(dollars), "points": signed_points, "seconds": duration, "pretty": _pretty,
        "signed_rate": typeset_by(signed_percent),
    }  # fmt: skip
    return render(PACKAGE, template, filters, {"own_style": packaged(PACKAGE, "style.css"), **values})


def _latest(site: Site, figures: Screen) -> Iterator[Mapping[str, Json]]:
    """The latest calls that match the query."""
    if figures.span is None or not (places := latest_calls(site.kept.url, figures.span, LATEST)):
        return
    ids = {call_id for call_id, _ in places}
    rows = read_rows(site.kept.url, since=places[-1][1], until=figures.span[1], columns=SUMMED_COLUMNS)
    matching = [row for row in rows if row["call_id"] in ids and figures.query.wants(key_of(row))]
    yield from matching[: -LISTED - 1 : -1]


def _attempts(site: Site, call_id: str) -> list[Mapping[str, Json]]:
    """Every attempt of the request that a call answered, in their order."""
    request = call_id.rpartition("-")[0] if call_id.rpartition("-")[2].isdecimal() else call_id
    ids = {call_id, *(one for name in {request, call_id} if name for one in (name, *_failed_ids(name)))}
    rows = [
        row
        for found, moment in places_of(site.kept.url, ids)
        for row in read_rows(site.kept.url, since=moment, until=moment + timedelta(microseconds=1))
        if row["call_id"] == found
    ]
    wanted = next((row["request_id"] for row in rows if row["call_id"] == call_id), None)
    return sorted(
        (row for row in rows if row["call_id"] == call_id or (wanted and row["request_id"] == wanted)),
        key=lambda row: (row["time"], row["attempt"] or 0),
    )


def _failed_ids(request: str) -> Iterator[str]:
    return (f"{request}-{number}" for number in range(1, _MOST_ATTEMPTS + 1))


def _facts(row: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """What is known of a row, by its title."""
    for name, title in _FACTS.items():
        if (value := row[name]) not in (None, [], ""):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield title, significant(shown, 6) if isinstance(shown, float) else str(shown)


def _chances(row: Mapping[str, Json]) -> list[tuple[str, float | None]]:
    return sorted(row["alternatives"].items(), key=lambda item: -(item[1] or 0))


def _outcome(row: Mapping[str, Json]) -> str:
    if row["success"] is not None:
        return "succeeded" if row["success"] else "failed"
    return "unknown" if row["score"] is None else f"score {significant(row['score'], 2)}"


def _pretty(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}… ({len(text):,} characters)"


def _period(span: Span, zone: tzinfo) -> str:
    """A period in words: its first and last day, or its times where they are no midnights."""
    start, stop = (one.astimezone(zone) for one in span)
    if any((one.hour, one.minute, one.second, one.microsecond) != (0, 0, 0, 0) for one in (start, stop)):
        return f"{start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M}"
    last = stop - timedelta(days=1)
    return f"{start:%Y-%m-%d}" if start.date() >= last.date() else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
