from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import router
from router.deciding.policy import Policy
from router.deciding.sessions import Seat
from router.errors import ArtifactError, ConfigError, NoModelAllowed, RequestError
from router.forecasting.encoder import Encoding
from router.forecasting.task_groups import TaskGroups
from router.models.prices import ModelPrice, PriceTable
from router.records import NO_WISHES, Decision, Json, Request, Wishes
from router.serving.client import Router
from router.settings.sections import Config
from router.settings.yaml_file import parse_config
from router.version import Circumstances, Forecast, Version, check_models, new_task_type

NEVER_SURE = "fallback: {confidence: 1.0}\n"
ALWAYS_SURE = "fallback: {confidence: 0.0}\n"
PROMPTS = ["When do you open?", "Refactor this:\n```\nx = 1\n```", "今天的订单在哪里", "", "word " * 3000]


def with_settings(folder: Path, text: str) -> Version:
    return Version.load(folder, parse_config(text))


def routed(version: Version, prompt: str | list[dict[str, str]], **fields: str) -> Decision:
    return version.decide(Request.of(prompt, **fields))


def with_policy(folder: Path, **changes: float) -> Version:
    """A router without a rule table, some thresholds of its policy changed."""
    changed = with_settings(folder, "")
    changed.policy = replace(changed.policy, **changes)  # type: ignore[arg-type]
    return changed


def forecast_of(router: Version, familiarity: float = 1.0) -> Forecast:
    """Every model as likely as its place: the last is the best and the dearest."""
    places = np.arange(1, len(router.models) + 1, dtype=np.float64)[None]
    return Forecast(
        probability=places / 10, cost=places / 1000, familiarity=np.array([familiarity]), tokens=np.ones(1)
    )


def decided(router: Version, forecast: Forecast) -> Decision:
    return router.decisions([Request.of("hi")], forecast)[0]


def test_the_public_names_are_the_modules_own() -> None:
    assert (router.Router, router.Request, router.Decision) == (Router, Request, Decision)


def test_a_router_is_loaded_under_its_own_digest(router_folder: Path, version: Version) -> None:
    assert Version.load(router_folder, expect=version.digest).digest == version.digest


@pytest.mark.parametrize("expect", [f"sha256:{'0' * 64}", "sha256:", "", "None"])
def test_under_any_other_digest_it_is_refused_and_both_are_shown(
    router_folder: Path, version: Version, expect: str
) -> None:
    for load in (Version.load, Router.load):
        with pytest.raises(ArtifactError, match=f"{version.digest}, expected '{expect}'"):
            load(router_folder, expect=expect)


def test_another_name_of_the_package_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'router' has no attribute 'Rooter'"):
        _ = router.Rooter


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_decision_covers_every_model_and_is_confident_as_its_model_is_likely(
    version: Version, prompt: str
) -> None:
    decision = routed(version, prompt)
    assert decision.model in version.models
    assert decision.policy_version == version.manifest["policy_version"]
    assert tuple(decision.success_probability) == tuple(decision.expected_cost_usd) == version.models
    assert decision.confidence == decision.success_probability[decision.model]
    assert all(0 <= p <= 1 for p in decision.success_probability.values())
    assert all(cost > 0 for cost in decision.expected_cost_usd.values())


def test_the_learned_choice_is_the_model_of_the_highest_value(router_folder: Path) -> None:
    sure = with_settings(router_folder, ALWAYS_SURE)
    sure.policy = replace(sure.policy, least_familiarity=-1.0)
    decision = routed(sure, "When do you open?", task_type="support")
    values = {
        model: p - sure.policy.weight * decision.expected_cost_usd[model]
        for model, p in decision.success_probability.items()
    }
    assert (decision.source, decision.model) == ("learned", max(values, key=values.__getitem__))


def test_a_prompt_and_its_messages_are_decided_alike(version: Version) -> None:
    assert routed(version, "hi") == routed(version, [{"role": "user", "content": "hi"}])


def test_the_task_type_is_part_of_the_evidence(version: Version) -> None:
    chat, coding = (routed(version, "Do it.", task_type=kind) for kind in ("chat", "coding"))
    assert chat.success_probability != coding.success_probability


def test_a_decision_never_depends_on_the_requests_beside_it(version: Version) -> None:
    requests = [Request.of(prompt) for prompt in PROMPTS]
    together = version.decisions(requests, version.forecast(requests))
    for one, alone in zip(together, map(version.decide, requests), strict=True):
        assert (one.model, one.source) == (alone.model, alone.source)
        assert one.success_probability == pytest.approx(alone.success_probability, abs=1e-6)
        assert one.expected_cost_usd == pytest.approx(alone.expected_cost_usd, rel=1e-5)


