"""Day one whole: rules alone decide and log, feedback comes, and the log trains the first router."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from typer.testing import CliRunner

import router.cli  # noqa: F401 - adds the commands
from router import Router
from router.call_log.log import read_rows
from router.cli.console import app
from router.settings.yaml_file import load_config
from tests.services.provider import KEY, Provider, answer, server_error, tokens
from tests.services.proxy import running_proxy
from tests.services.waiting import wait_until
from tests.training.test_pipeline import TOPICS
from tests.whole.test_proxy import all_rows
from training.pipeline import TrainJob, train_on_log
from training.progress import Silent
from training.prompts.from_logs import ReadOptions

CALLS = 240
SHARE = 0.5
SETTINGS = """
models:
  large:
    litellm_model: openai/large
    api_base: "{base}"
    api_key_env: TEAM_KEY
    price: {{input_usd_per_million: 10.0, output_usd_per_million: 100.0}}
  small:
    litellm_model: openai/small
    api_base: "{base}"
    api_key_env: TEAM_KEY
    price: {{input_usd_per_million: 1.0, output_usd_per_million: 10.0}}
rules: {{default: large, task_types: {{translate: small}}}}
calls: {{retries: 0, cool_down: {{failures: 0}}}}
log: {{url: "{log}"}}
exploration: {{share: {share}, seed: 1}}
training: {{min_calls: 20, encoder: static}}
"""


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TEAM_KEY", KEY)
    path = tmp_path / "pointsman.yaml"
    with Provider() as provider:
        provider.script("small", answer("Yes.", usage=tokens(20, 30)))
        provider.script("large", server_error(), answer("Yes.", usage=tokens(20, 40)))
        text = SETTINGS.format(base=provider.api_base, log=tmp_path / "calls.db", share=SHARE)
        path.write_text(text, encoding="utf-8")
        yield path


def test_the_log_of_the_rules_trains_the_first_router(
    settings_file: Path, encoder_cache: Path, quiet: Silent
) -> None:
    folder, dice = settings_file.parent, random.Random(2)
    with Router.load(settings_file) as first:
        for number in range(CALLS):
            task = list(TOPICS)[number % 4]
            prompt = TOPICS[task].format(number, dice.randint(0, 999))
            messages = [{"role": "user", "content": prompt}]
            decision = first.completion(messages=messages, task_type=task).decision
            wins = decision.answered_by == "large" or task in ("math", "translate")
            assert decision.call_id is not None
            first.feedback(decision.call_id, success=dice.random() < (0.95 if wins else 0.1))

    rows = list(read_rows(str(folder / "calls.db")))
    assert {row["policy_version"] for row in rows} == {"rules"}
    chosen = [row for row in rows if row["model"] == row["chosen_model"]]
    assert {row["decision_source"] for row in chosen} == {"rule", "explored"}
    assert {row["propensity"] for row in chosen} == {SHARE}
    (failed,) = [row for row in rows if row["error"]]
    (rescued,) = [row for row in rows if row["decision_source"] == "fallback"]
    assert (failed["model"], rescued["model"], rescued["propensity"]) == ("large", "small", None)
    assert all(row["cost_usd"] > 0 and row["baseline_cost_usd"] for row in rows if not row["error"])
    assert {row["confidence"] for row in rows} == {None}

    config = load_config(settings_file)
    reading = ReadOptions(mapping={}, rejects=folder / "rejects.jsonl", config=config, cache=encoder_cache)
    trained = train_on_log(
        TrainJob(
            sources=[str(folder / "calls.db")],
            out=folder / "router",
            reading=reading,
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
            register=None,
        ),
        quiet,
    )
    assert trained.reading.rejected == 0
    with Router.load(folder / "router", config=settings_file) as second:
        assert set(second.models) == {"large", "small"}
        decision = second.route(TOPICS["math"].format(7, 8), task_type="math")
        assert decision.policy_version == trained.manifest["policy_version"] != "rules"
        assert decision.success_probability.keys() == {"large", "small"}


def test_the_commands_take_the_settings_as_a_router(settings_file: Path) -> None:
    at = ["--router", str(settings_file)]
    routed = CliRunner().invoke(app, ["route", *at], input='{"prompt": "hi", "task_type": "translate"}\n')
    assert (routed.exit_code, json.loads(routed.stdout)["model"]) == (0, "small")
    explained = CliRunner().invoke(app, ["explain", *at, "hi"])
    assert explained.stdout.startswith("large (rule): rules alone: default decides")
    assert "Rules alone decide" in explained.stdout
    out = settings_file.with_name("litellm.yaml")
    assert CliRunner().invoke(app, ["litellm-config", *at, "--out", str(out)]).exit_code == 0
    assert f"POINTSMAN_ROUTER: {settings_file}" in out.read_text(encoding="utf-8")


def test_the_proxy_serves_by_the_rules_and_logs_propensities(settings_file: Path) -> None:
    folder = settings_file.parent
    config = folder / "litellm.yaml"
    command = ["litellm-config", "--router", str(settings_file), "--out", str(config)]
    assert CliRunner().invoke(app, command).exit_code == 0
    with running_proxy(config, folder, {"TEAM_KEY": KEY}) as proxy:
        client = openai.OpenAI(base_url=proxy.address, api_key=proxy.key, max_retries=0)
        body = {"metadata": {"task_type": "translate", "pointsman": {"explore": 0.0}}}
        client.chat.completions.create(
            model="smart", messages=[{"role": "user", "content": "hi"}], extra_body=body
        )
        (row,) = wait_until(lambda: all_rows(folder / "calls.db"))
    assert (row["model"], row["decision_source"], row["policy_version"]) == ("small", "rule", "rules")
    assert row["propensity"] == 1.0


@pytest.mark.parametrize("command", [["compare", "x", "--out", "y"], ["replay", "x", "--out", "y.jsonl"]])
def test_commands_that_need_a_forecast_refuse_rules(settings_file: Path, command: list[str]) -> None:
    import training.commands  # noqa: F401 - adds the commands

    arguments = [
        *command,
        "--router",
        str(settings_file),
        *(["--budget", "1"] if "replay" in command else []),
    ]
    result = CliRunner().invoke(app, arguments)
    assert "rules alone forecast nothing" in str(result.exception)
