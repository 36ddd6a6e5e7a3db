from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from router import cli
from tests.training.complexity_router.test_tier_artifact import calls
from tests.training.logs import write_lines


@pytest.mark.parametrize("as_json", [pytest.param(True, id="json"), pytest.param(False, id="people")])
def test_export_writes_the_artifact_and_says_what_it_loses(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "tiers.json"
    arguments = ["pointsman", "export", "--format", "litellm-tier-artifact"]
    arguments += [write_lines(tmp_path / "calls.jsonl", *calls()), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments + ["--json"] * as_json)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    said = capsys.readouterr().out
    assert json.loads(out.read_text())["schema_version"] == 1
    assert "No embedding and no neighbours" in said
    assert "unless LITELLM_LICENSE holds a signed licence" in said
    if as_json:
        assert "held_out" in said
    else:
        (alias,) = yaml.safe_load(said[said.index("  - model_name") : said.index("LiteLLM's proxy serves")])
        tiers = alias["litellm_params"]["complexity_router_config"]["tiers"]
        assert tiers == {"SIMPLE": "small", "MEDIUM": "small", "COMPLEX": "large", "REASONING": "large"}


def test_tiers_tell_efforts_apart_and_come_with_the_deployments_that_send_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    efforts = {"small": "low", "middle": "medium", "large": "thinking=1024"}
    rows = [{**call, "model": "m", "effort": efforts[call["model"]]} for call in calls()]
    log, out = write_lines(tmp_path / "calls.jsonl", *rows), str(tmp_path / "tiers.json")
    arguments = ["pointsman", "export", "--format", "litellm-tier-artifact", log, "--out", out]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    said = capsys.readouterr().out
    alias, *actions = yaml.safe_load(
        said[said.index("  - model_name") : said.index("LiteLLM's proxy serves")].replace(
            "<the line", "the line"
        )
    )
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert set(alias["litellm_params"]["complexity_router_config"]["tiers"].values()) == {
        "m@low",
        "m@thinking=1024",
    }
    assert {one["model_name"]: one["litellm_params"] for one in actions} == {
        "m@low": {"model": "m", "reasoning_effort": "low"},
        "m@thinking=1024": {"model": "m", "thinking": thinking},
    }