def test_decisions_with_task_groups_encode_each_prompt_once(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped, encode, encoded = copy(version), version.encoder.encode, list[str]()
    info = version.encoder.info
    centres = np.eye(1, info.dimensions, dtype=np.float32)
    grouped.task_groups = TaskGroups(
        names=("one",), encoder=info.name, encoder_sha256=info.sha256, frames={}, centres=centres
    )

    def counted(text: str) -> Encoding:
        encoded.append(text)
        return encode(text)

    monkeypatch.setattr(version.encoder, "encode", counted)
    requests = [Request.of(prompt) for prompt in PROMPTS]
    encodings = [grouped.encode(request) for request in requests]
    grouped.decisions(requests, grouped.forecast(requests, encodings), encodings)
    assert len(encoded) == len(PROMPTS)


def test_low_confidence_goes_to_the_rule_table(router_folder: Path, version: Version) -> None:
    unsure = with_settings(
        router_folder, NEVER_SURE + f"rules: {{task_types: {{chat: {version.models[0]}}}}}"
    )
    decision = routed(unsure, "hi", task_type="chat")
    assert (decision.source, decision.model) == ("rule", version.models[0])
    assert decision.confidence == decision.success_probability[version.models[0]]
    assert "is below 1.00: rule table (task type 'chat') decides" in decision.reason


def test_low_confidence_goes_to_the_heuristic_where_it_is_switched_on(
    router_folder: Path, version: Version
) -> None:
    strong, middle, cheap, *_ = version.models
    table = f"rules: {{heuristic: {{strong: {strong}, middle: {middle}, cheap: {cheap}}}}}"
    unsure = with_settings(router_folder, NEVER_SURE + table)
    assert [routed(unsure, prompt).model for prompt in ("hi", "``` refactor")] == [cheap, middle]


def test_low_confidence_without_rules_goes_to_the_best_single_model(router_folder: Path) -> None:
    unsure = with_settings(router_folder, NEVER_SURE)
    decision = routed(unsure, "hi")
    assert (decision.source, decision.model) == ("rule", unsure.policy.best_single)
    assert "rule table (default)" in decision.reason


@pytest.mark.parametrize(("familiarity", "source"), [(0.49, "rule"), (0.5, "learned"), (1.0, "learned")])
def test_an_unfamiliar_prompt_goes_to_the_rule_table(
    router_folder: Path, familiarity: float, source: str
) -> None:
    router = with_policy(router_folder, least_familiarity=0.5, least_confidence=0.0, weight=0.0)
    assert decided(router, forecast_of(router, familiarity)).source == source


def test_the_reason_names_what_was_unfamiliar(router_folder: Path) -> None:
    router = with_policy(router_folder, least_familiarity=0.5, least_confidence=0.0, weight=0.0)
    reason = decided(router, forecast_of(router, 0.2)).reason
    assert reason == "unlike the training prompts (similarity 0.20): rule table (default) decides"


@pytest.mark.parametrize(
    ("least", "source"), [(0.39, "learned"), (0.4, "learned"), (0.41, "rule"), (1.0, "rule")]
)
def test_the_policy_decides_from_the_least_confidence_on(
    router_folder: Path, least: float, source: str
) -> None:
    router = with_policy(router_folder, least_familiarity=-1.0, least_confidence=least, weight=0.0)
    assert decided(router, forecast_of(router)).source == source


def test_the_confidence_of_the_settings_replaces_the_trained_one(
    router_folder: Path, version: Version
) -> None:
    trained = Policy(**version.manifest["policy"])
    fixed = with_settings(router_folder, "fallback: {confidence: 0.123}").policy
    assert fixed == replace(trained, least_confidence=0.123)
    assert with_settings(router_folder, "fallback: {confidence: auto}").policy == trained


def test_a_price_of_the_settings_changes_the_expected_cost(router_folder: Path, version: Version) -> None:
    model = version.models[0]
    price = "{input_usd_per_million: 1000000, output_usd_per_million: 0}"
    dear = with_settings(router_folder, f"models: {{{model}: {{price: {price}}}}}")
    assert dear.prices[model].source == "config"
    assert routed(dear, "hi").expected_cost_usd[model] > 1


def test_an_unknown_price_is_an_unknown_cost_and_said_so(router_folder: Path) -> None:
    router = with_policy(router_folder, weight=0.0, least_confidence=0.0, least_familiarity=-1.0)
    router._price_table = PriceTable.of([ModelPrice.unknown()] * len(router.models))
    decision = routed(router, "hi")
    assert all(map(math.isnan, decision.expected_cost_usd.values()))
    assert decision.reason.endswith("chance of success at an unknown cost a call")


def test_without_settings_a_router_serves_by_those_it_was_trained_with(
    version: Version, sample_settings: Path
) -> None:
    assert version.config == parse_config(sample_settings.read_text())


@pytest.mark.parametrize("form", [str, Path])
def test_the_settings_may_be_a_path(router_folder: Path, tmp_path: Path, form: type) -> None:
    (tmp_path / "team.yaml").write_text("prices: litellm")
    assert Router.load(router_folder, config=form(tmp_path / "team.yaml")).config.prices == "litellm"


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param("{default: gpt-9}", id="default"),
        pytest.param("{task_types: {chat: gpt-9}}", id="task type"),
        pytest.param("{heuristic: {strong: gpt-9, middle: gpt-9, cheap: gpt-9}}", id="heuristic"),
    ],
)
def test_rules_with_a_model_that_the_router_lacks_are_refused(router_folder: Path, rules: str) -> None:
    with pytest.raises(
        ConfigError, match=r"rules name 'gpt-9', which .* its models are .*: change the setting"
    ):
        with_settings(router_folder, f"rules: {rules}")


