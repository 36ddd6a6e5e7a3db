"""HTML pages from their templates: every text escaped, numbers as a reader sees them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from importlib.resources import files

from router.errors import MissingExtra
from router.numbers import decimal, rate
from router.text import shortened, typeset

# Each colour has a contrast of 4.5 or more to the card and to the paper of its scheme (WCAG 2.2, 1.4.3).
PALETTES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "paper": "#fbfaf7", "card": "#ffffff", "ink": "#1d2126", "soft": "#59626b", "rule": "#dedcd5",
        "router": "#0a57b0", "band": "#d3e1f3", "other": "#8a4b00", "base": "#4d565f", "win": "#14683a",
        "loss": "#a8231b", "undecided": "#655500", "trade": "#573b98",
    },
    "dark": {
        "paper": "#15181b", "card": "#1b1f23", "ink": "#e7e8ea", "soft": "#a6aeb7", "rule": "#353b42",
        "router": "#79b6ff", "band": "#22374f", "other": "#eda863", "base": "#b1bac4", "win": "#76d29c",
        "loss": "#ff9d94", "undecided": "#e3cb70", "trade": "#c5b1f8",
    },
}  # fmt: skip
"""Colours of pages and charts by name, for each colour scheme."""


def style_sheet() -> str:
    """The CSS of every page."""
    return files("training.pages").joinpath("style.css").read_text(encoding="utf-8")


Filter = Callable[..., object]


def render(package: str, template: str, filters: Mapping[str, Filter], values: Mapping[str, object]) -> str:
    """Fill in a template of a package; the page needs no other file.

    Args:
        filters: beside `rate`, `decimal`, `typeset` and `short`, which every page has.
        values: beside `palettes` and `style`.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra("jinja2", "train") from error
    # Names and texts come from users: everything is escaped but the page's own style and scripts.
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(partial(packaged, package)),
    )
    shared = {"rate": typeset_by(rate), "decimal": decimal, "typeset": _unbroken, "short": shortened}
    environment.filters |= {**shared, **filters}
    environment.tests |= {"known": math.isfinite}
    page: str = environment.get_template(template).render(palettes=PALETTES, style=style_sheet(), **values)
    return page.lstrip()


def _unbroken(text: str) -> str:
    """A sentence as `typeset` has it, in HTML that breaks no line between a minus and its amount."""
    from markupsafe import Markup, escape

    amounts = re.sub(
        r"\N{MINUS SIGN}\$[\d.,]*\d", r'<span class="whole">\g<0></span>', str(escape(typeset(text)))
    )
    return Markup(amounts)


def typeset_by(form: Callable[..., str]) -> Filter:
    """A filter that formats a value and typesets the result."""
    return lambda *arguments: typeset(form(*arguments))


class Showable:
    """A result that shows itself in a notebook: a sentence first, a table second."""

    __slots__ = ()

    def in_short(self) -> str:
        """What to do with the result, or else what it holds, in a sentence."""
        raise NotImplementedError

    def in_rows(self) -> Sequence[Sequence[str]]:
        """The figures of the result as rows of cells; the first row has the names of the columns."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.in_short()}>"

    def _repr_html_(self) -> str:
        """For notebooks; every text is escaped."""
        head, *rows = ([escape(cell) for cell in row] for row in self.in_rows())
        body = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
        return (
            f"<p><b>{escape(self.in_short())}</b></p>"
            f"<table><tr><th>{'</th><th>'.join(head)}</th></tr>{body}</table>"
        )


def packaged(package: str, name: str) -> str:
    """The text of a file that a package carries."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
