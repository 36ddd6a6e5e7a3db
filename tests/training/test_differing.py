from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import training.commands  # noqa: F401 - adds the command
from router.cli.console import app
from router.numbers import rate
from router.records import Json
from router.rules_version import RulesVersion
from router.settings.yaml_file import parse_config
from router.version import Version
from tests.training.logs import call, write_lines
from training.differing import DEFAULT_RULE, DiffJob, decision_changes, difference
from training.progress import Silent
from training.prompts.from_logs import ReadOptions

RULES = """
models:
  dear: {{price: {{input_usd_per_million: 1.0, output_usd_per_million: 10.0}}}}
  cheap: {{price: {{input_usd_per_million: 0.1, output_usd_per_million: 1.0}}}}
  free: {{}}
rules: {{default: {default}, task_types: {{{tasks}}}}}
"""
TASKS = ["math", "poem", "code", "other"]


def rules(default: str = "dear", **tasks: str) -> RulesVersion:
    return RulesVersion(
        parse_config(RULES.format(default=default, tasks=", ".join(f"{t}: {m}" for t, m in tasks.items())))
    )


@pytest.fixture
def log(tmp_path: Path) -> str:
    calls = [
        call(prompt=f"secret {task} {n}", model="dear", task_type=task) for task in TASKS for n in range(5)
    ]
    return write_lines(tmp_path / "calls.jsonl", *calls)


def changes(log: str, old: Version, new: Version, quiet: Silent, **options: Json) -> dict[str, Json]:
    reading = ReadOptions(mapping={}, rejects=None, config=new.config, cache=Path(log).parent)
    job = DiffJob(old=old, new=new, sources=[log], reading=reading, **options)
    return decision_changes(job, quiet).to_json()


def test_a_router_differs_from_itself_in_nothing(log: str, version: Version, quiet: Silent) -> None:
    found = difference(version, version).to_json()
    assert (found["data"], found["settings"], found["metrics"]) == ({}, {}, {})
    assert found["rules"]["old"] == found["rules"]["new"]
    assert changes(log, version, version, quiet)["changed"] == 0


def test_decisions_that_change_are_counted_by_move_and_direction(log: str, quiet: Silent) -> None:
    old, new = rules(math="cheap", code="free"), rules(math="dear", poem="cheap", code="dear")
    told = changes(log, old, new, quiet)
    assert (told["prompts"], told["changed"]) == (20, 15)
    assert told["directions"] == {"dearer": 5, "cheaper": 5, "unknown": 5}
    moves = {(one["old"], one["new"]): one["prompts"] for one in told["moves"]}
    assert moves == {("cheap", "dear"): 5, ("dear", "cheap"): 5, ("free", "dear"): 5}


@pytest.mark.parametrize("show_text", [False, True])
def test_examples_go_by_key_unless_texts_may_be_shown(log: str, quiet: Silent, show_text: bool) -> None:
    told = changes(log, rules(), rules("cheap"), quiet, examples=3, show_text=show_text)
    assert [len(one["key"]) for one in told["examples"]] == [16] * 3
    assert ("secret" in json.dumps(told)) == show_text


def test_requests_without_a_model_count_as_nobodys(log: str, quiet: Silent) -> None:
    shut = RulesVersion(
        parse_config(RULES.format(default="dear", tasks="") + "limits: {deny: [dear, cheap, free]}")
    )
    told = changes(log, rules(), shut, quiet)
    assert told["moves"] == [{"old": "dear", "new": "no model", "prompts": 20}]


def test_settings_data_and_rules_are_named_with_both_values(version: Version) -> None:
    found = difference(rules(math="cheap"), rules("cheap"))
    assert found.settings["rules.task_types.math"] == ("cheap", None)
    assert found.rules == ({"math": "cheap", DEFAULT_RULE: "dear"}, {DEFAULT_RULE: "cheap"})
    trained = difference(rules(), version)
    assert trained.data["policy_version"] == ("rules", version.policy_version)
    assert trained.metrics["test.success"] == (None, version.manifest["metrics"]["test"]["success"])


def test_the_command_prints_both_ways(log: str, tmp_path: Path, router_folder: Path) -> None:
    file = tmp_path / "pointsman.yaml"
    file.write_text("models: {gpt-5: {}, gpt-4.1-mini: {}}\nrules: {default: gpt-5}\n", encoding="utf-8")
    words = ["diff", str(file), str(router_folder), "--log", log]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert (told["data"]["policy_version"]["old"], told["decisions"]["prompts"]) == ("rules", 20)
    shown = CliRunner().invoke(app, words).stdout
    assert "rule table" in shown
    assert f"{told['decisions']['changed']} of 20 prompts" in shown
    assert "secret" not in shown


def test_headlines_are_printed_and_the_other_metrics_are_left_to_json(
    router_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pointsman.yaml"
    file.write_text("models: {gpt-5: {}, gpt-4.1-mini: {}}\nrules: {default: gpt-5}\n", encoding="utf-8")
    words = ["diff", str(router_folder), str(file)]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["metrics"]
    shown = CliRunner().invoke(app, words).stdout
    assert f"success {rate(told['test.success']['old'])} -" in " ".join(shown.split())
    assert f"{len(told) - 5} more metrics differ: see --json" in shown
    assert "brier" not in shown


def test_equal_rule_tables_are_no_table(router_folder: Path) -> None:
    shown = CliRunner().invoke(app, ["diff", str(router_folder), str(router_folder)]).stdout
    assert shown.splitlines() == [
        f"{part}: no difference" for part in ("data and policy", "settings", "metrics", "rule table")
    ]
