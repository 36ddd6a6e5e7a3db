from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import Router
from router.errors import ArtifactError, ConfigError, NoModelAllowed
from router.explaining.explain import explain
from router.models.model_list import listed_entry
from router.records import Json, Request, Wishes
from router.rules_version import RulesVersion, is_settings_file
from router.settings.yaml_file import parse_config
from router.version import Circumstances
from tests.router.deciding.test_audio import speech, spoken
from tests.router.models.test_prices import newer_list

SETTINGS = """
models:
  gpt-5: {price: {input_usd_per_million: 1.0, output_usd_per_million: 10.0}}
  mini: {price: {input_usd_per_million: 0.1, output_usd_per_million: 1.0}, capabilities: {tools: false}}
  home: {price: {input_usd_per_million: 0.0, output_usd_per_million: 0.0}, local: true}
rules:
  default: gpt-5
  task_types: {support: mini, private: home}
"""
HEURISTIC = "  heuristic: {strong: gpt-5, middle: mini, cheap: home}\n"
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
MODELS = ("gpt-5", "mini", "home")
SPEAKERS_WITH_EARS = ("azure/gpt-audio", "gemini/gemini-2.5-flash")


def version(more: str = "", text: str = SETTINGS) -> RulesVersion:
    return RulesVersion(parse_config(text + more))


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "pointsman.yaml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("fields", "wishes", "model", "source"),
    [
        pytest.param({}, {}, "gpt-5", "rule", id="default"),
        pytest.param({"task_type": "support"}, {}, "mini", "rule", id="task type"),
        pytest.param({"task_type": "other"}, {}, "gpt-5", "rule", id="task type without a rule"),
        pytest.param(
            {"task_type": "support", "tools": TOOLS}, {}, "gpt-5", "rule", id="the rule's lacks tools"
        ),
        pytest.param({}, {"deny": ["gpt-5"]}, "mini", "rule", id="no rule's model is left: the first"),
        pytest.param({}, {"local_only": True}, "home", "constraint", id="one is left"),
        pytest.param({}, {"max_cost_usd": 0.005}, "mini", "rule", id="over the cap"),
        pytest.param({}, {"model": "home"}, "home", "pinned", id="pinned"),
        pytest.param({}, {"tradeoff": 1.0}, "gpt-5", "rule", id="a trade-off has no effect"),
    ],
)
def test_the_rules_and_the_limits_decide(fields: Json, wishes: Json, model: str, source: str) -> None:
    decision = version().decide(Request.of("hi", **fields), Wishes(**wishes))
    assert (decision.model, decision.source, decision.ranking[0]) == (model, source, model)
    assert (decision.policy_version, decision.confidence, decision.success_probability) == ("rules", 0.0, {})
    assert set(decision.ranking) | set(decision.rejected) == set(MODELS)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        pytest.param("hi", "home", id="simple"),
        pytest.param("```\nimplement\n```", "mini", id="middling"),
        pytest.param("```\nimplement\n```" + "\n" * 20, "gpt-5", id="complex"),
    ],
)
def test_the_keyword_score_chooses_the_tier(text: str, model: str) -> None:
    assert version(HEURISTIC).decide(Request.of(text)).model == model


def test_the_rest_of_the_chain_follows_the_order_of_the_settings() -> None:
    assert version().decide(Request.of("hi", task_type="private")).ranking == ("home", "gpt-5", "mini")


def test_where_no_model_is_left_the_reasons_are_named() -> None:
    with pytest.raises(NoModelAllowed, match="gpt-5: denied"):
        version().decide(Request.of("hi"), Wishes(deny=MODELS))


@given(
    share=st.floats(0.0, 1.0),
    draw=st.floats(0.0, 1.0, exclude_max=True),
    task=st.sampled_from(["a", "support"]),
)
def test_the_propensity_is_the_chance_of_the_choice(share: float, draw: float, task: str) -> None:
    request, router = Request.of("hi", task_type=task), version()
    decision = router.decide(request, Wishes(explore=share), Circumstances(draw=draw))
    rule = router.decide(request).model
    expected = 1.0 - share if decision.model == rule else share / 2
    assert decision.propensity == pytest.approx(expected if share else 1.0)
    assert decision.source == ("rule" if decision.model == rule else "explored")


def test_the_expected_cost_is_todays_price_of_the_tokens() -> None:
    short = version("  answer_tokens: 200\n").decide(Request.of("x" * 4000))
    assert short.expected_cost_usd["gpt-5"] == pytest.approx(1000e-6 + 200 * 10e-6, rel=0.01)
    bounded = version().decide(Request.of("x" * 4000, parameters={"max_tokens": 10}))
    assert bounded.expected_cost_usd["gpt-5"] == pytest.approx(1000e-6 + 10 * 10e-6, rel=0.01)


