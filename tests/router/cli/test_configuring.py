from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from router import cli
from router.settings.sections import Config


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["pointsman", "config", *arguments])
    with pytest.raises(SystemExit, match="0"):
        cli.main()


@pytest.mark.parametrize(
    ("text", "said"),
    [("rules: {default: a}\nmodels: {}\n", "models, rules"), ("", "all defaults")],
)
def test_a_valid_file_is_named_with_its_sections(
    text: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pointsman.yaml").write_text(text, encoding="utf-8")
    run(monkeypatch, "check")
    assert capsys.readouterr().out == f"pointsman.yaml is valid: {said}\n"


def test_the_schema_knows_every_section_and_refuses_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "schema")
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"].keys() == Config.model_fields.keys()
    assert schema["additionalProperties"] is False
    assert yaml.safe_load(json.dumps(schema)) == schema
