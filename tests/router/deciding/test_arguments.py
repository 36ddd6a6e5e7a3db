from __future__ import annotations

import inspect
import re

import litellm
import pytest
from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES, OPENAI_CHAT_COMPLETION_PARAMS
from litellm.google_genai import generate_content
from litellm.litellm_core_utils.initialize_dynamic_callback_params import _supported_callback_params
from litellm.router import Router as LiteLLMRouter
from litellm.types.llms.anthropic import AnthropicMessagesRequest
from litellm.types.llms.openai import ChatCompletionRequest, ResponsesAPIOptionalRequestParams
from litellm.types.router import LiteLLM_Params
from litellm.types.utils import all_litellm_params
from pydantic import BaseModel

from router.deciding.arguments import HARMLESS, UNCOUNTED, straying
from router.records import Json

LISTED = frozenset[str]().union(*HARMLESS.values())
LIMITS = ("local_only", "local_only_tags", "deny", "allow", "max_cost_usd")
CALLS = (
    litellm.completion, litellm.acompletion, litellm.text_completion, litellm.responses,
    litellm.anthropic_messages, litellm.embedding, litellm.image_generation, litellm.transcription,
    litellm.speech, litellm.rerank, litellm.moderation, generate_content, LiteLLMRouter.completion,
    LiteLLMRouter.acompletion, LiteLLMRouter.aembedding, LiteLLMRouter.__init__,
)  # fmt: skip
"""LiteLLM's calls whose arguments a caller may pass."""
BODIES = (AnthropicMessagesRequest, ChatCompletionRequest, ResponsesAPIOptionalRequestParams)
OURS_OR_NO_ARGUMENT = {"self", "args", "kwargs", "extra_body", "extra_headers", "headers"}
REFUSED = {
    "an address, a key or whose account it is": (
        r".*(api_base|base_url|api_key|api_version|api_type|_host|_url|_endpoint|credentials?|credential_name|"
        r"password|username|secret|token|token_file|client_id|tenant_id|scope|project(_id)?|organization(_id)?|"
        r"region(_name)?|location|_name|_port|_ssl|ssl_verify|_arn|_owner|identity.*|auth_file|auth_type|issuer.*|federation.*|"
        r"keycloak.*|service_account.*|azure.*|aws_.*|vertex_.*|gcs_.*|s3_.*|valkey_.*|milvus_.*|redis_.*)"
    ),
    "where the call goes": (
        r".*(client|shared_session|session|provider|_provider_id|deployment.*|model_.*|_model|_model_.*|"
        r"router.*|routing.*|kubernetes_.*|token_exchange_.*|fallback.*|_group.*|inference_geo|use_.*|data_residency|endpoint|extra_query|"
        r"vector_store_id|base_model|complete_response|order|weight|_weights|priority|tag_.*|_affinity_.*|"
        r"custom_llm_provider|adaptive.*|auto_.*|plugins|allowed_model_region|rust|fastest_response|"
        r"specific_deployment|provider_specific_header|enable_tag_filtering|configurable_clientside.*)"
    ),
    "what is sent": (
        r"prompt_.*|allow_legacy_cloud_file_ids|thought_signature_in_tool_call_id|_?litellm_system_prompt|.*_prompt_.*|.*_message|roles|.*os_token|guardrail.*|mock_.*|"
        r"additional_drop_params|assistants_config|mcp_servers|container|safeguards|compaction|ensure_.*|"
        r"enable_prompt_caching|final_prompt_value|preset_cache_key|cache_key|hf_model_name|text_format|"
        r"supports_system_message|text_completion|partial_images|user_continue_message|search_tools?.*|"
        r"disable_add_transform.*|merge_reasoning.*|vector_.*|_?(agentic|code_interpreter|headroom|websearch).*|"
        r"bedrock_tags|max_agentic_loops|timestamp.*|output_vector_size"
    ),
    "what a deployment costs or may do": (
        r".*(_cost|cost_.*|pricing|multiplier.*|budget.*|[rt]p[dm]|daily_reset_time|_limit|parallel_requests|retry.*|cooldown.*|"
        r"allowed_fails.*|timeout_by_service_tier|caching_groups|cache_.*|max_file_size_mb|retries|"
        r"stream_timeout|default_.*|plugins|health_check.*|polling_interval|client_ttl|alerting_config)"
    ),
    "who watches LiteLLM, and how": (
        r"(arize|dd|langfuse|langsmith|newrelic|posthog|signoz|wandb|weave|humanloop|logger|log|no-log|"
        r"turn_off|verbose|set_verbose|debug|litellm_disabled|litellm_trusted|litellm_request|use_in).*"
    ),
    "how LiteLLM works inside": (
        r"_.*|a?(completion|embedding|img_generation|text_completion|llm_passthrough_route|speech)|"
        r"async_call|is_async|config|completion_call_id|id|stream_chunk_size|stream_response|allow_client_.*|"
        r"fireworks_.*|enable_.*|disable_.*|ignore_.*|optional_pre_call_checks|attempted.*|expires_after"
    ),
}
"""Names of LiteLLM's arguments that must not pass under a limit, by what they change."""


