"""The code blocks of the documents: each runs, in the order of its page, and prints what the page says.

A page has a folder of its own with what its readers have: a log, `pointsman.yaml`, the demo's router, the
sample. The models are stand-ins on loopback. A block that can't run says why: `<!-- not run: ... -->`.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import yaml

from docs import reference
from docs.site import ROOT, navigation
from router import Router, cli
from router.settings.yaml_file import load_config
from tests.services.provider import KEY, Provider

BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]+) -->\n+)?^```(\S*)\n(.*?)^```$", re.M | re.S)
SHOWN = ("text", "mermaid")
"""Languages that nothing runs; a text right below a block is what that prints, `...` whatever it likes."""
MOST_NOT_RUN = 11
EVERY = 5
"""Of the sample's prompts, one in so many is in the reader's log."""
MODELS = ("gpt-4.1-mini", "gpt-4o", "gpt-5", "ollama/llama3.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block of a page.

    Attributes:
        printed: what the page says that it prints; None: nothing.
        not_run: why it can't run; None: it runs.
    """

    place: str
    language: str
    code: str
    printed: str | None
    not_run: str | None


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    matches = [*BLOCK.finditer(text), None]
    return [
        Block(
            place=f"{page}:{text.count(chr(10), 0, match.start(3))}",
            language=match[2],
            code=match[3],
            printed=after[3]
            if after is not None and after[2] == "text" and not text[match.end() : after.start()].strip()
            else None,
            not_run=match[1],
        )
        for match, after in pairwise(matches)
        if match is not None
    ]


GENERATED = {f"docs/reference/{name}" for name in reference.pages()}
"""Their blocks are the examples of `--help`, which tests/router/cli/test_conventions.py tests."""
BLOCKS = {page: found for page in navigation() if page not in GENERATED and (found := blocks_of(page))}


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory, router_folder: Path, sample_log: Path, sample_settings: Path
) -> Callable[[str], Path]:
    """Makes the folder of somebody who has the sample's settings, a log, and the demo's router."""
    tried = pl.read_parquet(sample_log).filter(pl.col("outcome_source").is_in(["evaluation", "replay"]))
    asked = pl.concat_str(pl.col("prompt", "messages"), ignore_nulls=True)
    keys = tried.select(asked.alias("asked"))["asked"].unique(maintain_order=True)[::EVERY]
    log = tried.filter(asked.is_in(keys.implode()))

    def folder(api_base: str) -> Path:
        made = tmp_path_factory.mktemp("reader")
        settings = yaml.safe_load(sample_settings.read_text(encoding="utf-8"))
        for model in MODELS:
            of_test = {"litellm_model": "openai/" + model, "api_base": api_base, "api_key_env": "TEAM_KEY"}
            settings["models"][model] |= of_test
        settings |= {"training": {"encoder": "static"}, "log": {"url": "calls.db"}}
        (made / "pointsman.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        log.write_parquet(made / "calls.parquet")
        (made / "spend_logs.json").write_text(log.write_json(), encoding="utf-8")
        (made / "models").mkdir()
        (made / "models" / "demo").symlink_to(router_folder)
        (made / "data").symlink_to(ROOT / "data")
        return made

    return folder


def run_sh(code: str) -> None:
    """Run each line as the shell does; a line of ours in this process, which has all imports already."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["pointsman"] and not {"<", ">", "|", "&&"} & set(words):
            assert command(words) == 0, f"{line}: exit code"
        elif words:
            subprocess.run(["bash", "-ec", line], check=True, stdin=subprocess.DEVNULL)


def command(words: list[str]) -> int:
    before, sys.argv = sys.argv, words
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def run_python(code: str) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    try:
        exec(compile(code, "block.py", "exec"), names)
    finally:
        for value in names.values():
            if isinstance(value, Router):
                value.close()


def run_yaml(code: str) -> None:
    Path("block.yaml").write_text(code, encoding="utf-8")
    load_config(Path("block.yaml"))


RUN: Mapping[str, Callable[[str], object]] = {
    "sh": run_sh,
    "python": run_python,
    "yaml": run_yaml,
    "json": json.loads,
    "toml": tomllib.loads,
}


@pytest.mark.parametrize("page", BLOCKS)
def test_every_block_says_in_what_language_it_is(page: str) -> None:
    known = {*RUN, *SHOWN}
    assert [block.place for block in BLOCKS[page] if block.language not in known] == []


def test_few_blocks_are_not_run() -> None:
    reasons = [block.not_run for blocks in BLOCKS.values() for block in blocks if block.not_run]
    assert len(reasons) <= MOST_NOT_RUN


@pytest.mark.parametrize("page", BLOCKS)
def test_every_block_of_a_page_runs(
    page: str,
    reader: Callable[[str], Path],
    encoder_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POINTSMAN_CACHE", str(encoder_cache.absolute()))
    for name in ("TEAM_KEY", "OPENAI_API_KEY", "POINTSMAN_FEEDBACK_KEY"):
        monkeypatch.setenv(name, KEY)
    for name in ("POINTSMAN_ROUTER", "POINTSMAN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with Provider() as provider:
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
            monkeypatch.setenv(name, provider.api_base)
        monkeypatch.chdir(folder := reader(provider.api_base))
        # MLflow keeps its connection to a path within the folder of the page before.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        for block in BLOCKS[page]:
            if block.not_run or block.language in SHOWN:
                continue
            with redirect_stdout(io.StringIO()) as printed:
                try:
                    RUN[block.language](block.code)
                except Exception as error:
                    raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error
            if block.printed is not None:
                assert shows(block.printed, printed.getvalue()), (
                    f"{block.place} prints:\n{printed.getvalue()}"
                )


def shows(page: str, printed: str) -> bool:
    """Whether a page says what was printed, spaces at the end of a line aside."""
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(re.escape(page).replace(re.escape("..."), ".*"), lines, re.S) is not None


@pytest.mark.parametrize(
    ("page", "printed", "same"),
    [
        pytest.param("a\nb\n", "a  \nb\n", True, id="spaces at the end"),
        pytest.param("a\n", "a\nb\n", False, id="too little"),
        pytest.param("a.\n", "ab\n", False, id="a point is a point"),
        pytest.param("a\n...\nd\n", "a\nb\nc\nd\n", True, id="lines left out"),
        pytest.param("run ... ends\n", "run 1f ends\n", True, id="words left out"),
        pytest.param("a\n...\nd\n", "a\nb\nc\n", False, id="left out, and another end"),
    ],
)
def test_a_page_may_leave_out_what_it_marks(page: str, printed: str, same: bool) -> None:
    assert shows(page, printed) is same
