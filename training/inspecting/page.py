"""The data report as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.inspecting.counting import OPENING
from training.inspecting.inspection import Inspection
from training.pages.numbers import dollars
from training.pages.rendering import render, typeset_by
from training.reading.summary import ReadSummary
from training.whole_file import write_whole

MOST_MODELS = 12
MOST_ROWS = 40
MOST_DAYS = 92


def write_page(inspection: Inspection, missing: Sequence[str], out: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        CallLogError: `out` can't be written.
        MissingExtra: jinja2 is not installed.
    """
    write_whole(out, page(inspection, missing))


def page(inspection: Inspection, missing: Sequence[str]) -> str:
    """The page's HTML. It shows texts of prompts only if the inspection holds them.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    values = {
        "i": inspection,
        "missing": missing,
        "rows": where_rows_went(inspection.reading),
        "models": [model.name for model in inspection.models[:MOST_MODELS]],
        "totals": {model.name: model.prompts for model in inspection.models},
        "read": sum(inspection.languages.values()),
        "shown": any(template.opening is not None for template in inspection.templates),
        "opening": OPENING,
        "most": MOST_ROWS,
        "days": MOST_DAYS,
    }
    return render("training.inspecting", "page.html.j2", {"usd": typeset_by(dollars)}, values)


def where_rows_went(reading: ReadSummary) -> Mapping[str, int]:
    """Count the rows by what became of them; the counts add up to all rows."""
    counts = {
        "calls": reading.calls,
        "repeat a call_id": reading.duplicates - reading.copies,
        "are in another log as well": reading.copies,
        "without text (only the prompt's key was logged)": reading.without_text,
        "joined to another row": reading.joined,
        **{f"skipped: {reason}": rows for reason, rows in reading.set_apart.items()},
        **{f"rejected: {reject.reason}": reject.rows for reject in reading.rejects},
    }
    return {what: rows for what, rows in counts.items() if rows}
