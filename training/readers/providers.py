"""The names of providers, as programs write them, in LiteLLM's terms."""

from __future__ import annotations

from collections.abc import Mapping

from router.records import Json
from training.readers.values import words

_PROVIDERS: Mapping[str, str] = {
    "openai": "openai", "anthropic": "anthropic", "cohere": "cohere", "deepseek": "deepseek", "groq": "groq",
    "perplexity": "perplexity", "mistral_ai": "mistral", "mistralai": "mistral", "mistral": "mistral",
    "x_ai": "xai", "xai": "xai", "aws.bedrock": "bedrock", "aws_bedrock": "bedrock", "bedrock": "bedrock",
    "amazon_bedrock": "bedrock", "bedrock_converse": "bedrock", "aws": "bedrock", "azure": "azure",
    "azure.ai.openai": "azure", "az.ai.openai": "azure", "azure.openai": "azure", "azure_openai": "azure",
    "azure.ai.inference": "azure_ai", "az.ai.inference": "azure_ai", "azure_ai": "azure_ai",
    "gcp.vertex_ai": "vertex_ai", "vertex_ai": "vertex_ai", "vertexai": "vertex_ai",
    "google_vertexai": "vertex_ai", "google.vertex": "vertex_ai", "google_vertex": "vertex_ai",
    "gcp.gemini": "gemini", "gemini": "gemini", "google_genai": "gemini", "google_ai": "gemini",
    "google.generative_ai": "gemini", "ibm.watsonx.ai": "watsonx", "ollama": "ollama",
    "openrouter": "openrouter", "together": "together_ai", "together_ai": "together_ai",
    "togetherai": "together_ai", "fireworks": "fireworks_ai", "fireworks_ai": "fireworks_ai",
    "cerebras": "cerebras", "moonshot": "moonshot", "databricks": "databricks",
}  # fmt: skip


def provider_prefix(provider: Json) -> str | None:
    """LiteLLM's name of a provider; None if it is unknown.

    A name may say which of the provider's protocols was used: `openai.chat`, `google.vertex.chat`.
    """
    name = (words(provider) or "").lower().replace("-", "_")
    while name and name not in _PROVIDERS:
        name = name.rpartition(".")[0]
    return _PROVIDERS.get(name)


def without_path(model: Json) -> str | None:
    """A model's name without the path that Google's APIs put before it; None without a model."""
    named = words(model)
    return named.rpartition("/")[2] if named and named.startswith(_GOOGLES) else named


_GOOGLES = ("models/", "publishers/google/models/", "projects/")


def litellm_model(model: Json, *providers: Json) -> str | None:
    """A model by LiteLLM's name, with the first known provider in front; None without a model."""
    named = without_path(model)
    known = next((prefix for one in providers if (prefix := provider_prefix(one))), None)
    if named is None or known is None or named.startswith(f"{known}/"):
        return named
    return f"{known}/{named}"
