from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest
from joblib import parallel_config

from router.errors import MissingExtra
from router.records import Request
from router.settings.sections import HeuristicModels
from training.complexity_router import litellm_scores as module
from training.complexity_router.litellm_scores import (
    SETTINGS,
    TIERS,
    V1,
    V2,
    TierScores,
    litellm_scores,
    tier_choices,
)

EASY = "hi"
HARD = (
    "Think step by step and reason through the trade-offs: design a distributed database architecture, "
    "first prove consensus terminates, then implement the algorithm in Python with async functions."
)
TEXTS = [
    EASY,
    HARD,
    "What is the capital of France?",
    "Fix this error: ```def f(): return 1```",
    "发票 " * 40,
]
REQUESTS = [Request.of(text) for text in TEXTS]
TEAM = HeuristicModels(cheap="small", middle="medium", strong="large")


@pytest.fixture(scope="module")
def scored() -> dict[str, TierScores]:
    found, missing = litellm_scores(REQUESTS)
    assert missing == []
    return found


def test_both_of_litellm_s_scores_are_there(scored: dict[str, TierScores]) -> None:
    assert list(scored) == [V1, V2]


@pytest.mark.parametrize("name", [V1, V2])
def test_a_hard_request_scores_higher_than_a_greeting(scored: dict[str, TierScores], name: str) -> None:
    assert scored[name].score[1] > scored[name].score[0]


def test_the_quick_search_for_keywords_changes_no_answer(scored: dict[str, TierScores]) -> None:
    from litellm.router_strategy.complexity_router import ComplexityRouter

    own = ComplexityRouter("plain", None, {"tiers": {tier: tier for tier in TIERS}})  # type: ignore[arg-type]
    expected = [own.classify(text)[:2] for text in TEXTS]
    found = [(TIERS[tier], score) for tier, score in zip(scored[V1].tier, scored[V1].score, strict=True)]
    assert found == [(tier.value, score) for tier, score in expected]


def test_v2_scores_the_chance_that_the_easiest_tier_fails(scored: dict[str, TierScores]) -> None:
    tiers = {tier: tier for tier in TIERS}
    from litellm.router_strategy.complexity_router import ComplexityRouter

    own = ComplexityRouter("plain", None, {**SETTINGS[V2], "tiers": tiers})  # type: ignore[arg-type]
    forecast = asyncio.run(own.aclassify(HARD)).heuristic_v2_forecast
    assert forecast is not None
    assert scored[V2].score[1] == 1 - forecast["probabilities"]["SIMPLE"]


def test_a_conversation_is_judged_by_the_last_turn_of_the_user_s() -> None:
    turns = [{"role": "user", "content": HARD}, {"role": "assistant", "content": "done"}]
    talk = Request.of([*turns, {"role": "user", "content": EASY}])
    found, _ = litellm_scores([talk, Request.of(EASY)])
    assert found[V1].score[0] == found[V1].score[1]


def test_a_request_without_a_score_gets_the_mean_of_its_tier() -> None:
    silent = Request.of([{"role": "system", "content": "be brief"}])
    found, _ = litellm_scores([silent, *REQUESTS])
    alike = found[V1].tier[1:] == found[V1].tier[0]
    expected = found[V1].score[1:][alike] if alike.any() else found[V1].score[1:]
    assert TIERS[found[V1].tier[0]] == "MEDIUM"
    assert found[V1].score[0] == pytest.approx(expected.mean())


def test_the_scores_can_be_had_while_an_event_loop_runs(scored: dict[str, TierScores]) -> None:
    async def inside() -> dict[str, TierScores]:
        return litellm_scores(REQUESTS)[0]

    assert asyncio.run(inside())[V1].score.tolist() == scored[V1].score.tolist()


def test_requests_shared_among_workers_keep_their_order(
    scored: dict[str, TierScores], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    with parallel_config(backend="threading"):
        found, _ = litellm_scores(REQUESTS)
    assert found[V2].score.tolist() == scored[V2].score.tolist()


def test_the_tiers_are_the_team_s_models() -> None:
    scores = TierScores(tier=np.array([0, 1, 2, 3]), score=np.zeros(4))
    assert tier_choices(scores, TEAM, ("large", "medium", "small")).tolist() == [2, 1, 0, 0]


def test_a_tier_whose_model_is_not_evaluated_has_no_choice() -> None:
    scores = TierScores(tier=np.array([0, 1]), score=np.zeros(2))
    assert tier_choices(scores, TEAM, ("large", "small")).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(MissingExtra("litellm", "litellm"), "not installed", id="not installed"),
        pytest.param(ImportError("no such module"), "no complexity router", id="too old"),
        pytest.param(
            ValueError("classifier_type: unknown\nmore"), r"call \(classifier_type: unknown\)", id="v1"
        ),
        pytest.param(AttributeError(), r"\(AttributeError\)", id="another form"),
    ],
)
def test_what_litellm_can_t_do_is_left_out_with_the_reason(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(settings: object) -> None:
        raise error

    monkeypatch.setattr(module, "_complexity_router", fail)
    found, missing = litellm_scores(REQUESTS)
    assert found == {}
    assert [sentence.split(" is left out")[0] for sentence in missing] == [V1, V2]
    assert all(re.search(said, sentence) for sentence in missing)
