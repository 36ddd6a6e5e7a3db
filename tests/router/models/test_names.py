from __future__ import annotations

import pytest

from router.errors import ConfigError
from router.models.names import ModelNames, differ_by_provider, with_own_names
from router.settings.yaml_file import parse_config

MODELS = ("gpt-5", "azure/ours", "claude-sonnet-4-5-20250929", "ollama/llama3.1", "house")
CONFIG = parse_config("models: {house: {litellm_model: azure/gpt-4o-2024-05-13}}")


def names(*models: str) -> ModelNames:
    return ModelNames(models or MODELS, CONFIG)


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("gpt-5", "gpt-5"),
        ("GPT-5", "gpt-5"),
        ("gpt-5 ", "gpt-5"),
        ("openai/gpt-5", "gpt-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("openai/gpt-5-2025-08-07", "gpt-5"),
        ("azure/gpt-5", "gpt-5"),
        ("ours", "azure/ours"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("llama3.1", "ollama/llama3.1"),
        ("azure/gpt-4o-2024-05-13", "house"),
        ("gpt-4o", "house"),
    ],
)
def test_every_spelling_of_a_model_means_it(written: str, model: str) -> None:
    assert names().denied_by([written]) == names().allowed_by([written]) == {model}
    assert names().own(written) == model
    assert names().problem([written], one=True) is None


@pytest.mark.parametrize("written", ["gpt-5-mini", "gpt", "anthropic/gpt-4", "", "openai/", "azure/other"])
def test_another_models_name_means_none(written: str) -> None:
    assert names().denied_by([written]) == names().allowed_by([written]) == frozenset()
    assert "which this router does not know" in str(names().problem([written], one=False))


def test_a_misspelt_name_is_refused_with_the_closest() -> None:
    assert "did you mean 'gpt-5'?" in str(names().problem(["gpt5"], one=False))


def test_of_very_many_unknown_names_a_few_are_shown() -> None:
    problem = str(names().problem([f"gpt5{number:05}" for number in range(20_000)], one=False))
    assert "and 19995 more, which this router does not know" in problem
    assert len(problem) < 500


def test_a_denied_name_denies_all_that_it_covers() -> None:
    twins = names("gpt-5", "azure/gpt-5", "openai/gpt-5-2025-08-07", "gpt-5-mini")
    assert twins.denied_by(["gpt-5"]) == {"gpt-5", "azure/gpt-5", "openai/gpt-5-2025-08-07"}
    assert twins.denied_by(["azure/gpt-5"]) == {"azure/gpt-5"}


def test_an_allowed_name_must_mean_one_model() -> None:
    twins = names("azure/gpt-5", "openai/gpt-5")
    assert twins.allowed_by(["gpt-5"]) == frozenset()
    assert "may mean 'azure/gpt-5' or 'openai/gpt-5'" in str(twins.problem(["gpt-5"], one=True))
    assert twins.problem(["gpt-5"], one=False) is None


def test_a_models_own_name_is_never_ambiguous() -> None:
    twins = names("gpt-5", "azure/gpt-5", "gpt-5-2025-08-07")
    assert twins.allowed_by(["gpt-5"]) == {"gpt-5"}
    assert twins.own("GPT-5") == "gpt-5"


def test_settings_name_models_in_any_spelling() -> None:
    config = parse_config(
        "{baseline: GPT-5, rules: {default: openai/gpt-5, task_types: {chat: ours}}, "
        "calls: {fallbacks: {openai/gpt-5: [llama3.1], '*': [gpt-5]}}}"
    )
    own = with_own_names(config, names())
    assert (own.baseline, own.rules.default, own.rules.task_types) == (
        "gpt-5",
        "gpt-5",
        {"chat": "azure/ours"},
    )
    assert own.calls.fallbacks == {"gpt-5": ["ollama/llama3.1"], "*": ["gpt-5"]}


def test_settings_in_the_routers_own_names_stay_the_same_object() -> None:
    config = parse_config("rules: {default: gpt-5}")
    assert with_own_names(config, names()) is config


ACTIONS = ("gpt-5@high", "gpt-5@low", "house@thinking=1024", "mini", "mini@low")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("gpt-5", {"gpt-5@high", "gpt-5@low"}),
        ("openai/gpt-5", {"gpt-5@high", "gpt-5@low"}),
        ("gpt-5@low", {"gpt-5@low"}),
        ("house", {"house@thinking=1024"}),
        ("azure/gpt-4o", {"house@thinking=1024"}),
        ("mini", {"mini", "mini@low"}),
    ],
)
def test_a_models_name_means_all_of_its_actions(written: str, meant: set[str]) -> None:
    assert names(*ACTIONS).denied_by([written]) == names(*ACTIONS).allowed_by([written]) == meant
    assert names(*ACTIONS).problem([written], one=True) is None


def test_where_one_action_is_needed_the_default_effort_comes_first_then_the_most() -> None:
    actions = names(*ACTIONS)
    assert [actions.own(name) for name in ("gpt-5", "mini", "gpt-5@low")] == [
        "gpt-5@high",
        "mini",
        "gpt-5@low",
    ]
    assert (actions.own("gpt-5", "low"), actions.own("gpt-5", "none")) == ("gpt-5@low", "gpt-5@high")


def test_the_chain_of_a_model_is_that_of_its_actions() -> None:
    config = parse_config("calls: {fallbacks: {gpt-5@low: [gpt-5], gpt-5: [mini]}}")
    chains = with_own_names(config, names(*ACTIONS)).calls.fallbacks
    assert chains == {"gpt-5@high": ["mini"], "gpt-5@low": ["gpt-5@high"]}


def test_names_that_differ_by_provider_only_are_grouped() -> None:
    written = [
        "gpt-4o",
        "azure/gpt-4o",
        "OpenAI/GPT-4o",
        "gpt-4o-2024-08-06",
        "claude",
        "anthropic/claude",
        "x",
    ]
    assert differ_by_provider(written) == [
        ("claude", "anthropic/claude"),
        ("gpt-4o", "OpenAI/GPT-4o", "azure/gpt-4o"),
    ]


@pytest.mark.parametrize("written", ["gpt-55", "ollama/lama3.1", "hous"])
def test_a_slip_in_the_name_of_a_model_is_refused_with_the_right_one(written: str) -> None:
    with pytest.raises(ConfigError, match=f"models: '{written}' is no model of this router.*did you mean"):
        names().refuse_misspelt([written])


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        pytest.param("gpt-5", "{}", id="a model"),
        pytest.param("openai/gpt-5", "{}", id="another spelling"),
        pytest.param("gpt-5-mini", "{}", id="listed by LiteLLM"),
        pytest.param("entirely-different", "{}", id="like none"),
        pytest.param("gpt-55", "{litellm_model: openai/gpt-55}", id="another model of the team"),
        pytest.param("gpt-55", "{api_base: 'http://10.0.0.1'}", id="at its own address"),
    ],
)
def test_another_model_is_not_taken_for_a_slip(written: str, settings: str) -> None:
    config = parse_config(f"models: {{'{written}': {settings}}}")
    ModelNames(MODELS, config).refuse_misspelt(config.models)
