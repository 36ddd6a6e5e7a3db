"""HTML pages from their templates: every text escaped, numbers as a reader sees them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib.resources import files

from router.errors import MissingExtra
from training.pages.numbers import decimal, rate, shortened, typeset
from training.pages.palettes import PALETTES, style_sheet

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
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shared = {"rate": typeset_by(rate), "decimal": decimal, "typeset": typeset, "short": shortened}
    environment.filters |= {**shared, **filters}
    environment.tests |= {"known": math.isfinite}
    page: str = environment.from_string(packaged(package, template)).render(
        palettes=PALETTES, style=style_sheet(), **values
    )
    return page.lstrip()


def typeset_by(form: Callable[..., str]) -> Filter:
    """A filter that formats a value and typesets the result."""
    return lambda *arguments: typeset(form(*arguments))


def packaged(package: str, name: str) -> str:
    """The text of a file that a package carries."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
