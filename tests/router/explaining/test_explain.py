from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from router.errors import DamagedArtifact, RequestError
from router.explaining.attribution import GROUPS
from router.explaining.explain import NEIGHBOURS, Explanation, explain
from router.forecasting.features import featurize
from router.forecasting.training_prompts import POINTS_FILE
from router.models.prices import ModelPrice, PriceTable
from router.records import Json, Request, Wishes
from router.settings.yaml_file import parse_config
from router.version import Version
from tests.router.messages import requests

PROMPTS = {
    "a question": Request.of("When do you open?"),
    "code": Request.of("Refactor this:\n```\nx = 1\n```", task_type="coding", tags=["vip"]),
    "nothing": Request.of(""),
    "tools": Request.of("Book it", tools=[{"function": {"name": "book", "description": "books a table"}}]),
    "a conversation": Request.of(
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None},
            {"role": "user", "content": [{"type": "text", "text": "open?"}]},
        ]
    ),
}


def with_settings(folder: Path, text: str) -> Version:
    return Version.load(folder, parse_config(text))


def log_odds(probability: float) -> float:
    return math.log(probability / (1.0 - probability))


@pytest.mark.parametrize("request_", PROMPTS.values(), ids=PROMPTS.keys())
def test_the_decision_that_is_explained_is_the_routers(version: Version, request_: Request) -> None:
    explanation = explain(version, request_)
    assert explanation.decision == version.decide(request_)
    assert explanation.similarity == pytest.approx(version.forecast([request_]).familiarity[0])


@pytest.mark.parametrize("request_", PROMPTS.values(), ids=PROMPTS.keys())
def test_the_prospects_are_the_forecast_by_falling_value(version: Version, request_: Request) -> None:
    explanation, decision = explain(version, request_), version.decide(request_)
    values = [one.value for one in explanation.prospects]
    assert values == sorted(values, reverse=True)
    for one in explanation.prospects:
        assert one.success_probability == decision.success_probability[one.model]
        assert one.expected_cost_usd == decision.expected_cost_usd[one.model]
        weighted = version.policy.weight * (one.expected_cost_usd or 0.0)
        assert one.value == pytest.approx(one.success_probability - weighted)


@pytest.mark.parametrize("request_", PROMPTS.values(), ids=PROMPTS.keys())
def test_the_evidence_sums_to_the_chosen_models_chance(version: Version, request_: Request) -> None:
    explanation = explain(version, request_)
    evidence, decision = explanation.evidence, explanation.decision
    assert decision is not None
    assert evidence is not None
    assert evidence.model == decision.model
    assert tuple(evidence.log_odds) == GROUPS
    assert evidence.success_probability == pytest.approx(decision.confidence, abs=1e-5)
    total = log_odds(evidence.reference) + sum(evidence.log_odds.values())
    assert total == pytest.approx(log_odds(evidence.success_probability), abs=1e-6)


def test_the_reference_knows_nothing_of_the_request(version: Version) -> None:
    pinned = Wishes(model=version.models[0])
    evidence = [explain(version, request_, pinned).evidence for request_ in PROMPTS.values()]
    found = {one.reference for one in evidence if one is not None}
    assert None not in evidence
    assert max(found) - min(found) < 1e-9


@pytest.mark.parametrize("request_", PROMPTS.values(), ids=PROMPTS.keys())
def test_the_nearest_training_prompts_are_told_by_key(version: Version, request_: Request) -> None:
    neighbours = explain(version, request_).neighbours
    assert neighbours is not None
    assert len(neighbours) == NEIGHBOURS
    cosines = [one.cosine for one in neighbours]
    assert cosines == sorted(cosines, reverse=True)
    assert all(int(one.key, 16) in version.training_keys() for one in neighbours)
    assert all(set(one.outcomes) <= set(version.models) for one in neighbours)
    assert {one.text for one in neighbours} == {None}


def test_the_nearest_are_those_whose_outcomes_the_head_weighs_most(version: Version) -> None:
    request_ = PROMPTS["a question"]
    features = featurize([request_], [version.encode(request_)], version.spec)
    familiarity = version.head.predict(features).familiarity[0]
    neighbours = explain(version, request_).neighbours or ()
    assert sum(one.cosine for one in neighbours) / NEIGHBOURS >= familiarity


def test_a_router_written_without_the_keys_says_so(router_folder: Path) -> None:
    older = with_settings(router_folder, "")
    files = {name: digest for name, digest in older.manifest["files"].items() if name != POINTS_FILE}
    older.manifest = {**older.manifest, "files": files}
    assert explain(older, PROMPTS["a question"]).neighbours is None


