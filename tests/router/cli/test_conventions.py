"""What every command of the package has: one table over all of them for each convention."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import training.commands  # noqa: F401 - adds its commands
from router import __version__, cli
from router.cli.console import app
from router.cli.conventions import EXAMPLES, GROUPS, VARIABLES

Run = Callable[..., tuple[int, str, str]]
WIDTH = 80


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in an empty folder: exit code, output, messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pointsman", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return command


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""

    def below(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
        for name in group.list_commands(None):
            command = group.get_command(None, name)
            if hasattr(command, "list_commands"):
                yield from below(command, (*words, name))
            else:
                yield (*words, name), command

    yield from below(typer.main.get_command(app), ())


ALL = list(commands())
EACH = pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])


@EACH
def test_every_command_is_in_a_group_of_the_help(words: tuple[str, ...], command: object) -> None:
    assert any(words[0] in names for names in GROUPS.values())


@EACH
def test_every_command_prints_json(words: tuple[str, ...], command: Any) -> None:  # noqa: ANN401
    assert any("--json" in parameter.opts for parameter in command.params)


@EACH
def test_every_help_has_a_true_example_plain_metavars_and_fits(
    run: Run,
    words: tuple[str, ...],
    command: Any,  # noqa: ANN401
) -> None:
    code, out, _ = run(*words, "-h")
    assert code == 0
    assert out == run(*words, "--help")[1]
    assert max(map(len, out.splitlines())) <= WIDTH
    assert not re.search(r"<[a-z]|list\[|Binary", out)
    usage = re.search(r"(?s)Usage: .*?(\[OPTIONS\].*?)\n\s*\n", out)
    assert usage
    assert re.fullmatch(r"\[OPTIONS\]( +\[?[A-Z_]+(\.\.\.)?\]?)*", " ".join(usage[1].split()))
    example = shlex.split(EXAMPLES[words[-1]])
    assert example[: 1 + len(words)] == ["pointsman", *words]
    known = {opt for parameter in command.params for opt in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in example if word.startswith("--")} <= known
    assert "Example: pointsman" in out


@EACH
def test_every_router_and_settings_option_has_its_variable(
    words: tuple[str, ...],
    command: Any,  # noqa: ANN401
) -> None:
    options = {parameter.name: parameter for parameter in command.params}
    for name, variable in VARIABLES.items():
        if name in options:
            assert options[name].envvar == variable


VALUES = {"format_": "litellm-tier-artifact", "budget": "1"}
"""Values that required options take; others take a name of a file."""


@EACH
def test_the_settings_of_the_working_folder_are_used_and_named(
    run: Run,
    words: tuple[str, ...],
    command: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    if not any(parameter.name == "config" for parameter in command.params):
        return
    (tmp_path / "pointsman.yaml").write_text("modls: 1\n", encoding="utf-8")
    given = ["hi"] if words == ("explain",) else []
    for parameter in command.params:
        if parameter.required:
            given += [word for word in parameter.opts[:1] if word.startswith("--")]
            given.append(VALUES.get(parameter.name, "x.jsonl"))
    assert "settings: ./pointsman.yaml" in run(*words, *given)[2]


def test_groups_and_commands_are_in_order_of_use(run: Run) -> None:
    _, out, _ = run("--help")
    places = [out.index(f"─ {panel} ─") for panel in GROUPS]
    assert places == sorted(places)
    assert out.index("│ import ") < out.index("│ train ") < out.index("│ compare ") < out.index("│ route ")


def test_the_version_is_an_option_too(run: Run) -> None:
    assert run("--version")[:2] == (0, f"{__version__}\n")


def test_completion_can_be_shown_and_installed(run: Run) -> None:
    assert "--install-completion" in run("--help")[1]


def test_verbose_lets_pointsman_speak_and_no_other_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: set[str] = set()
    set_level = logging.Logger.setLevel

    def noted(logger: logging.Logger, level: int) -> None:
        if level == logging.INFO:
            raised.add(logger.name)
        set_level(logger, level)

    monkeypatch.setattr(logging.Logger, "setLevel", noted)
    assert run("-v", "config", "schema")[0] == 0
    assert raised == {"router", "training"}


def test_quiet_keeps_errors(run: Run) -> None:
    code, out, messages = run("-q", "config", "check", "missing.yaml")
    assert (code, out) == (1, "")
    assert "error: missing.yaml: can't be read" in messages
