"""The commands on a router's call log: costs and feedback."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from router.cli.console import AsJson, Stages, app, html_pages, people, print_json, progress_bars
from router.cli.serving import BAD_LINES
from router.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from router.call_log.costs import CostLine, CostReport, Grouping
    from router.call_log.feedback import FeedbackWriter
    from router.records import Json

LogAt = Annotated[
    str, typer.Argument(metavar="LOG", help="The call log: a .db or .jsonl file, or postgresql://...")
]
_ROWS_AT_ONCE = 1000
_LINES_AT_ONCE = 500
_UNKNOWN_IDS_PRINTED = 10


@app.command("costs")
def costs_command(
    log: LogAt,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Group by: day, month, model, task_type, tag, source, session, version; may be repeated.",
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First day, or time, in ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day (all of it), or the time to stop at.")] = None,
    timezone: Annotated[str, typer.Option(help="Where days begin, for example Europe/Berlin.")] = "UTC",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write savings and outcomes as a page as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add up the cost of logged calls, and compare it with that of the always-strong model."""
    from router.call_log.address import LogAddress
    from router.call_log.costs import COST_COLUMNS, cost_report
    from router.call_log.log import read_rows
    from router.cli.cost_table import notes_on, print_costs

    groupings, zone = [_grouping(name) for name in dict.fromkeys(by or ())], zone_named(timezone)
    start, end = _bound("--since", since, zone), _bound("--until", until, zone)
    with progress_bars() as progress:
        rows = _counted(read_rows(log, since=start, until=end, columns=COST_COLUMNS), progress)
        report = cost_report(rows, groupings, zone=zone)
    address = LogAddress.of(log).shown
    if as_json:
        query = {"log": address, "by": groupings, "timezone": timezone, "since": start, "until": end}
        print_json(query | _plain(report) | {"notes": list(notes_on(report, timezone))})
    else:
        print_costs(report, address, timezone, bounded=bool(start or end))
    if html is not None:
        _write_page(log, (start, end), timezone, zone, html)


@app.command("feedback")
def feedback_command(
    log: LogAt,
    call_id: Annotated[
        str | None, typer.Argument(help="The call. Without it: one JSON object per line on standard input.")
    ] = None,
    success: Annotated[bool | None, typer.Option("--success/--failure", help="Whether it succeeded.")] = None,
    score: Annotated[float | None, typer.Option(help="A grade from 0 to 1.")] = None,
    source: Annotated[str, typer.Option(help="Who reports it.")] = "feedback",
    as_json: AsJson = False,
) -> None:
    """Record the outcomes of logged calls; the next training learns from them."""
    from router.call_log.feedback import FeedbackWriter

    if call_id is None and (success is not None or score is not None):
        raise ConfigError("--success, --failure and --score need a CALL_ID")
    if call_id is None and sys.stdin.isatty():
        raise ConfigError("give a CALL_ID, or feedback on standard input: one JSON object per line")
    with FeedbackWriter(log) as writer:
        if call_id is None:
            _give_lines(writer, sys.stdin.buffer, source, as_json=as_json)
            return
        try:
            writer.give(call_id, success=success, score=score, source=source)
        except ValueError as error:
            raise ConfigError(f"{error} (--success, --failure, --score)") from error
        unknown = _warn_unknown(writer.settle())
    if as_json:
        print_json({"stored": 1, "unknown": unknown, "unreadable": 0})


def _write_page(
    log: str, span: tuple[datetime | None, datetime | None], timezone: str, zone: tzinfo, out: Path
) -> None:
    if "costs" not in html_pages:
        raise MissingExtra("training", "dashboard")
    html_pages["costs"](log, span, timezone, zone, out)
    people.print(f"written: {out}", markup=False, soft_wrap=True)


def _give_lines(writer: FeedbackWriter, lines: Iterable[bytes], source: str, *, as_json: bool) -> None:
    """Store the feedback of each line, and report bad lines and unknown calls."""
    stored = bad = unknown = 0
    for number, line in enumerate(lines, start=1):
        try:
            writer.give_line(line, source)
            stored += 1
        except ValueError as error:
            bad += 1
            _warn(f"line {number}: {error}")
        if number % _LINES_AT_ONCE == 0:
            unknown += _warn_unknown(writer.settle(), unknown)
    unknown += _warn_unknown(writer.settle(), unknown)
    if as_json:
        print_json({"stored": stored, "unknown": unknown, "unreadable": bad})
    else:
        people.print(f"{stored} feedback(s) stored, {unknown} of them for calls that are not in the log")
    if bad:
        _warn(f"{bad} line(s) can't be read")
        raise typer.Exit(BAD_LINES)


def _warn_unknown(call_ids: Sequence[str], before: int = 0) -> int:
    """Warn about the first unknown calls, of which `before` came earlier; return the number of `call_ids`."""
    for call_id in call_ids[: max(_UNKNOWN_IDS_PRINTED - before, 0)]:
        _warn(f"no call {call_id!r} in the log; its feedback is stored nevertheless")
    return len(call_ids)


def _warn(sentence: str) -> None:
    people.print(sentence, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _counted(rows: Iterable[Mapping[str, Json]], progress: Stages) -> Iterator[Mapping[str, Json]]:
    """The rows; counts them on a progress bar."""
    advance = progress.stage("reading calls", None)
    for number, row in enumerate(rows, start=1):
        yield row
        if number % _ROWS_AT_ONCE == 0:
            advance(_ROWS_AT_ONCE)


def _plain(report: CostReport) -> dict[str, Json]:
    """The report as JSON; a group is an object with one member per grouping."""

    def line_of(line: CostLine) -> dict[str, Json]:
        group = dict(zip(report.by, line.group, strict=False))
        return {**({"group": group} if group else {}), **_figures(line)}

    return {
        "groups": [line_of(line) for line in report.lines],
        "total": _figures(report.total),
        "baseline_models": list(report.baselines),
    }


def _figures(line: CostLine) -> dict[str, Json]:
    return {name: value for name, value in asdict(line).items() if name != "group"}


def _grouping(name: str) -> Grouping:
    from router.call_log.costs import GROUPINGS

    if name not in GROUPINGS:
        raise ConfigError(f"--by {name!r}: it is one of {', '.join(GROUPINGS)}")
    return name


def zone_named(name: str) -> tzinfo:
    """The time zone of `--timezone`.

    Raises:
        ConfigError: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigError(
            f"--timezone {name!r}: unknown time zone; use one such as UTC or Europe/Berlin"
        ) from error


def _bound(option: str, text: str | None, zone: tzinfo) -> datetime | None:
    from router.call_log.costs import period_bound

    if text is None:
        return None
    try:
        return period_bound(text, zone, end=option == "--until")
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{option} {text!r}: write a day or a time, for example 2026-09-14 or 2026-09-14T08:00"
        ) from error