def litellms() -> list[str]:
    named = {name for call in CALLS for name in inspect.signature(call).parameters}
    named |= {name for body in BODIES for name in body.__annotations__}
    named |= {*all_litellm_params, *LiteLLM_Params.model_fields, *DEFAULT_CHAT_COMPLETION_PARAM_VALUES}
    return sorted((named | {*OPENAI_CHAT_COMPLETION_PARAMS}) - OURS_OR_NO_ARGUMENT)


def test_every_argument_of_litellms_is_judged() -> None:
    unknown = [
        name
        for name in litellms()
        if name not in LISTED | UNCOUNTED and not any(re.fullmatch(one, name) for one in REFUSED.values())
    ]
    assert not unknown, "list them in `HARMLESS` or `UNCOUNTED`, or here among those that limits refuse"


@pytest.mark.parametrize("limit", LIMITS)
def test_an_argument_passes_under_a_limit_only_if_it_is_listed(limit: str) -> None:
    passing = LISTED if limit == "max_cost_usd" else LISTED | UNCOUNTED
    for name in [*litellms(), *UNCOUNTED, "of_next_year"]:
        value: Json = [CUSTOM] if name in ("functions", "tools") else "x"
        assert (straying({name: value}, limit) is None) is (name in passing), name


@pytest.mark.parametrize(
    ("arguments", "strays"),
    [
        ({"of_next_year": None, "fallbacks": [], "azure": False, "ssl_verify": None}, None),
        ({"temperature": 0.5, "seed": 3, "metadata": {"a": 1}}, None),
        ({"api_base": "http://10.0.0.7:11434"}, None),
        ({"api_base": "https://llm.example.com"}, "api_base"),
        ({"base_url": 5}, "base_url"),
        ({"extra_body": {"top_k": 4, "n": 2, "chat_template_kwargs": {}}}, None),
        ({"extra_body": {"top_k": 4, "models": ["gpt-5"]}}, "extra_body.models"),
        ({"extra_body": {"messages": [{"role": "user", "content": "hi"}]}}, "extra_body.messages"),
        ({"extra_body": '{"model": "gpt-5"}'}, "extra_body"),
        ({"extra_headers": {"Traceparent": "00-1-2-01"}}, None),
        ({"headers": {"X-Portkey-Provider": "openai"}}, "extra_headers.x-portkey-provider"),
        ({"provider_specific_header": {"extra_headers": {"Host": "x"}}}, "extra_headers.host"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt.id"),
        ({"prompt": ["hi", "ho"]}, None),
        ({"additional_drop_params": ["max_tokens"]}, "additional_drop_params"),
        ({"langfuse_host": "https://elsewhere.example.com"}, "langfuse_host"),
        ({"metadata": {"langfuse_host": "https://elsewhere.example.com"}}, "metadata.langfuse_host"),
        ({"litellm_metadata": {"dd_site": "elsewhere.example.com"}}, "metadata.dd_site"),
        ({"metadata": {"trace_id": "1", "tags": ["a"], "source_url": "https://example.com"}}, None),
        ({"ssl_verify": False}, "ssl_verify"),
        ({"ssl_verify": True}, None),
    ],
    ids=str,
)
def test_what_is_inside_an_argument_is_judged_too(arguments: Json, strays: str | None) -> None:
    assert straying(arguments, "local_only") == strays
    known = [] if strays is None else [strays]
    assert straying(arguments, "local_only", known) is None


class Tool(BaseModel):
    """A tool that LiteLLM would turn into its members."""

    type: str


CUSTOM: Json = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("tool", "strays"),
    [
        (CUSTOM, None),
        ({"name": "f", "input_schema": {}, "cache_control": {"type": "ephemeral"}}, None),
        ({"functionDeclarations": []}, None),
        ({"type": "web_search_20250305", "name": "web_search"}, "tools.web_search_20250305"),
        ({"type": "mcp", "server_url": "https://elsewhere.example.com"}, "tools.mcp"),
        ({"googleSearch": {}}, "tools.googleSearch"),
        ({"type": "function", "googleSearch": {}}, "tools.googleSearch"),
        ({"type": "function", "function": {"name": "f"}, "systemTool": {}}, "tools.systemTool"),
        ({"type": ["function"]}, "tools.['function']"),
        ({"type": "Function", "function": {"name": "f"}}, "tools.Function"),
        ({"function_declarations": [], "google_search": None}, None),
        (Tool(type="mcp"), "tools.Tool"),
    ],
    ids=str,
)
def test_a_tool_that_the_provider_runs_may_send_the_prompt_on_and_costs_what_nobody_counts(
    tool: Json, strays: str | None
) -> None:
    for limit in LIMITS:
        by_name = limit in ("allow", "deny")
        for name in ("tools", "functions"):
            assert straying({name: [CUSTOM, tool]}, limit) == (None if by_name else strays)
    assert straying({"tools": [tool]}, "local_only", ["tools.web_search_20250305"]) in (None, strays)


