"""The documents: links lead somewhere, the reference is the code's, and the site needs no other host."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from docs import reference, site
from docs.site import ROOT, build, links, navigation
from router.settings.sections import Config
from training.reading.rows.cleaning import CALL_SCHEMA

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
LOADED = re.compile(
    r"<(?:script|img|source|iframe|video)[^>]*?(?:src|srcset)=\"(https?:)?//[^\"]*\""
    r"|<link[^>]*?rel=\"?(?:stylesheet|icon|preconnect|preload)[^>]*?href=\"(https?:)?//[^\"]*\"|class=\"mermaid\""
)
"""What a browser fetches by itself; Material's script would fetch what draws a diagram."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert [link for link in links(page) if not (page.parent / link).exists()] == []


def test_people_can_finish_the_readme() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8192


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build(folder) == 0
    return folder / "site"


def test_every_page_of_the_navigation_is_in_the_site(built: Path) -> None:
    names = [re.sub(r"(README)?\.md$", "", page) for page in navigation()]
    assert [name for name in names if not (built / name / "index.html").is_file()] == []


def test_no_page_loads_anything_from_another_host(built: Path) -> None:
    pages = [*built.rglob("*.html")]
    assert len(pages) > len(list(navigation()))
    assert {str(page.relative_to(built)): LOADED.findall(page.read_text("utf-8")) for page in pages} == {
        str(page.relative_to(built)): [] for page in pages
    }
    styles = [style.read_text("utf-8") for style in built.rglob("*.css")]
    assert styles
    assert not any(re.search(r"url\(\W?(?:https?:)?//|@import", style) for style in styles)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        pytest.param("[there](docs/no.md)", "page does not exist", id="broken link"),
        pytest.param("[there](docs/a.md#no)", "anchor does not exist", id="missing anchor"),
        pytest.param("nothing", "", id="sound"),
    ],
)
def test_a_broken_link_fails_the_build(
    page: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    small_site(tmp_path, page, monkeypatch)
    assert (build(tmp_path / "build") == 0) is not bool(message)
    assert message in re.sub(r"\x1b\[[0-9;]*m", "", capfd.readouterr().err)


def test_a_page_outside_the_navigation_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_site(tmp_path, "nothing", monkeypatch)
    (tmp_path / "docs" / "lost.md").write_text("# Lost\n")
    with pytest.raises(ValueError, match=r"no way leads to \['docs/lost.md'\]"):
        build(tmp_path / "build")


def small_site(folder: Path, first_page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a repository of two pages the one that is built."""
    settings = 'site_name = "x"\ndocs_dir = "pages"\nsite_dir = "site"\nnav = ["README.md", "docs/a.md"]\n'
    (folder / "docs").mkdir()
    (folder / "build").mkdir()
    (folder / "zensical.toml").write_text(f"[project]\n{settings}")
    (folder / "README.md").write_text(f"# One\n\n{first_page}\n")
    (folder / "docs" / "a.md").write_text("# Two\n")
    monkeypatch.setattr(site, "ROOT", folder)


GENERATED = reference.pages()


@pytest.mark.parametrize("name", GENERATED)
def test_the_reference_is_that_of_the_code(name: str) -> None:
    kept = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert kept == GENERATED[name], "the code has changed: run `make docs` and commit docs/reference"


def exit_codes() -> set[str]:
    """The codes that commands end with, by the constants that say so."""
    texts = [path.read_text("utf-8") for path in ROOT.glob("*/c*/*.py")]
    ends = {name for text in texts for name in re.findall(r"(?:typer\.Exit|_end)\(.*?([A-Z_]{4,})\)", text)}
    constants = [pair for text in texts for pair in re.findall(r"^([A-Z_]+) = (\d+)$", text, re.M)]
    return {code for name, code in constants if name in ends}


VARIABLE = re.compile(
    r"\"(POINTSMAN_[A-Z_]+)\"|environ[.\w]*[(\[]\"([A-Z_]+)\"|\"([A-Z_]+)\" (?:not )?in os.environ"
    r"|os.environ/([A-Z_]+)"
)


def variables() -> set[str]:
    """The environment variables that the code reads or sets: those of our own, and others by name."""
    paths = [*ROOT.glob("router/**/*.py"), *ROOT.glob("training/**/*.py")]
    return {"".join(groups) for path in paths for groups in VARIABLE.findall(path.read_text("utf-8"))}


SCHEMA = Config.model_json_schema()
HEADINGS = {
    "commands.md": [name for name, _ in reference.commands()],
    "settings.md": [path for path, *_ in reference.settings(SCHEMA, SCHEMA["$defs"])],
    "python.md": reference.public_names(),
    "columns.md": CALL_SCHEMA.names,
    "errors.md": reference.error_names(),
    "exit-codes.md": [f"Exit code {code}" for code in sorted({"0", "2"} | exit_codes())],
    "environment.md": sorted(variables()),
}


@pytest.mark.parametrize("name", HEADINGS)
def test_everything_public_has_one_heading(name: str) -> None:
    lines = re.findall(r"^#{2,4} (.*)$", (reference.FOLDER / name).read_text("utf-8"), re.M)
    headings = Counter(part for line in lines for part in line.split(", "))
    assert len(HEADINGS[name]) > 2
    assert {one: headings[one] for one in HEADINGS[name] if headings[one] != 1} == {}


def test_every_command_has_an_example() -> None:
    assert [name for name, command in reference.commands() if not command.epilog] == []


def test_every_public_name_is_described() -> None:
    assert "\n```\n\n\n" not in GENERATED["python.md"]
