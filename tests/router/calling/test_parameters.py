from __future__ import annotations

import pytest

from router.calling.parameters import Supported, arguments_for, parameter_text
from router.records import Json
from router.settings.sections import Config

SECRET = "Bearer sk-0123"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "track", "schema": {"type": "object"}}}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def arguments(
    callers: dict[str, Json], supported: Supported | None = None, **settings: Json
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """What model "m" gets, without the order to drop that it always gets."""
    config = Config.model_validate({"models": {"m": settings}})
    result, notes = arguments_for("m", callers, config, supported)
    assert result.pop("drop_params") is True
    return result, notes


def lacking(*names: str) -> Supported:
    return lambda name, value: name not in names


def test_what_the_caller_gives_passes_through() -> None:
    callers = {"temperature": 0, "max_tokens": 5, "top_k": 3, "metadata": {"a": 1}}
    assert arguments(callers) == (callers, ())


def test_the_models_own_stand_in_for_what_the_caller_does_not_give() -> None:
    own = {"temperature": 1.0, "reasoning_effort": "low"}
    result, _ = arguments({"temperature": 0.2}, parameters=own)
    assert result == {"temperature": 0.2, "reasoning_effort": "low"}


def test_an_argument_that_is_none_is_not_given() -> None:
    assert arguments({"temperature": None}, parameters={"temperature": 1.0})[0] == {"temperature": 1.0}


def test_an_argument_that_the_model_must_not_get_is_left_out() -> None:
    result, notes = arguments({"seed": 1, "n": 2}, drop=["seed"])
    assert result == {"n": 2}
    assert notes == ("m does not get 'seed': left out, as configured",)


def test_the_models_own_stands_in_for_what_is_left_out() -> None:
    result, _ = arguments({"temperature": 0.2}, drop=["temperature"], parameters={"temperature": 1.0})
    assert result == {"temperature": 1.0}


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        pytest.param("reasoning_effort", "minimal", "minimal", id="text"),
        pytest.param("temperature", 0, "0", id="whole number"),
        pytest.param("temperature", 0.0, "0", id="zero"),
        pytest.param("temperature", 0.5, "0.5", id="fraction"),
        pytest.param("parallel_tool_calls", True, "true", id="truth"),
        pytest.param("response_format", SCHEMA, "json_schema", id="an object's type"),
        pytest.param("tool_choice", {"type": "function", "function": {"name": "f"}}, "function", id="a tool"),
        pytest.param("stop", ["a", "b"], '["a", "b"]', id="list"),
    ],
)
def test_a_value_is_mapped_by_its_text(name: str, value: Json, key: str) -> None:
    result, notes = arguments({name: value}, map={name: {key: "mapped", "*": "other"}})
    assert result == {name: "mapped"}
    assert notes == (f"m gets another {name!r}, as configured",)


def test_any_other_value_is_mapped_by_the_star() -> None:
    rules = {"reasoning_effort": {"low": "minimal", "*": "high"}}
    assert arguments({"reasoning_effort": "medium"}, map=rules)[0] == {"reasoning_effort": "high"}


def test_a_value_that_nothing_maps_stays() -> None:
    assert arguments({"tool_choice": "auto"}, map={"tool_choice": {"required": "any"}}) == (
        {"tool_choice": "auto"},
        (),
    )


def test_a_value_mapped_to_itself_is_not_worth_a_note() -> None:
    assert arguments({"n": 1}, map={"n": {"1": 1, "*": 2}}) == ({"n": 1}, ())


def test_a_value_mapped_to_nothing_is_left_out() -> None:
    result, notes = arguments({"seed": 7}, map={"seed": {"*": None}})
    assert result == {}
    assert notes == ("m gets another 'seed', as configured",)


def test_the_models_own_values_are_not_mapped() -> None:
    rules = {"temperature": {"*": 0.5}}
    assert arguments({}, parameters={"temperature": 1.0}, map=rules)[0] == {"temperature": 1.0}


def test_headers_of_both_are_sent_and_the_callers_win() -> None:
    own = {"extra_headers": {"X-Team": "signals", "X-Tier": "gold"}}
    result, notes = arguments({"extra_headers": {"x-team": "points"}}, parameters=own)
    assert result["extra_headers"] == {"X-Tier": "gold", "x-team": "points"}
    assert notes == ()


@pytest.mark.parametrize("own", [{}, {"extra_headers": {"A": "1"}}])
def test_headers_of_one_side_are_sent(own: dict[str, Json]) -> None:
    expected = {"B": "2"} if not own else {"A": "1", "B": "2"}
    assert arguments({"extra_headers": {"B": "2"}}, parameters=own)[0]["extra_headers"] == expected


@pytest.mark.parametrize(
    "settings", [{"drop": ["extra_headers"]}, {"map": {"extra_headers": {"*": {"A": "1"}}}}]
)
def test_no_note_holds_a_headers_value(settings: dict[str, Json]) -> None:
    _, notes = arguments({"extra_headers": {"Authorization": SECRET}}, **settings)
    assert notes
    assert SECRET not in str(notes)


