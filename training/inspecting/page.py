"""The data report as one page that needs no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from router.numbers import dollars
from training.inspecting.counting import OPENING
from training.inspecting.inspection import Inspection
from training.pages.rendering import render, typeset_by
from training.reading.summary import ReadSummary
from training.whole_file import write_whole

MOST_MODELS = 12
MOST_ROWS = 40
MOST_DAYS = 92


_CODE = re.compile(r"`([^`]+)`")


def write_page(inspection: Inspection, missing: Sequence[str], out: Path, verdict: str = "") -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        CallLogError: `out` can't be written.
        MissingExtra: jinja2 is not installed.
    """
    write_whole(out, page(inspection, missing, verdict))


def page(inspection: Inspection, missing: Sequence[str], verdict: str = "") -> str:
    """The page's HTML. It shows texts of prompts only if the inspection holds them.

    Args:
        missing: sentences; what stands in back-ticks is code.
        verdict: the first sentence.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    values = {
        "i": inspection,
        "missing": missing,
        "verdict": verdict,
        "formats": formats(inspection.reading),
        "rows": where_rows_went(inspection.reading),
        "models": [model.name for model in inspection.models[:MOST_MODELS]],
        "totals": {model.name: model.prompts for model in inspection.models},
        "read": sum(inspection.languages.values()),
        "shown": any(template.opening is not None for template in inspection.templates),
        "opening": OPENING,
        "most": MOST_ROWS,
        "days": MOST_DAYS,
    }
    filters = {"usd": typeset_by(dollars), "code": _code_parts}
    return render("training.inspecting", "page.html.j2", filters, values)


def _code_parts(text: str) -> list[tuple[bool, str]]:
    """The parts of a text, and whether each is code."""
    return [(bool(place % 2), part) for place, part in enumerate(_CODE.split(text))]


def formats(reading: ReadSummary) -> str:
    """The formats that were recognised, with the number of their files."""
    named = (f"{name} ({count:,} file{'s' * (count != 1)})" for name, count in reading.readers.items())
    return ", ".join(named)


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
