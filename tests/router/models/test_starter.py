from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError, MissingExtra
from router.models import starter
from router.models.model_list import price_list
from router.models.starter import CHATS, starter_text
from router.records import Request
from router.rules_version import RulesVersion
from router.settings.yaml_file import parse_config

LISTED = sorted(name for name, entry in price_list().items() if entry.get("mode") in CHATS)
SELF_HOSTED = ("ollama/own:8b", "hosted_vllm/team/model", "lm_studio/x")


@given(models=st.lists(st.sampled_from([*LISTED, *SELF_HOSTED]), min_size=1, max_size=5, unique=True))
def test_any_models_of_the_list_make_a_router(models: list[str]) -> None:
    settings = parse_config(starter_text(models))
    assert list(settings.models) == models
    assert settings.rules.default == models[0]
    assert (settings.log.url, settings.exploration.share) == ("calls.db", 0.02)
    assert RulesVersion(settings).decide(Request.of("hi")).policy_version == "rules"


@given(models=st.lists(st.sampled_from([*LISTED, *SELF_HOSTED]), min_size=1, max_size=3, unique=True))
def test_the_settings_in_the_comments_are_settings(models: list[str]) -> None:
    body = starter_text(models).partition("\nmodels:\n")[2]
    whole = re.sub(
        r"^(\s*)# (?=(?:task_types|heuristic|limits|calls): \{)", r"\1", f"models:\n{body}", flags=re.M
    )
    settings = parse_config(whole)
    assert settings.rules.task_types.keys() == {"support"}
    assert settings.rules.heuristic is not None
    assert (settings.limits.max_cost_usd, settings.calls.timeout_s) == (0.10, 60)
    assert RulesVersion(settings).baseline == settings.rules.heuristic.strong


def test_the_list_says_what_a_model_costs_and_takes() -> None:
    text = starter_text(["gpt-4.1-mini", "gpt-5"])
    assert "# USD per million tokens: input 0.4, output 1.6, cached input 0.1\n" in text
    assert "longest in tokens: prompt 272,000, answer 128,000\n" in text
    assert "# takes tools, images, documents, JSON schemas, reasoning\n" in text
    assert "heuristic: {strong: gpt-5, middle: gpt-4.1-mini, cheap: gpt-4.1-mini}" in text


@pytest.mark.parametrize(
    ("models", "message"),
    [
        pytest.param(
            ["gpt-5-mni"], r"'gpt-5-mni' is not in LiteLLM's list; did you mean 'gpt-5-mini'", id="typo"
        ),
        pytest.param(
            ["nobody/gpt-5"], r"'nobody/gpt-5' is not .* did you mean 'gpt-5'", id="no such provider"
        ),
        pytest.param(["ollama/"], "is not in LiteLLM's list", id="a server without a model"),
        pytest.param(["zzzzqqqq"], r"list\. For a model of your own", id="nothing alike"),
        pytest.param(["text-embedding-3-small"], "answers no prompts: .* 'embedding'", id="no chat model"),
        pytest.param(["gpt-5", "gpt-5"], "'gpt-5' is named twice", id="twice"),
    ],
)
def test_a_model_that_can_answer_no_prompt_is_refused(models: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        starter_text(models)


def test_without_litellm_its_list_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "price_list", dict)
    with pytest.raises(MissingExtra, match="litellm"):
        starter_text(["gpt-5"])
