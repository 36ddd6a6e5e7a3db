"""Which arguments of a call keep it within its limits: those listed here, and those that a team adds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Final

from router.deciding.needs import is_given
from router.forecasting.request_tokens import BOUNDING
from router.models.locality import is_private
from router.records import LISTS, MAPPINGS, Json

SAMPLING: Final = frozenset(
    {
        "bad_words", "chat_template_kwargs", "echo", "frequency_penalty", "guided_choice", "guided_grammar",
        "guided_json", "guided_regex", "keep_alive", "logit_bias", "min_p", "mirostat", "mirostat_eta",
        "mirostat_tau", "num_ctx", "num_gpu", "num_thread", "presence_penalty", "repeat_last_n",
        "repeat_penalty", "repetition_penalty", "seed", "stop", "stop_sequences", "temperature", "top_a",
        "top_k", "top_p", "typical_p", "verbosity",
    }
)  # fmt: skip
"""What words an answer has: parameters of OpenAI, Anthropic, Gemini, vLLM, Ollama, and servers like them."""
HARMLESS: Final[Mapping[str, frozenset[str]]] = {
    "is the prompt, or what the hooks and the limits look at themselves": frozenset(
        {
            "model", "messages", "input", "prompt", "contents", "system", "instructions", "systemInstruction",
            "suffix", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls",
            "response_format", "reasoning_effort", "logprobs", "top_logprobs", "audio", "web_search_options",
        }
    )
    | BOUNDING - {"extra_body"},
    "changes the words of the answer, or their form": SAMPLING
    | {
        "enable_json_schema_validation", "include", "max_output_tokens", "max_tokens_to_sample",
        "max_tool_calls", "output_format", "safety_settings", "safetySettings", "stream", "stream_options",
        "text", "toolConfig", "truncation",
    },
    "tells provider or LiteLLM whose call it is, what to keep of it, and how long to wait": frozenset(
        {
            "background", "cache", "cache_control", "caching", "client_side_timeout", "force_timeout",
            "keepalive_seconds", "labels", "litellm_call_id", "litellm_metadata", "litellm_session_id",
            "litellm_trace_id", "max_retries", "metadata", "num_retries",
            "prompt_cache_key", "prompt_cache_retention", "request_timeout", "safety_identifier", "store",
            "stream_timeout", "tags", "timeout", "ttl", "user",
        }
    ),
    "leaves out what a model lacks, or passes it on": frozenset({"allowed_openai_params", "drop_params"}),
    "belongs to a call that has a model's name and no prompt": frozenset(
        {
            "chunking_strategy", "dimensions", "documents", "encoding_format", "file", "image", "language",
            "mask", "max_chunks_per_doc", "max_tokens_per_doc", "output_compression", "quality", "query",
            "rank_fields", "return_documents", "size", "style", "timestamp_granularities", "top_n", "voice",
        }
    ),
    "is LiteLLM's own, which sets it for each request": frozenset(
        {
            "_context_compaction_state", "_litellm_raw_sse_stream", "_litellm_skip_openai_stream_done",
            "attempted_targets", "fallback_depth", "litellm_logging_obj", "max_fallbacks",
            "proxy_server_request", "secret_fields",
        }
    ),
}  # fmt: skip
"""LiteLLM's arguments that pass under any limit, by the reason."""
UNCOUNTED: Final = frozenset(
    {
        "best_of", "cachedContent", "context_management", "conversation", "extra_headers.anthropic-beta",
        "generationConfig", "include_server_side_tool_invocations", "min_tokens", "modalities",
        "output_config", "prediction", "previous_response_id", "prompt.tokens", "reasoning", "service_tier",
        "speed",
    }
)  # fmt: skip
"""Arguments that leave the call where it goes, and make it cost what nobody counts before it."""
HEADERS: Final = frozenset({"accept", "anthropic-version", "traceparent", "user-agent", "x-request-id"})
"""Headers that pass under any limit; a gateway may obey others."""
CAP: Final = "max_cost_usd"
BY_NAME: Final = frozenset({"allow", "deny"})
"""Limits that hold for the model's name, whatever tools the provider runs."""
CLIENT_TOOLS: Final = frozenset({"function", "custom"})
TOOL_MEMBERS: Final = frozenset(
    {"cache_control", "description", "function", "functionDeclarations", "function_declarations",
     "input_schema", "name", "parameters", "strict"}
)  # fmt: skip
"""Types and members of tools that the caller runs itself, by OpenAI, Anthropic and Gemini."""
_LISTED: Final = frozenset(chain.from_iterable(HARMLESS.values()))
_IN_A_BODY: Final = SAMPLING | BOUNDING - {"extra_body"} | {"safety_settings", "store", "user"}
_KNOWN: Final = (
    _LISTED | {f"extra_body.{name}" for name in _IN_A_BODY} | {f"extra_headers.{name}" for name in HEADERS}
)


def straying(arguments: Mapping[str, Json], limit: str, known: Collection[str] = ()) -> str | None:
    """The first argument that may take a call past a limit, or None.

    Whatever is not known to be harmless may: LiteLLM's arguments change, and it sends an unknown one to the
    provider as it is. One that is empty requests nothing.

    Args:
        limit: its name in the settings or in `Wishes`.
        known: further harmless arguments, as the result names them: `extra_body.NAME`, `extra_headers.NAME`
            and `tools.TYPE` for what is in one.
    """
    passing = _KNOWN.union(known) if limit == CAP else _KNOWN.union(UNCOUNTED, known)
    for name, value in _flat(arguments):
        judged = name not in passing and not (name.startswith("tools.") and limit in BY_NAME)
        if judged and is_given(value) and not _stays(name, value):
            return name
    return None


def _stays(name: str, value: Json) -> bool:
    return name in ("api_base", "base_url") and isinstance(value, str) and is_private(value)


def _flat(arguments: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """The arguments; what is inside a body, headers and tools has names of its own."""
    for name, value in arguments.items():
        if name == "provider_specific_header" and isinstance(value, MAPPINGS):
            yield from _flat({"extra_headers": value.get("extra_headers")})
        elif name in ("headers", "extra_headers") and isinstance(value, MAPPINGS):
            yield from ((f"extra_headers.{str(key).lower()}", inner) for key, inner in value.items())
        elif name == "extra_body" and isinstance(value, MAPPINGS):
            yield from ((f"extra_body.{key}", inner) for key, inner in value.items())
        elif name == "prompt" and isinstance(value, MAPPINGS):
            yield "prompt.id", value  # a prompt that the provider keeps
        elif name == "prompt" and isinstance(value, LISTS) and not all(isinstance(one, str) for one in value):
            yield "prompt.tokens", value
        elif name == "tools" and isinstance(value, LISTS):
            tools = (tool for tool in value if isinstance(tool, MAPPINGS))
            yield from ((f"tools.{kind}", kind) for tool in tools if (kind := _run_elsewhere(tool)))
        else:
            yield name, value


def _run_elsewhere(tool: Mapping[Json, Json]) -> str | None:
    """What kind of tool the caller does not run itself; None: it does."""
    kind = tool.get("type") or next((name for name in tool if name not in TOOL_MEMBERS), None)
    return None if kind in CLIENT_TOOLS or kind is None else str(kind)