def test_settings_of_a_model_that_the_router_lacks_are_fine() -> None:
    check_models(parse_config("models: {gpt-9: {local: true}}"), ["small"])
    check_models(Config(), [])


@pytest.mark.parametrize("prompt", [5, None, {"role": "user"}])
def test_a_prompt_of_the_wrong_form_is_refused(version: Version, prompt: object) -> None:
    with pytest.raises(RequestError, match="a text or a list of messages, got"):
        routed(version, prompt)  # type: ignore[arg-type]


def test_sixteen_threads_decide_as_one(version: Version) -> None:
    prompts = [f"{PROMPTS[number % 4]} Order {number}" for number in range(50)]
    alone = [routed(version, prompt) for prompt in prompts]
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: [routed(version, prompt) for prompt in prompts], range(16)))
    assert all(run == alone for run in runs)


def test_the_training_keys_are_those_of_the_prompts_it_was_fitted_on(version: Version) -> None:
    split = version.manifest["split"]
    assert len(version.training_keys()) == split["train"] + split["validation"]


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [IMAGE]}],
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": " \n"}],
        [{"role": "user", "content": None}],
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [IMAGE]}],
    ],
    ids=["an image", "empty", "space", "nothing", "an image after system text"],
)
def test_the_rule_table_decides_on_a_request_without_text(router_folder: Path, messages: Json) -> None:
    version = with_settings(router_folder, ALWAYS_SURE + "rules: {default: gpt-4o}\n")
    decision = version.decide(Request(messages=messages))
    assert decision.source == "rule"
    assert decision.reason.startswith("the request has no text")
    version._knows_textless = True
    assert not version.decide(Request(messages=messages)).reason.startswith("the request has no text")


def test_a_bare_text_in_a_list_of_parts_is_read(version: Version) -> None:
    text = "Which bus goes to the station?"
    bare, part = (
        Request(messages=[{"role": "user", "content": [one]}])
        for one in (text, {"type": "text", "text": text})
    )
    assert version.decide(bare) == version.decide(part)


def test_what_follows_from_the_settings_is_not_kept_for_other_models(version: Version) -> None:
    assert "audits" not in version.named_task_types
    config = version.config.model_copy(
        update={
            "rules": version.config.rules.model_copy(update={"task_types": {"audits": version.models[0]}})
        }
    )
    other = version.with_models(version.head, version.manifest, config)
    assert "audits" in other.named_task_types
    assert "audits" not in version.named_task_types


@pytest.mark.parametrize(
    ("change", "warning", "reason"),
    [
        pytest.param(str, "", "", id="known"),
        pytest.param("{}s".format, "did you mean", "did you mean", id="near miss"),
        pytest.param("quarterly {} audits".format, "it counts as none", "", id="new"),
    ],
)
def test_a_task_type_that_nobody_knows_is_warned_of_once(
    version: Version,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[str], str],
    warning: str,
    reason: str,
) -> None:
    new_task_type.cache_clear()
    request = Request.of("What is 2 + 2?", task_type=change(version.named_task_types[0]))
    reasons = {version.decide(request).reason for _ in range(3)}
    assert len(caplog.messages) == bool(warning)
    assert warning in caplog.text
    assert all(("did you mean" in one) == bool(reason) for one in reasons)


EARLIER = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
LATER = Request.of([*EARLIER, {"role": "user", "content": "When do you open?"}])


def with_cache(known: Version) -> Version:
    """The router, had its log shown that later turns come from the cache, for half the price."""
    cached = {"cached_price": 0.5, "cached_first": 0.0, "cached_later": 0.8}
    priced = copy(known)
    prices = {"per_input_token": 1e-3, "per_output_token": 0.0, "per_call": 0.0}
    logged = dict.fromkeys(known.models, prices | cached)
    priced._offer({**known.manifest, "prices": logged})
    return priced


def test_a_later_turn_is_expected_cheaper_but_a_cap_holds_without_the_cache(router_folder: Path) -> None:
    cached = with_cache(with_settings(router_folder, ""))
    forecast = cached.forecast([LATER])
    assert forecast.billed is not None
    full = PriceTable.of([cached.prices[model] for model in cached.models]).expected_cost(*forecast.billed)
    assert forecast.cost == pytest.approx(0.6 * full)
    cap = Wishes(max_cost_usd=float(0.8 * full.min()))
    with pytest.raises(NoModelAllowed, match="over the cap"):
        cached.decide(LATER, cap)


def test_only_the_model_of_a_session_has_its_turns_in_the_cache(router_folder: Path) -> None:
    cached = with_cache(with_settings(router_folder, ""))
    here = cached.models[0]
    case = cached.case(LATER, NO_WISHES, Circumstances(seat=Seat(model=here, tokens=10, seen=0.0)))
    alone = cached.case(LATER, NO_WISHES, Circumstances())
    assert case.cost == pytest.approx(alone.cost / 0.6)
    assert case.stay is not None
    assert case.stay.saved_usd > 0
