import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.effort import (
    action_name,
    effort_in,
    effort_of,
    effort_rank,
    effort_word,
    endpoint_of,
    parameters_of,
)

VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["{", "low"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "effort", "google"]), inner)
    ),
    max_leaves=6,
)
NAMES = [
    "reasoning",
    "reasoning_effort",
    "thinking",
    "thinkingConfig",
    "config",
    "extra_body",
    "output_config",
]


@pytest.mark.parametrize(
    ("body", "effort"),
    [
        pytest.param({}, None, id="left to the provider"),
        pytest.param({"reasoning_effort": "low"}, "low", id="chat"),
        pytest.param({"reasoning_effort": " High "}, "high", id="another spelling"),
        pytest.param({"reasoning_effort": "default"}, None, id="the provider's default"),
        pytest.param({"reasoning_effort": None}, None, id="null"),
        pytest.param(
            {"reasoning_effort": {"effort": "low", "summary": "auto"}}, "low", id="LiteLLM's object"
        ),
        pytest.param({"reasoning_effort": "disable"}, "none", id="LiteLLM's word for none"),
        pytest.param({"reasoning_effort": "xhigh"}, "xhigh", id="a newer word"),
        pytest.param({"reasoning": {"effort": "minimal"}}, "minimal", id="Responses"),
        pytest.param({"reasoning": {"effort": None, "summary": None}}, None, id="Responses without effort"),
        pytest.param({"reasoning": {"max_tokens": 2000}}, "thinking=2000", id="OpenRouter's budget"),
        pytest.param({"reasoning": {"enabled": False}}, "none", id="OpenRouter's switch"),
        pytest.param({"reasoning": "I think so"}, None, id="the model's thoughts"),
        pytest.param(
            {"thinking": {"type": "enabled", "budget_tokens": 8192}}, "thinking=8192", id="Anthropic's budget"
        ),
        pytest.param(
            {"thinking": {"type": "enabled", "budget_tokens": 8192.0}}, "thinking=8192", id="a float"
        ),
        pytest.param({"thinking": {"type": "enabled"}}, None, id="no budget"),
        pytest.param({"thinking": {"type": "disabled"}}, "none", id="no thinking"),
        pytest.param({"thinking": {"type": "adaptive"}}, "adaptive", id="as the model likes"),
        pytest.param(
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            "max",
            id="adaptive with a word",
        ),
        pytest.param({"output_config": {"effort": "medium"}}, "medium", id="Anthropic's word"),
        pytest.param({"thinking": '{"type": "enabled", "budget_tokens": 9}'}, "thinking=9", id="JSON text"),
        pytest.param(
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 512}}},
            "thinking=512",
            id="Gemini's budget",
        ),
        pytest.param(
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}, "adaptive", id="dynamic"
        ),
        pytest.param(
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, "none", id="Gemini's none"
        ),
        pytest.param(
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}, "low", id="Gemini 3"
        ),
        pytest.param(
            {"config": {"thinking_config": {"thinking_level": "THINKING_LEVEL_HIGH"}}},
            "high",
            id="Google's SDK",
        ),
        pytest.param(
            {"extra_body": {"google": {"thinking_config": {"thinking_budget": 64}}}},
            "thinking=64",
            id="Gemini by OpenAI's protocol",
        ),
        pytest.param(
            {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}},
            "thinking=1024",
            id="Bedrock",
        ),
        pytest.param(
            {"additionalModelRequestFields": {"reasoningConfig": {"maxReasoningEffort": "low"}}},
            "low",
            id="Nova",
        ),
        pytest.param({"reasoning_effort": True}, None, id="a flag"),
        pytest.param({"reasoning_effort": "two words"}, None, id="prose"),
        pytest.param({"reasoning_effort": float("inf")}, None, id="infinite"),
    ],
)
def test_a_request_states_its_effort(body: dict[str, Any], effort: str | None) -> None:
    assert effort_of(body) == effort


@given(st.dictionaries(st.sampled_from(NAMES), VALUE))
def test_any_body_has_an_effort_that_stands_as_it_is_or_none(body: dict[str, Any]) -> None:
    effort = effort_of(body)
    assert effort is None or effort_word(effort) == effort
    assert effort_of(json.loads(json.dumps(body))) == effort


@pytest.mark.parametrize(
    ("name", "model", "effort"),
    [
        ("gpt-5@low", "gpt-5", "low"),
        ("azure/gpt-5@none", "azure/gpt-5", "none"),
        ("claude-opus-4-7@thinking=8192", "claude-opus-4-7", "thinking=8192"),
        ("vertex_ai/claude-sonnet-4@20250514@high", "vertex_ai/claude-sonnet-4@20250514", "high"),
        ("gpt-5", "gpt-5", None),
        ("vertex_ai/claude-sonnet-4@20250514", "vertex_ai/claude-sonnet-4@20250514", None),
        ("text-bison@001", "text-bison@001", None),
        ("text-bison@latest", "text-bison@latest", None),
        ("claude@default", "claude@default", None),
        ("model@lower", "model@lower", None),
        ("model@thinking=8k", "model@thinking=8k", None),
        ("@low", "@low", None),
    ],
)
def test_an_actions_name_ends_in_an_effort_and_no_version_is_one(
    name: str, model: str, effort: str | None
) -> None:
    assert (endpoint_of(name), effort_in(name)) == (model, effort)
    assert action_name(model, effort) == name


@pytest.mark.parametrize("effort", [None, "swift", "latest", "20250514"])
def test_a_model_at_an_unknown_effort_has_its_own_name(effort: str | None) -> None:
    assert action_name("gpt-5", effort) == "gpt-5"


@pytest.mark.parametrize("effort", ["none", "low", "max", "adaptive", "thinking=8192"])
def test_the_parameters_of_an_effort_state_it(effort: str) -> None:
    assert effort_of(parameters_of(effort)) == effort


def test_efforts_have_an_order() -> None:
    ranks = list(
        map(effort_rank, (None, "none", "minimal", "low", "high", "max", "thinking=9", "thinking=10"))
    )
    assert ranks == sorted(set(ranks))
