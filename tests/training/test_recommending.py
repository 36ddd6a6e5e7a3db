from __future__ import annotations

import math
import shlex
from dataclasses import replace
from itertools import product

import pytest

from training.recommending import (
    COST_MARGIN,
    FEW,
    SUCCESS_MARGIN,
    ChangeAgainst,
    Code,
    RouterEvidence,
    cost_words,
    outcomes_missing,
    recommend,
    success_words,
    words_of,
)
from training.statistics.intervals import UNKNOWN, Interval

ENDS = {
    "up": (0.02, 0.05),
    "down": (-0.05, -0.02),
    "surely no less": (-0.005, 0.02),
    "open": (-0.05, 0.05),
    "unknown": (math.nan, math.nan),
}


def between(low: float, high: float) -> Interval:
    return Interval(value=(low + high) / 2, low=low, high=high, above=math.nan)


def evidence(
    success: str = "surely no less",
    cost: str = "down",
    gain: str = "up",
    *,
    one_model: str | None = None,
    groups: int = 500,
    refused: str | None = None,
    replayable: int = 0,
    usd_per_prompt: float = math.nan,
) -> RouterEvidence:
    return RouterEvidence(
        today=ChangeAgainst(
            against="always large",
            success=between(*ENDS[success]),
            cost=between(*ENDS[cost]),
            usd_per_call=0.1,
        ),
        mix_gain=between(*ENDS[gain]),
        mix=("large", "small"),
        one_model=one_model,
        prompts=1000,
        groups=groups,
        refused=refused,
        replayable=replayable,
        usd_per_prompt=usd_per_prompt,
        calls=("my calls.parquet",),
        router="models/r",
    )


@pytest.mark.parametrize(
    ("success", "cost", "code"),
    [
        ("up", "down", "deploy"),
        ("surely no less", "down", "deploy"),
        ("up", "surely no less", "cannot_tell"),  # up to 20 % dearer
        ("up", "open", "cannot_tell"),
        ("up", "up", "deploy_with_weight"),
        ("down", "down", "deploy_with_weight"),
        ("down", "open", "losing"),
        ("down", "up", "losing"),
        ("open", "up", "losing"),
        ("surely no less", "up", "losing"),
        ("open", "down", "cannot_tell"),
        ("open", "open", "cannot_tell"),
        ("unknown", "down", "cannot_tell"),
        ("up", "unknown", "cannot_tell"),
    ],
)
def test_a_router_that_beats_the_mix_is_judged_by_today(success: str, cost: str, code: Code) -> None:
    assert recommend(evidence(success, cost)).code == code


@pytest.mark.parametrize(
    ("gain", "code"),
    [("down", "one_model"), ("open", "cannot_tell"), ("unknown", "cannot_tell"), ("up", "deploy")],
)
def test_a_router_is_worth_deploying_only_beyond_a_mix_of_single_models(gain: str, code: Code) -> None:
    assert recommend(evidence(gain=gain)).code == code


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (evidence(one_model="small"), "one_model"),
        (evidence(groups=FEW - 1), "cannot_tell"),
        (evidence(refused="no support"), "cannot_tell"),
        (evidence(one_model="small", refused="no support"), "cannot_tell"),
    ],
)
def test_what_the_log_cannot_say_comes_first(given: RouterEvidence, code: Code) -> None:
    assert recommend(given).code == code


@pytest.mark.parametrize(("success", "cost", "gain"), list(product(ENDS, ENDS, ENDS)))
def test_advice_is_one_sentence_with_a_command_and_no_nan(success: str, cost: str, gain: str) -> None:
    for one in (evidence(success, cost, gain), evidence(success, cost, gain, replayable=10**6)):
        advice = recommend(one)
        assert "nan" not in advice.sentence + advice.next
        assert advice.sentence.endswith(".")
        assert shlex.split(advice.next)[0] == "pointsman"


def test_deploying_never_risks_more_than_the_margins() -> None:
    for success, cost, gain in product(ENDS, ENDS, ENDS):
        given = evidence(success, cost, gain)
        if recommend(given).code == "deploy":
            assert given.today.success.low >= -SUCCESS_MARGIN
            assert given.today.cost.high <= COST_MARGIN * given.today.usd_per_call
            assert given.mix_gain.low > 0


def test_a_replay_is_proposed_with_its_price_where_the_log_holds_the_prompts() -> None:
    advice = recommend(evidence(refused="no support", replayable=3000, usd_per_prompt=0.01))
    assert (
        advice.sentence
        == "The log can't tell: no support. Replay 200 prompts for about $2.00, then compare again."
    )
    assert advice.next == (
        "pointsman replay 'my calls.parquet' --router models/r --purpose judge --out replayed.jsonl "
        "--most 200 --budget 4.00"
    )


