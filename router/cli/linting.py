"""The command that checks prompts before they are routed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.console import AsJson, app, print_json, say

if TYPE_CHECKING:
    from router.linting.lint import Finding, Report

NOT_CLEAN = 1


@app.command("lint")
def lint_command(
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, help="Prompt files, code, or folders of them.", metavar="FILE..."),
    ],
    as_json: AsJson = False,
) -> None:
    """Find prompts that name a model and break when they are routed to another.

    Exit code 1: there are findings, or a file can't be read. 'pointsman: allow' on a line silences it.
    """
    from router.linting.lint import lint

    report = lint(files)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)
    if report.findings or report.failed:
        raise typer.Exit(NOT_CLEAN)


def _show(report: Report) -> None:
    for finding in report.findings:
        print(finding_line(finding))
    for path, reason in report.failed:
        say(f"{path}: can't be read: {reason}")
    for path, reason in report.skipped:
        say(f"{path}: skipped: {reason}")
    counts = {"skipped": len(report.skipped), "unreadable": len(report.failed)}
    more = "".join(f", {count:,} {what}" for what, count in counts.items() if count)
    say(f"{len(report.findings)} finding(s) in {report.checked:,} file(s) checked{more}")


def finding_line(finding: Finding) -> str:
    """A finding as one line that starts with its place, as editors and CI expect."""
    place = f"{finding.path}:{finding.line}:{finding.column}"
    return f"{place}: {finding.rule}: {finding.words!r}: {finding.breaks}; better: {finding.better}"