def test_a_folder_that_went_since_loading_is_refused(router_folder: Path, tmp_path: Path) -> None:
    gone = with_settings(router_folder, "")
    gone.folder = tmp_path
    with pytest.raises(DamagedArtifact, match=POINTS_FILE):
        explain(gone, PROMPTS["a question"])


def test_a_model_that_is_ruled_out_comes_last_with_the_reason(version: Version) -> None:
    request_ = PROMPTS["a question"]
    best = version.decide(request_).model
    explanation = explain(version, request_, Wishes(deny=[best]))
    assert explanation.prospects[-1].model == best
    assert explanation.prospects[-1].rejected == "denied"
    assert [one.rejected for one in explanation.prospects[:-1]] == [None] * (len(version.models) - 1)
    assert explanation.decision is not None
    assert explanation.decision.model != best


def test_where_no_model_is_left_the_reasons_are_still_told(version: Version) -> None:
    explanation = explain(version, PROMPTS["code"], Wishes(deny=version.models))
    assert (explanation.decision, explanation.change) == (None, None)
    assert {one.rejected for one in explanation.prospects} == {"denied"}
    assert explanation.evidence is not None
    assert explanation.evidence.model == explanation.prospects[0].model


def test_the_change_is_towards_the_next_model(router_folder: Path) -> None:
    sure = with_settings(router_folder, "fallback: {confidence: 0.0}")
    explanation = explain(sure, PROMPTS["code"])
    assert explanation.change is not None
    assert explanation.decision is not None
    if explanation.decision.source == "learned":
        assert explanation.change.model == explanation.prospects[1].model
        assert explanation.change.chosen_success_probability is not None


def test_where_the_policy_stepped_aside_it_is_told_by_how_much(router_folder: Path) -> None:
    unsure = with_settings(router_folder, "fallback: {confidence: 1.0}")
    explanation = explain(unsure, PROMPTS["code"])
    assert explanation.decision is not None
    assert explanation.decision.source == "rule"
    assert explanation.change is not None
    assert explanation.change.model == explanation.prospects[0].model
    missing = 1.0 - explanation.prospects[0].success_probability
    assert explanation.change.missing_confidence == pytest.approx(missing)


def test_a_pinned_model_has_no_change(version: Version) -> None:
    explanation = explain(version, PROMPTS["code"], Wishes(model=version.models[0]))
    assert explanation.change is None
    assert explanation.evidence is not None
    assert explanation.evidence.model == version.models[0]


def test_an_unknown_cost_is_none(router_folder: Path) -> None:
    priceless = with_settings(router_folder, "")
    priceless._price_table = PriceTable.of([ModelPrice.unknown()] * len(priceless.models))
    explanation = explain(priceless, PROMPTS["code"])
    assert {one.expected_cost_usd for one in explanation.prospects} == {None}
    assert all(math.isfinite(one.value) for one in explanation.prospects)


@pytest.mark.parametrize(
    "wishes",
    [
        pytest.param({}, id="none"),
        pytest.param({"tradeoff": 1.0}, id="only cost counts"),
        pytest.param({"deny": ["gpt-5", "gpt-4o", "gpt-4.1-mini", "ollama/llama3.1"]}, id="all denied"),
    ],
)
def test_an_explanation_is_plain_json(version: Version, wishes: dict[str, Json]) -> None:
    value = explain(version, PROMPTS["code"], Wishes(**wishes)).to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == json.loads(json.dumps(value))
    keys = ["decision", "models", "evidence", "similarity", "neighbours", "change", "cascade"]
    assert list(value) == keys


def test_the_prompt_is_not_in_its_explanation(version: Version) -> None:
    told = json.dumps(explain(version, Request.of("my secret is xyzzy", task_type="coding")).to_json())
    assert "xyzzy" not in told


def test_the_same_request_is_explained_the_same(version: Version) -> None:
    assert explain(version, PROMPTS["code"]) == explain(version, PROMPTS["code"])


def test_explaining_a_model_that_is_not_known_is_refused(version: Version) -> None:
    with pytest.raises(RequestError, match="gpt-9"):
        explain(version, PROMPTS["code"], Wishes(model="gpt-9"))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request_=requests())
def test_no_legal_request_stops_the_explanation(version: Version, request_: Request) -> None:
    assert isinstance(explain(version, request_), Explanation)