def test_more_outcomes_are_wanted_where_the_log_has_no_prompts_to_replay() -> None:
    assert "Collect about" in recommend(evidence("open")).sentence


def test_no_number_of_prompts_settles_anything_between_routers_of_the_same_choices() -> None:
    nothing = between(0.0, 0.0)
    today = ChangeAgainst(against="models:/s/1", success=nothing, cost=nothing)
    same = replace(evidence("open", "open", "open"), today=today)
    advice = recommend(same)
    assert advice.sentence.startswith("The log can't tell: the router makes the same choices as models:/s/1.")
    assert advice.next.startswith("pointsman compare")


def test_unknown_costs_ask_for_prices_and_not_for_outcomes() -> None:
    advice = recommend(replace(evidence("open"), today=replace(evidence("open").today, cost=UNKNOWN)))
    assert "the costs are not known. Give the models prices in pointsman.yaml" in advice.sentence
    assert advice.next.endswith("--config pointsman.yaml")


def test_a_router_of_one_model_that_shows_no_gain_is_no_reason_to_switch() -> None:
    same = replace(evidence("open"), one_model="small", mix_gain=between(0.1, 0.2))
    today = ChangeAgainst(against="x", success=between(-0.03, 0.03), cost=between(-1e-4, 1e-4))
    assert recommend(replace(same, today=today)).sentence.startswith("Do without a router: this one sends")
    better = replace(today, success=between(0.01, 0.03))
    assert recommend(replace(same, today=better)).sentence.startswith("Send all requests to small: the")


def test_a_model_is_not_to_be_compared_with_itself_once_more() -> None:
    nothing = Interval(value=0.0, low=0.0, high=0.0, above=0.5)
    same = ChangeAgainst(against="x", success=nothing, cost=nothing, usd_per_call=0.01)
    advice = recommend(replace(evidence("open"), one_model="small", today=same))
    assert (advice.code, advice.next.split()[:2]) == ("one_model", ["pointsman", "inspect"])
    assert advice.sentence == "Do without a router: this one sends all requests to small, as x does."


@pytest.mark.parametrize(("usd", "words"), [(0.0424, "(+424 %)"), (1.17, "(118x)"), (-0.005, "(-50 %)")])
def test_ten_times_the_cost_and_more_is_a_factor(usd: float, words: str) -> None:
    assert words in cost_words(between(usd - 1e-4, usd + 1e-4), 0.01)


def test_value_and_interval_carry_their_signs() -> None:
    assert success_words(between(-0.13, 0.097)) == "success -1.7 points [-13.0, +9.7]: not shown to differ"
    change = ChangeAgainst(
        against="x", success=between(0.01, 0.03), cost=between(-0.003, -0.001), usd_per_call=0.004
    )
    assert words_of(change) == (
        "success +2.0 points [+1.0, +3.0]: more successful; "
        "cost -$2.00 per 1,000 (-50 %) [-$3.00, -$1.00]: cheaper"
    )


def test_a_loss_that_counts_as_none_is_told_from_one_that_may_be_larger() -> None:
    assert success_words(between(-0.009, 0.02)).endswith(
        "not shown to differ, at most 1 point less successful"
    )
    assert success_words(between(-0.02, 0.02)).endswith("not shown to differ")
    assert cost_words(between(-0.001, 0.0001), 0.004).endswith("not shown to differ, at most 5 % dearer")
    assert cost_words(between(-0.001, 0.001), 0.004).endswith("not shown to differ")


def test_unknown_differences_have_no_bounds() -> None:
    assert success_words(UNKNOWN) == "success unknown"
    assert cost_words(UNKNOWN) == "costs are unknown"
    assert success_words(replace(UNKNOWN, value=0.01)) == "success +1.0 points: unknown"


def test_one_look_of_many_is_corrected() -> None:
    assert success_words(between(0.01, 0.03), 0.2).endswith("once corrected for the number of comparisons")
    assert cost_words(between(0.01, 0.03), math.nan, 0.01).endswith(": dearer")


def test_a_log_that_can_not_tell_lacks_outcomes_of_each_model_held_out() -> None:
    open_log = replace(evidence(refused="too thin"), known=(150, 20, 300))
    assert "Collect about 230 more known outcomes, then" in recommend(open_log).sentence
    assert (outcomes_missing((150, 20, 300)), outcomes_missing((13.5, 9, 16.1))) == (230, 570)
    assert (outcomes_missing((199.5,)), outcomes_missing((200, 300))) == (1, 0)
