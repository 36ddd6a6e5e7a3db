"""The data report as one page that needs no other file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from router.errors import MissingExtra
from training.inspecting.counting import OPENING
from training.inspecting.inspection import Inspection
from training.pages import numbers
from training.pages.palettes import PALETTES, style_sheet
from training.reading.summary import ReadSummary
from training.whole_file import write_whole

MOST_MODELS = 12
MOST_ROWS = 40
MOST_DAYS = 92


def write_page(found: Inspection, missing: Sequence[str], out: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        CallLogError: `out` can't be written.
        MissingExtra: jinja2 is not installed.
    """
    write_whole(out, page(found, missing))


def page(found: Inspection, missing: Sequence[str]) -> str:
    """The page's HTML; without texts of prompts, unless the inspection holds them.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra("jinja2", "train") from error
    # Names come from users: everything is escaped, but for the page's own style.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "usd": lambda value: numbers.typeset(numbers.dollars(value)),
        "rate": lambda value: numbers.typeset(numbers.rate(value)),
        "decimal": numbers.decimal,
        "typeset": numbers.typeset,
        "short": numbers.shortened,
    }
    environment.tests |= {"known": math.isfinite}
    template = files("training.inspecting").joinpath("page.html.j2").read_text(encoding="utf-8")
    whole: str = environment.from_string(template).render(
        i=found,
        missing=missing,
        rows=where_rows_went(found.reading),
        models=[model.name for model in found.models[:MOST_MODELS]],
        totals={model.name: model.prompts for model in found.models},
        read=sum(found.languages.values()),
        shown=any(one.opening is not None for one in found.templates),
        opening=OPENING,
        most=MOST_ROWS,
        days=MOST_DAYS,
        palettes=PALETTES,
        style=style_sheet(),
    )
    return whole.lstrip()


def where_rows_went(reading: ReadSummary) -> Mapping[str, int]:
    """Number of rows by what became of them; they add up to all rows."""
    rejects = {f"rejected: {reject.reason}": reject.rows for reject in reading.rejects}
    apart = {f"set apart: {reason}": rows for reason, rows in reading.set_apart.items()}
    found = {
        "calls": reading.calls,
        "repeat a call_id": reading.duplicates,
        "without text (only the prompt's key was logged)": reading.without_text,
        "joined to another row": reading.joined,
        **apart,
        **rejects,
    }
    return {what: rows for what, rows in found.items() if rows}
