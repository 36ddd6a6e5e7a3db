from __future__ import annotations

import pytest

from training.readers.providers import litellm_model


@pytest.mark.parametrize(
    ("provider", "model", "named"),
    [
        pytest.param("openai.chat", "gpt-4o", "openai/gpt-4o", id="with its protocol"),
        pytest.param("google.vertex.chat", "g", "vertex_ai/g", id="with a dot and its protocol"),
        pytest.param("amazon-bedrock", "c", "bedrock/c", id="with a hyphen"),
        pytest.param("azure.ai.openai", "d", "azure/d", id="of the conventions"),
        pytest.param("Google_VertexAI", "g", "vertex_ai/g", id="in capitals"),
        pytest.param("my_gateway", "gpt-4o", "gpt-4o", id="unknown"),
        pytest.param(None, "gpt-4o", "gpt-4o", id="none"),
        pytest.param("openai", "openai/gpt-4o", "openai/gpt-4o", id="in front already"),
        pytest.param("openai", None, None, id="no model"),
        pytest.param(
            "gcp.gemini", "models/gemini-2.5-pro", "gemini/gemini-2.5-pro", id="a path of Google's API"
        ),
        pytest.param(None, "publishers/google/models/g", "g", id="a path of Vertex AI's"),
        pytest.param(
            "fireworks", "accounts/f/models/m", "fireworks_ai/accounts/f/models/m", id="a path to keep"
        ),
    ],
)
def test_a_model_has_litellms_name(provider: str | None, model: str | None, named: str | None) -> None:
    assert litellm_model(model, provider) == named


def test_the_first_known_provider_counts() -> None:
    assert litellm_model("m", None, "someone", "groq") == "groq/m"
