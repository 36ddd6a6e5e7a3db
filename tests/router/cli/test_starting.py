from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import router.cli  # noqa: F401 - adds the command
from router.cli.console import app
from router.errors import ConfigError
from router.settings.yaml_file import load_config


def init(*arguments: str) -> Exception | None:
    result = CliRunner().invoke(app, ["init", *arguments])
    return result.exception if isinstance(result.exception, Exception) else None


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["new", "by force"])
def test_the_settings_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert init("gpt-5", "gpt-4.1-mini", *force) is None
    assert list(load_config(Path("pointsman.yaml")).models) == ["gpt-5", "gpt-4.1-mini"]
    assert [file.name for file in tmp_path.iterdir()] == ["pointsman.yaml"]


def test_a_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    out = tmp_path / "team.yaml"
    out.write_text("mine", encoding="utf-8")
    error = init("gpt-5", "--out", str(out))
    assert isinstance(error, ConfigError)
    assert "team.yaml exists: name another file with --out, or replace it with --force" in str(error)
    assert (out.read_text(encoding="utf-8"), len(list(tmp_path.iterdir()))) == ("mine", 1)
    assert init("gpt-5", "--out", str(out), "--force") is None
    assert list(load_config(out).models) == ["gpt-5"]


@pytest.mark.parametrize("arguments", [["gpt-5-mni"], ["gpt-5", "--out", "no/folder/x.yaml"]])
def test_nothing_is_written_where_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(init(*arguments), ConfigError)
    assert not list(tmp_path.iterdir())