def test_a_cap_rules_out_a_model_without_a_price() -> None:
    unpriced = version(text=SETTINGS.replace("rules:", "  new: {}\nrules:"))
    decision = unpriced.decide(Request.of("hi"), Wishes(max_cost_usd=1.0))
    assert math.isnan(decision.expected_cost_usd["new"])
    assert "unknown" in decision.rejected["new"]


def test_a_session_stays_on_its_model(settings_file: Path) -> None:
    router = Router.load(settings_file)
    assert router.route("hi", session_id="s", task_type="support").model == "mini"
    assert router.route("hi", session_id="s").source == "session"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "rules: {default: gpt-5}", r"needs its models under models:.*init MODEL", id="no models"
        ),
        pytest.param("models: {gpt-5: {}}", r"set rules\.default or rules\.heuristic", id="no rule"),
        pytest.param(
            "models: {gpt-5: {}}\nrules: {default: gpt-5-mni}",
            r"rules name 'gpt-5-mni'.*change the setting, or list it under models:",
            id="an unlisted model",
        ),
        pytest.param(
            "models: {gpt-5: {}}\nrules: {default: gpt-5}\ncalls: {fallbacks: {gpt-5: [gtp-4]}}",
            r"calls\.fallbacks name 'gtp-4'",
            id="an unlisted fallback",
        ),
    ],
)
def test_settings_that_leave_a_request_without_a_rule_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RulesVersion(parse_config(text))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param({"config": "other.yaml"}, ConfigError, "other.yaml", id="a second file"),
        pytest.param({"config": parse_config("")}, ConfigError, "leave out the other", id="second settings"),
        pytest.param({"shadow": True}, ConfigError, "nothing to try in the shadow", id="shadow mode"),
        pytest.param({"expect": "sha256:00"}, ArtifactError, "no digest", id="a digest"),
    ],
)
def test_what_only_a_trained_router_can_do_is_refused(
    settings_file: Path, options: Json, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Router.load(settings_file, **options)


def test_the_same_file_may_be_given_as_settings_too(settings_file: Path) -> None:
    with Router.load(settings_file, config=settings_file) as router:
        assert router.route("Hello").policy_version == "rules"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pointsman\.yaml: can't be read"):
        Router.load(tmp_path / "pointsman.yaml")


def test_a_folder_with_the_name_of_a_file_is_a_router(tmp_path: Path) -> None:
    assert is_settings_file("a/pointsman.yaml")
    assert is_settings_file("A.YML")
    assert not is_settings_file("models/demo")
    assert not is_settings_file(tmp_path.rename(tmp_path.with_name("folder.yaml")))


def test_an_explanation_says_that_rules_alone_decide() -> None:
    explanation = explain(version(), Request.of("hi"), Wishes(deny=["mini"]))
    told = explanation.to_json()
    assert [one["model"] for one in told["models"]] == ["gpt-5", "home", "mini"]
    assert {(one["success_probability"], one["value"]) for one in told["models"]} == {(None, None)}
    assert (told["evidence"], told["similarity"], told["neighbours"], told["change"]) == (None,) * 4
    assert explain(version(), Request.of("hi"), Wishes(deny=MODELS)).decision is None


def test_a_router_explores_as_often_as_it_says(settings_file: Path) -> None:
    settings_file.write_text(SETTINGS + "exploration: {share: 0.3, seed: 1}\n", encoding="utf-8")
    router = Router.load(settings_file)
    found = Counter(router.route("hi").model for _ in range(3000))
    assert found["gpt-5"] / 3000 == pytest.approx(0.7, abs=0.03)
    assert found["mini"] / 3000 == pytest.approx(0.15, abs=0.03)


def test_costs_are_compared_with_the_strongest_model() -> None:
    assert version().baseline == "gpt-5"
    assert version(HEURISTIC.replace("strong: gpt-5", "strong: mini")).baseline == "mini"
    assert version("baseline: home\n").baseline == "home"


WITH_EFFORTS = """
models:
  gpt-5: {efforts: [low, high], price: {input_usd_per_million: 1, output_usd_per_million: 9}, local: true}
  mini: {}
rules: {default: gpt-5, task_types: {support: gpt-5@low}}
"""


def test_the_efforts_of_a_model_are_actions_under_its_price_and_limits() -> None:
    router = version(text=WITH_EFFORTS)
    assert router.models == ("gpt-5@low", "gpt-5@high", "mini")
    low, high = (router.prices[model] for model in router.models[:2])
    assert low == high
    decision = router.decide(Request.of("x"), Wishes(local_only=True))
    assert (decision.model, set(decision.rejected)) == ("gpt-5@high", {"mini"})
    assert router.decide(Request.of("x", task_type="support")).model == "gpt-5@low"
    assert router.decide(Request.of("x"), Wishes(deny=["gpt-5"])).model == "mini"
    assert router.decide(Request.of("x"), Wishes(deny=["gpt-5@high"])).model == "gpt-5@low"


@pytest.mark.parametrize(
    ("parameters", "allowed"),
    [
        pytest.param({"reasoning_effort": "low"}, {"gpt-5@low", "mini"}, id="an action's"),
        pytest.param({"reasoning": {"effort": "high"}}, {"gpt-5@high", "mini"}, id="in another protocol"),
        pytest.param({"reasoning_effort": "minimal"}, {"gpt-5@low", "gpt-5@high", "mini"}, id="of no action"),
        pytest.param({"reasoning_effort": None}, {"gpt-5@low", "gpt-5@high", "mini"}, id="none"),
    ],
)
def test_the_callers_effort_leaves_the_actions_that_have_it(parameters: Json, allowed: set[str]) -> None:
    router = version(text=WITH_EFFORTS)
    request = Request.of("x", parameters=parameters)
    rejected = router.decide(request).rejected
    assert set(router.models) - set(rejected) == allowed
    if "gpt-5@low" in allowed:
        assert router.decide(request, Wishes(deny=["gpt-5@low"])).model != "gpt-5@low"
    pinned = router.decide(request, Wishes(model="gpt-5")).model
    assert pinned == ("gpt-5@low" if "gpt-5@high" not in allowed else "gpt-5@high")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("{gpt-5@low: {}}", r"settings go by the model: write {gpt-5: {efforts: \[low\]}}"),
        ("{acme@low: {}}", r"give it another one here: {acme-low: {litellm_model: acme@low}}"),
        ("{gpt-5: {efforts: [swift]}}", "holds a word that is none of none, minimal, low"),
        ("{gpt-5: {efforts: [low, low]}}", "names an effort twice"),
    ],
)
def test_efforts_that_mean_nothing_are_refused(models: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(f"models: {models}")


def test_an_action_in_cool_down_has_its_whole_model_there() -> None:
    router = version(text=WITH_EFFORTS)
    assert (
        router.decide(Request.of("x"), circumstances=Circumstances(cooling={"gpt-5": "down"})).model == "mini"
    )


def test_a_pace_on_rules_alone_is_told_to_have_no_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pointsman.yaml"
    path.write_text(f"{SETTINGS}objective: {{kind: budget, usd_per_day: 5}}\n", encoding="utf-8")
    with Router.load(path) as router:
        assert router.pacer is None
    assert "usd_per_day has no effect" in caplog.text


SPEAKERS = """
models:
  azure/gpt-audio: {}
  gemini/gemini-2.5-flash: {}
  gpt-4o: {}
rules: {default: gpt-4o, answer_tokens: 100}
"""


def costs(content: Json, **fields: Json) -> list[float]:
    router = RulesVersion(parse_config(SPEAKERS))
    ((_, forecast),) = router.foresee([Request.of([{"role": "user", "content": content}], **fields)])
    return [float(usd) for usd in forecast.cost[0]]


def test_audio_is_expected_to_cost_what_its_length_is_billed() -> None:
    text, heard = costs([]), costs([spoken(speech(60.0))])
    seconds = 60 + 44 / 48_000
    listed = [entry["input_cost_per_audio_token"] for entry in map(listed_entry, SPEAKERS_WITH_EARS) if entry]
    extra = [b - a for a, b in zip(text, heard, strict=True)]
    assert extra[:2] == pytest.approx([seconds * 10 * listed[0], seconds * 32 * listed[1]], rel=0.02)


def test_a_spoken_answer_is_expected_to_cost_more_where_the_list_says_so() -> None:
    text, aloud = costs("Hi"), costs("Hi", parameters={"modalities": ["text", "audio"]})
    assert [b > 2 * a for a, b in zip(text, aloud, strict=True)] == [True, False, False]


@newer_list
def test_a_batch_is_expected_to_cost_half() -> None:
    text, batch = costs("Hi"), costs("Hi", parameters={"service_tier": "batch"})
    assert [b / a for a, b in zip(text, batch, strict=True)][1:] == pytest.approx([0.5, 0.5])
