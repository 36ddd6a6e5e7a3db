"""The documentation's site: `python -m docs.site` builds it into build/site, or says what is broken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from docs import reference

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)|(?:src|srcset)=\"(?!https?:)([^\"]+)\"")


def navigation(entries: object = None) -> Iterator[str]:
    """The pages of the site, by their path in the repository, in its order."""
    if entries is None:
        entries = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict | list):
        for inner in entries.values() if isinstance(entries, dict) else entries:
            yield from navigation(inner)


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead, within the repository."""
    return [one or other for one, other in _LINK.findall(page.read_text(encoding="utf-8"))]


def build(folder: Path) -> int:
    """Build the site into `folder/site`, and return the generator's exit code; 0: nothing is broken.

    The pages keep their places, so that a link leads to the same page in the site as in the repository.

    Raises:
        ValueError: a page stands in no place of the navigation.
    """
    pages = list(navigation())
    if missing := {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")} - set(pages):
        raise ValueError(f"no way leads to {sorted(missing)}: add them to the navigation in zensical.toml")
    shutil.rmtree(folder / "pages", ignore_errors=True)
    for page in pages:
        shown = [(ROOT / page).parent / link for link in links(ROOT / page) if not link.endswith(".md")]
        for path in [ROOT / page, *shown]:
            to = folder / "pages" / path.resolve().relative_to(ROOT)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
    shutil.copyfile(ROOT / "zensical.toml", folder / "zensical.toml")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    reference.write()
    sys.exit(build(ROOT / "build"))
