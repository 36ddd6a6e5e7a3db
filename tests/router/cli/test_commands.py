from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from router import cli
from router.cli.console import app

MODULE = """
from router.cli.console import app

@app.command()
def hail() -> None:
    print("hail")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages beside ours: one adds the command `hail`, the other can't be imported."""
    (tmp_path / "team_commands.py").write_text(MODULE, encoding="utf-8")
    points = [EntryPoint(name, name, cli.COMMANDS) for name in ("no_such_module", "team_commands")]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "entry_points", lambda group: points if group == cli.COMMANDS else [])
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
    monkeypatch.delitem(sys.modules, "team_commands", raising=False)


@pytest.mark.usefixtures("installed")
def test_a_package_adds_a_command_and_one_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pointsman", "hail"])
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main()
    printed = capsys.readouterr()
    assert printed.out == "hail\n"
    assert "'no_such_module' can't be loaded: ModuleNotFoundError" in " ".join(printed.err.split())
