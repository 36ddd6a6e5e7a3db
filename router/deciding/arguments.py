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
        "add_generation_prompt", "add_special_tokens", "allowed_token_ids", "bad_words", "cache_prompt",
        "cache_salt", "chat_template_kwargs", "continue_final_message", "early_stopping", "echo", "f16_kv",
        "format", "frequency_penalty", "grammar", "guided_choice", "guided_decoding_backend",
        "guided_grammar", "guided_json", "guided_regex", "guided_whitespace_pattern", "id_slot",
        "include_reasoning", "include_stop_str_in_output", "json_schema", "keep_alive", "length_penalty",
        "logit_bias", "low_vram", "main_gpu", "min_p", "mirostat", "mirostat_eta", "mirostat_tau",
        "num_batch", "num_ctx", "num_gpu", "num_gqa", "num_keep", "num_thread", "penalize_newline",
        "presence_penalty", "prompt_logprobs", "random_seed", "reasoning_format", "repeat_last_n",
        "repeat_penalty", "repetition_penalty", "response_mime_type", "response_schema", "return_token_ids",
        "return_tokens_as_token_ids", "safe_prompt", "seed", "skip_special_tokens",
        "spaces_between_special_tokens", "stop", "stop_sequences", "stop_token_ids", "structured_outputs",
        "temperature", "tfs_z", "top_a", "top_k", "top_p", "truncate_prompt_tokens", "typical_p",
        "use_mlock", "use_mmap", "verbosity", "xtc_probability", "xtc_threshold",
    }
)  # fmt: skip
"""What words an answer has: parameters of OpenAI, Anthropic, Gemini, Mistral, Groq, vLLM, llama.cpp, Ollama,
and servers like them."""
HARMLESS: Final[Mapping[str, frozenset[str]]] = {
    "is the prompt, or what the hooks and the limits look at themselves": frozenset(
        {
            "model", "messages", "input", "prompt", "contents", "system", "instructions", "systemInstruction",
            "suffix", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls",
            "response_format", "text_format", "reasoning_effort", "logprobs", "top_logprobs", "audio",
            "web_search_options",
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
            "background", "cache", "cache_control", "caching", "client_side_timeout", "disable_fallbacks",
            "force_timeout",
            "keepalive_seconds", "labels", "litellm_call_id", "litellm_metadata", "litellm_session_id",
            "litellm_trace_id", "max_retries", "metadata", "num_retries",
            "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "request_timeout",
            "retry_strategy", "safety_identifier", "store", "stream_timeout", "tags", "timeout", "ttl",
            "user",
        }
    ),
    "leaves out what a model lacks, or passes it on": frozenset({"allowed_openai_params", "drop_params"}),
    "takes the place of a provider's answer, so that nothing is sent": frozenset(
        {"mock_delay", "mock_response", "mock_timeout", "mock_tool_calls"}
    ),
    "belongs to a call that has a model's name and no prompt": frozenset(
        {
            "chunking_strategy", "dimensions", "documents", "encoding_format", "file", "image", "keywords",
            "language", "languages", "mask", "max_chunks_per_doc", "max_tokens_per_doc",
            "output_compression", "quality", "query", "rank_fields", "return_documents", "size", "style",
            "timestamp_granularities", "top_n", "voice",
        }
    ),
    "is LiteLLM's own, which sets it for each request": frozenset(
        {
            "_context_compaction_state", "_litellm_client_requested_model", "_litellm_raw_sse_stream",
            "_litellm_skip_openai_stream_done", "_litellm_strip_stream_usage",
            "attempted_targets", "fallback_depth", "litellm_logging_obj", "max_fallbacks",
            "proxy_server_request", "secret_fields",
        }
    ),
}  # fmt: skip
"""LiteLLM's arguments that pass under any limit, by the reason."""
_MORE_WORK: Final = frozenset(
    {
        "best_of", "enable_thinking", "ignore_eos", "min_tokens", "modalities", "n_predict", "num_predict",
        "prediction", "prompt_mode", "reasoning", "service_tier", "think", "use_beam_search",
    }
)  # fmt: skip
UNCOUNTED: Final = (
    _MORE_WORK
    | {f"extra_body.{name}" for name in _MORE_WORK}
    | {
        "cachedContent", "context_management", "conversation", "extra_headers.anthropic-beta",
        "generationConfig", "include_server_side_tool_invocations", "moderation", "output_config",
        "previous_response_id", "prompt.tokens", "speed",
    }
)  # fmt: skip
"""Arguments that leave the call where it goes, and make it cost what nobody counts before it."""
DEFAULTS: Final[Mapping[str, tuple[Json, ...]]] = {
    "best_of": (1,),
    "modalities": (["text"],),
    "service_tier": ("auto", "default", "standard_only"),
    "speed": ("standard",),
    "ssl_verify": (True,),
}
"""What a call does anyway without the argument: these values pass under any limit."""
EFFORT: Final = frozenset({"effort", "generate_summary", "summary"})
"""Members of `reasoning` and `output_config` that say no more than `reasoning_effort`, which passes."""
HEADERS: Final = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "anthropic-version", "b3", "baggage", "cache-control",
        "content-type", "copilot-integration-id", "editor-plugin-version", "editor-version",
        "elastic-apm-traceparent", "http-referer", "idempotency-key", "referer", "sentry-trace",
        "traceparent", "tracestate", "uber-trace-id", "user-agent", "x-amzn-trace-id", "x-app",
        "x-b3-flags", "x-b3-parentspanid", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid",
        "x-client-request-id", "x-cloud-trace-context", "x-correlation-id", "x-datadog-origin",
        "x-datadog-parent-id", "x-datadog-sampling-priority", "x-datadog-tags", "x-datadog-trace-id",
        "x-ms-client-request-id", "x-request-id", "x-stainless-arch", "x-stainless-async",
        "x-stainless-helper-method", "x-stainless-lang", "x-stainless-os", "x-stainless-package-version",
        "x-stainless-read-timeout", "x-stainless-retry-count", "x-stainless-runtime",
        "x-stainless-runtime-version", "x-stainless-timeout", "x-title", "x-trace-id",
    }
)  # fmt: skip
"""Headers that pass under any limit: which program calls, and in which trace. A gateway may obey others."""
WATCHERS: Final = (
    "arize_", "braintrust_", "dd_", "gcs_", "humanloop_", "langfuse_", "langsmith_", "lunary_", "newrelic_",
    "posthog_", "s3_", "signoz_", "slack_", "wandb_", "weave_",
)  # fmt: skip
"""Members of the metadata that begin so tell LiteLLM to which account it reports the prompt."""
CAP: Final = "max_cost_usd"
BY_NAME: Final = frozenset({"allow", "deny"})
"""Limits that hold for the model's name, whatever tools the provider runs."""
CLIENT_TOOLS: Final = frozenset({"function", "custom"})
TOOL_MEMBERS: Final = frozenset(
    {"allowed_callers", "cache_control", "custom", "defer_loading", "description", "eager_input_streaming",
     "format", "function", "functionDeclarations", "function_declarations", "input_examples",
     "input_schema", "name", "parameters", "strict", "type"}
)  # fmt: skip
"""Types and members of tools that the caller runs itself, by OpenAI, Anthropic and Gemini."""
_LISTED: Final = frozenset(chain.from_iterable(HARMLESS.values()))
_IN_A_BODY: Final = (
    SAMPLING
    | BOUNDING - {"extra_body"}
    | {
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
        "safety_settings", "store", "usage", "user",
    }
)  # fmt: skip
_KNOWN: Final = (
    _LISTED
    | {f"extra_body.{name}" for name in _IN_A_BODY}
    | {f"extra_headers.{name}" for name in HEADERS}
    | {f"metadata.langfuse_{name}" for name in ("environment", "masking_function", "prompt_version")}
)
_KNOWN_BUT_FOR_COST: Final = _KNOWN | UNCOUNTED
_INSIDE: Final = {
    "extra_body": "extra_body",
    "extra_headers": "extra_headers",
    "headers": "extra_headers",
    "litellm_metadata": "metadata",
    "metadata": "metadata",
}
"""Arguments whose members have names of their own here, and what those begin with."""


