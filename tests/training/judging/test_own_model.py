from __future__ import annotations

import pytest

from router.settings.sections import Config
from training.judging.own_model import names_of, plain_model


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("gpt-4o", "openai/gpt-4o-2024-08-06", id="provider and date"),
        pytest.param("claude-3-5-sonnet-20241022", "anthropic/claude-3-5-sonnet-latest", id="snapshots"),
        pytest.param(
            "bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
            "vertex_ai/claude-3-5-sonnet-v2@20241022",
            id="clouds",
        ),
        pytest.param("gpt-4-0613", "azure/eu/gpt-4-1106-preview", id="month and preview"),
        pytest.param("gemini-2.5-pro-preview-05-06", "openrouter/google/gemini-2.5-pro", id="dated preview"),
        pytest.param("mistral/mistral-large-latest", "mistral.mistral-large-2402-v1:0", id="its maker"),
        pytest.param("gemini/gemini-1.5-pro-002", "gemini-1.5-pro", id="number"),
        pytest.param("github_copilot/claude-haiku-4.5", "claude-haiku-4-5@20251001", id="dots and dashes"),
        pytest.param("databricks/databricks-claude-opus-4", "claude-opus-4-20250514", id="host"),
        pytest.param("ft:gpt-4o-mini-2024-07-18:acme::1", "gpt-4o-mini", id="fine-tuned"),
        pytest.param("openrouter/deepseek/deepseek-r1-0528:free", "deepseek/deepseek-r1", id="variant"),
        pytest.param("ollama/gpt-oss:120b", "groq/openai/gpt-oss-120b", id="size as a tag"),
        pytest.param("ollama/llama3.1", "ollama_chat/llama3.1:latest", id="tag"),
    ],
)
def test_snapshots_of_a_model_by_whatever_provider_are_the_same(one: str, other: str) -> None:
    assert plain_model(one) == plain_model(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("gpt-4o", "gpt-4o-mini", id="size"),
        pytest.param("gpt-4.1", "gpt-4", id="version"),
        pytest.param("claude-opus-4-1", "claude-opus-4-5", id="version by dashes"),
        pytest.param("ollama/llama3.1:8b", "ollama/llama3.1:70b", id="parameters"),
        pytest.param("o3", "o4-mini", id="short names"),
    ],
)
def test_models_that_differ_are_told_apart(one: str, other: str) -> None:
    assert plain_model(one) != plain_model(other)


def test_a_name_of_the_settings_stands_for_the_model_behind_it() -> None:
    config = Config.model_validate({"models": {"smart": {"litellm_model": "azure/gpt-4o-2024-08-06"}}})
    assert names_of("smart", config) == {"smart", "gpt-4o"}