@pytest.mark.parametrize(
    ("arguments", "strays"),
    [
        ({"service_tier": "priority"}, "service_tier"),
        ({"best_of": 20}, "best_of"),
        ({"extra_body": {"best_of": 20}}, "extra_body.best_of"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"reasoning": {"effort": "low", "mode": "pro"}}, "reasoning"),
        ({"prompt": [[1, 2], [3]]}, "prompt.tokens"),
        ({"extra_headers": {"anthropic-beta": "context-1m"}}, "extra_headers.anthropic-beta"),
    ],
    ids=str,
)
def test_what_only_costs_more_strays_from_a_cap_alone(arguments: Json, strays: str) -> None:
    assert [straying(arguments, limit) for limit in LIMITS] == [None] * 4 + [strays]


@pytest.mark.parametrize(
    "arguments",
    [
        {"retry_strategy": "exponential_backoff_retry", "headers": {"User-Agent": "DSPy/3.0"}},
        {"extra_headers": {"Editor-Version": "1", "Copilot-Integration-Id": "vscode-chat"}},
        {"extra_headers": {"tracestate": "a=b", "Sentry-Trace": "1", "X-Datadog-Trace-Id": "1"}},
        {
            "extra_headers": {"HTTP-Referer": "https://a.example", "X-Title": "A"},
            "extra_body": {"usage": {"include": 1}},
        },
        {
            "modalities": ["text"],
            "service_tier": "auto",
            "best_of": 1,
            "prompt_cache_options": {"mode": "explicit"},
        },
        {"reasoning": {"effort": "low", "summary": "auto"}, "output_config": {"effort": "low"}},
        {"text_format": BaseModel, "store": True, "safety_identifier": "user"},
        {"mock_response": "hi"},
        {
            "extra_body": {
                "structured_outputs": {"json": {}},
                "skip_special_tokens": False,
                "stop_token_ids": [1],
            }
        },
        {"safe_prompt": True, "random_seed": 1, "include_reasoning": True, "reasoning_format": "parsed"},
        {"metadata": {"langfuse_masking_function": len, "generation_name": "a"}},
    ],
    ids=str,
)
def test_what_applications_pass_passes_under_any_limit(arguments: Json) -> None:
    assert [straying(arguments, limit) for limit in LIMITS] == [None] * 5


def test_what_only_costs_more_hides_nothing_that_leads_elsewhere() -> None:
    for arguments in (
        {"service_tier": "flex", "fallbacks": ["x"]},
        {"best_of": 2, "tools": [{"type": "mcp"}]},
    ):
        assert straying(arguments, "max_cost_usd") not in UNCOUNTED


def test_no_member_of_the_metadata_names_another_account_to_report_the_prompt_to() -> None:
    harmless = {"turn_off_message_logging", "langfuse_environment", "langfuse_prompt_version"}
    for name in set(_supported_callback_params) - harmless:
        assert straying({"metadata": {name: "x"}}, "local_only") == f"metadata.{name}"