def straying(arguments: Mapping[str, Json], limit: str, known: Collection[str] = ()) -> str | None:
    """An argument that may take a call past a limit, or None; one of `UNCOUNTED` only if there is no other.

    Whatever is not known to be harmless may: LiteLLM's arguments change, and it sends an unknown one to the
    provider as it is. One that is empty requests nothing, but for a check of certificates that is off.

    Args:
        limit: its name in the settings or in `Wishes`.
        known: further harmless arguments, as the result names them: `extra_body.NAME`, `extra_headers.NAME`,
            `metadata.NAME` and `tools.TYPE` for what is in one.
    """
    passing = _KNOWN if limit == CAP else _KNOWN_BUT_FOR_COST
    strays = (
        name
        for name, value in _flat(arguments)
        if name not in passing
        and name not in known
        and not (name.startswith("tools.") and limit in BY_NAME)
        and (is_given(value) or (name == "ssl_verify" and value is False))
        and not _stays(name, value)
    )
    return min(strays, key=UNCOUNTED.__contains__, default=None)


def _stays(name: str, value: Json) -> bool:
    if name in ("api_base", "base_url"):
        return isinstance(value, str) and is_private(value)
    if name in ("output_config", "reasoning"):
        return isinstance(value, MAPPINGS) and EFFORT.issuperset(value)
    return any(type(value) is type(one) and value == one for one in DEFAULTS.get(name, ()))


def _flat(arguments: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """The arguments; what is inside a body, headers, metadata and tools has names of its own."""
    for name, value in arguments.items():
        if name == "provider_specific_header" and isinstance(value, MAPPINGS):
            yield from _flat({"extra_headers": value.get("extra_headers")})
        elif name in _INSIDE and isinstance(value, MAPPINGS):
            yield from _members(_INSIDE[name], value)
        elif name == "prompt" and isinstance(value, MAPPINGS):
            yield "prompt.id", value  # a prompt that the provider keeps
        elif name == "prompt" and isinstance(value, LISTS) and not all(isinstance(one, str) for one in value):
            yield "prompt.tokens", value
        elif name in ("tools", "functions") and is_given(value):
            tools = value if isinstance(value, LISTS) else [value]
            yield from ((f"tools.{kind}", kind) for tool in tools if (kind := _run_elsewhere(tool)))
        else:
            yield name, value


def _members(place: str, held: Mapping[Json, Json]) -> Iterator[tuple[str, Json]]:
    """What is in one argument; an application may keep what it likes in its metadata."""
    for key, value in held.items():
        name = str(key).lower() if place == "extra_headers" else str(key)
        if place != "metadata" or name.lower().startswith(WATCHERS):
            yield f"{place}.{name}", value


def _run_elsewhere(tool: Json) -> str | None:
    """What kind of tool the caller does not run itself; None: it does."""
    if not isinstance(tool, MAPPINGS):
        return type(tool).__name__
    kind = tool.get("type")
    if kind is not None and not (isinstance(kind, str) and kind in CLIENT_TOOLS):
        return str(kind)
    # LiteLLM takes any member of Gemini's or Bedrock's for a tool, whatever the type.
    return next((str(one) for one in tool if one not in TOOL_MEMBERS and tool[one] is not None), None)