def test_what_the_model_does_not_take_is_left_out_with_a_note() -> None:
    result, notes = arguments({"logit_bias": {"1": 1}, "n": 2}, lacking("logit_bias"))
    assert result == {"n": 2}
    assert notes == ("m does not take 'logit_bias' as given: left out",)


def test_without_knowledge_of_the_model_everything_passes() -> None:
    assert arguments({"logit_bias": {"1": 1}}, None) == ({"logit_bias": {"1": 1}}, ())


@pytest.mark.parametrize(
    ("name", "sent"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_a_limit_is_sent_by_the_name_that_the_model_knows(name: str, sent: str) -> None:
    result, notes = arguments({name: 9}, lacking(name))
    assert result == {sent: 9}
    assert notes == (f"m does not take {name!r}: sent as {sent!r}",)


def test_a_limit_that_the_model_knows_by_no_name_is_left_out() -> None:
    assert arguments({"max_tokens": 9}, lacking("max_tokens", "max_completion_tokens"))[0] == {}


def test_a_tool_that_must_be_used_may_be_used_where_the_model_cannot_be_forced() -> None:
    result, notes = arguments(
        {"tools": TOOLS, "tool_choice": "required"}, lambda name, value: value != "required"
    )
    assert result == {"tools": TOOLS, "tool_choice": "auto"}
    assert notes == ("m does not take 'tool_choice' as 'required': sent as 'auto'",)


def test_a_schema_becomes_an_object_where_the_model_takes_no_schema() -> None:
    result, notes = arguments({"response_format": SCHEMA}, capabilities={"json_schema": False})
    assert result == {"response_format": {"type": "json_object"}}
    assert notes == ("m takes no JSON schema: asked for a JSON object instead",)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="unknown model"),
        pytest.param({"litellm_model": "openai/gpt-4o"}, id="listed"),
        pytest.param({"capabilities": {"json_schema": True}}, id="by the settings"),
    ],
)
def test_a_schema_stays_where_nothing_speaks_against_it(settings: dict[str, Json]) -> None:
    assert arguments({"response_format": SCHEMA}, **settings) == ({"response_format": SCHEMA}, ())


def test_a_class_as_response_format_passes_through() -> None:
    assert arguments({"response_format": Config})[0] == {"response_format": Config}


def test_the_settings_know_better_than_litellm_what_a_model_takes() -> None:
    able = {"parameters": {"reasoning_effort": True}}
    result, notes = arguments({"reasoning_effort": "low"}, lacking("reasoning_effort"), capabilities=able)
    assert result == {"reasoning_effort": "low", "allowed_openai_params": ["reasoning_effort"]}
    assert notes == ()


def test_the_settings_know_better_than_litellm_what_a_model_does_not_take() -> None:
    unable = {"parameters": {"logprobs": False}}
    result, notes = arguments({"logprobs": True}, lambda name, value: True, capabilities=unable)
    assert result == {}
    assert notes == ("m does not take 'logprobs' as given: left out",)


def test_what_the_caller_allows_is_sent() -> None:
    callers = {"thinking": {"type": "enabled"}, "allowed_openai_params": ["thinking"]}
    assert arguments(callers, lacking("thinking")) == (callers, ())


def test_the_callers_own_word_on_dropping_stands() -> None:
    result, _ = arguments_for("m", {"drop_params": False}, Config(), None)
    assert result == {"drop_params": False}


def test_a_model_without_settings_gets_what_the_caller_gives() -> None:
    assert arguments_for("other", {"n": 1}, Config(), None) == ({"drop_params": True, "n": 1}, ())


def test_the_callers_arguments_are_left_as_they_were() -> None:
    callers = {"temperature": 0.2, "extra_headers": {"A": "1"}}
    arguments(callers, parameters={"extra_headers": {"B": "2"}}, drop=["temperature"])
    assert callers == {"temperature": 0.2, "extra_headers": {"A": "1"}}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (object, '"type"'), (1e-7, "1e-07"), (False, "false")]
)
def test_any_value_has_a_text(value: Json, text: str) -> None:
    assert parameter_text(value) == text


def test_the_settings_of_an_action_are_its_models_with_its_effort() -> None:
    own = {"api_base": "https://a.example", "parameters": {"seed": 1, "reasoning_effort": "low"}}
    config = Config.model_validate({"models": {"m": {**own, "litellm_model": "azure/m"}, "n": own}})
    action = config.of("m@thinking=1024")
    assert (action.api_base, action.litellm_model, config.of("n@high").litellm_model) == (
        "https://a.example", "azure/m", "n",
    )  # fmt: skip
    assert action.parameters == {"seed": 1, "thinking": {"type": "enabled", "budget_tokens": 1024}}


@pytest.mark.parametrize(
    ("callers", "sent"),
    [
        ({}, {"reasoning_effort": "high"}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": None}, {"reasoning_effort": "high"}),
    ],
)
def test_the_callers_effort_replaces_an_actions(callers: Json, sent: Json) -> None:
    fitting, notes = arguments_for("m@high", callers, Config(), None)
    assert (fitting, notes) == ({"drop_params": True, **sent}, ())
