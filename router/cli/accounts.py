"""The commands on the runtime's call log: what the calls cost, and how they turned out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from router.call_log.costs import GROUPINGS, CostLine, CostReport, Grouping, cost_report, period_bound
from router.call_log.feedback import FeedbackWriter
from router.cli.console import AsJson, Stages, app, people, print_json, progress_bars
from router.cli.cost_table import notes_on, print_costs
from router.cli.serving import BAD_LINES
from router.errors import ConfigError
from router.records import Json

LogAt = Annotated[
    str, typer.Argument(metavar="LOG", help="The call log: a .db or .jsonl file, or postgresql://...")
]
_ROWS_AT_ONCE = 1000
_LINES_AT_ONCE = 500
_UNKNOWN_SHOWN = 10


@app.command("costs")
def costs_command(
    log: LogAt,
    by: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help=f"Group by: {', '.join(GROUPINGS)}.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="First day, or time, in ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day (all of it), or the time to stop at.")] = None,
    timezone: Annotated[str, typer.Option(help="Where days begin, for example Europe/Berlin.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Add up what the logged calls cost, beside what the always-strong model would have cost."""
    from router.call_log.address import LogAddress
    from router.call_log.log import read_rows

    groupings, zone = [_grouping(name) for name in dict.fromkeys(by or ())], _zone(timezone)
    start, end = _bound("--since", since, zone), _bound("--until", until, zone)
    with progress_bars() as progress:
        rows = _told(read_rows(log, since=start, until=end), progress)
        report = cost_report(rows, groupings, zone=zone)
    shown = LogAddress.of(log).shown
    if as_json:
        asked = {"log": shown, "by": groupings, "timezone": timezone, "since": start, "until": end}
        print_json(asked | _plain(report) | {"notes": list(notes_on(report, timezone))})
    else:
        print_costs(report, shown, timezone, bounded=bool(start or end))


@app.command("feedback")
def feedback_command(
    log: LogAt,
    call_id: Annotated[
        str | None, typer.Argument(help="The call; without it, one JSON object a line from standard input.")
    ] = None,
    success: Annotated[bool | None, typer.Option("--success/--failure", help="How it turned out.")] = None,
    score: Annotated[float | None, typer.Option(help="A grade from 0 to 1.")] = None,
    source: Annotated[str, typer.Option(help="Who says so.")] = "feedback",
) -> None:
    """Say how logged calls turned out; the next training learns from it."""
    if call_id is None and (success is not None or score is not None):
        raise ConfigError("--success, --failure and --score are of one call: give its CALL_ID too")
    if call_id is None and sys.stdin.isatty():
        raise ConfigError("give a CALL_ID, or feedback on standard input, one JSON object a line")
    with FeedbackWriter(log) as writer:
        if call_id is None:
            _give_lines(writer, sys.stdin.buffer, source)
            return
        try:
            writer.give(call_id, success=success, score=score, source=source)
        except ValueError as error:
            raise ConfigError(f"{error} (--success, --failure, --score)") from error
        if writer.settle():
            _tell(f"no call {call_id!r} in the log; what was said of it is stored all the same")


def _give_lines(writer: FeedbackWriter, lines: Iterable[bytes], source: str) -> None:
    """Store the feedback of each line, and tell of lines that hold none and of calls that are not there."""
    stored = bad = unknown = 0
    for number, line in enumerate(lines, start=1):
        try:
            writer.give_line(line, source)
            stored += 1
        except ValueError as error:
            bad += 1
            _tell(f"line {number}: {error}")
        if number % _LINES_AT_ONCE == 0:
            unknown += _settled(writer, unknown)
    unknown += _settled(writer, unknown)
    people.print(f"{stored} feedback(s) stored, {unknown} of them for calls that are not in the log")
    if bad:
        _tell(f"{bad} line(s) can't be read")
        raise typer.Exit(BAD_LINES)


def _settled(writer: FeedbackWriter, before: int) -> int:
    """Store what was given; names the first unknown calls, returns their number."""
    unknown = writer.settle()
    for call_id in unknown[: max(_UNKNOWN_SHOWN - before, 0)]:
        _tell(f"no call {call_id!r} in the log; what was said of it is stored all the same")
    return len(unknown)


def _tell(sentence: str) -> None:
    people.print(sentence, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _told(rows: Iterable[Mapping[str, Json]], progress: Stages) -> Iterator[Mapping[str, Json]]:
    """The rows, counted for those who wait."""
    advance = progress.stage("reading calls", None)
    for number, row in enumerate(rows, start=1):
        yield row
        if number % _ROWS_AT_ONCE == 0:
            advance(_ROWS_AT_ONCE)


def _plain(report: CostReport) -> dict[str, Json]:
    """The report's figures; a group is an object with a member per grouping."""

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
    if name not in GROUPINGS:
        raise ConfigError(f"--by {name!r}: it is one of {', '.join(GROUPINGS)}")
    return name


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigError(
            f"--timezone {name!r}: no such zone here; for example UTC or Europe/Berlin"
        ) from error


def _bound(option: str, text: str | None, zone: tzinfo) -> datetime | None:
    if text is None:
        return None
    try:
        return period_bound(text, zone, end=option == "--until")
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{option} {text!r}: write a day or a time, for example 2026-09-14 or 2026-09-14T08:00"
        ) from error
