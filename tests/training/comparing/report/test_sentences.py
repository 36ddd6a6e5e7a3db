from __future__ import annotations

import math
import re

import numpy as np
import pytest

from router.records import IntArray
from tests.training.comparing.comparisons import evaluated, knowing
from training.comparing.comparison import Draws, compare_evaluated
from training.comparing.evaluated import Claim, Difference
from training.comparing.policies.baselines import ALL_CHEAP, BEST_SINGLE, SHUFFLE
from training.comparing.report.sentences import ORDER, classify, headline, points, share, share_of
from training.statistics.intervals import UNKNOWN, Interval


def of(low: float, high: float, p_adjusted: float = 0.001) -> Difference:
    interval = Interval(value=(low + high) / 2, low=low, high=high, above=0.5)
    return Difference(interval=interval, p_value=0.001, p_adjusted=p_adjusted, calls_to_settle=None)


UNTOLD = Difference(interval=UNKNOWN, p_value=math.nan, p_adjusted=math.nan, calls_to_settle=None)


def told(choice: IntArray, **options: object) -> dict[str, Claim]:
    found = compare_evaluated(evaluated(choice, **options), draws=Draws(number=200))  # type: ignore[arg-type]
    return {verdict.against: verdict for verdict in found.verdict}


@pytest.mark.parametrize(
    ("success", "cost", "outcome"),
    [
        pytest.param(of(0.01, 0.03), of(0.3, 0.5), "win", id="better and cheaper"),
        pytest.param(of(-0.005, 0.02), of(0.3, 0.5), "win", id="cheaper, no worse than the margin"),
        pytest.param(of(-0.02, 0.02), of(0.3, 0.5), "undecided", id="cheaper, perhaps worse"),
        pytest.param(of(0.01, 0.03), of(0.9, 1.04), "win", id="better, hardly dearer"),
        pytest.param(of(0.01, 0.03), of(0.9, 1.2), "undecided", id="better, perhaps dearer"),
        pytest.param(of(0.01, 0.03), of(1.1, 1.2), "trade-off", id="better and dearer"),
        pytest.param(of(-0.03, -0.01), of(0.3, 0.5), "trade-off", id="worse and cheaper"),
        pytest.param(of(-0.03, -0.01), of(0.9, 1.1), "loss", id="worse, no cheaper"),
        pytest.param(of(-0.01, 0.01), of(1.1, 1.2), "loss", id="dearer, no better"),
        pytest.param(of(-0.01, 0.01), of(0.9, 1.1), "undecided", id="nothing shown"),
        pytest.param(of(0.01, 0.03), UNTOLD, "win", id="better, costs unknown"),
        pytest.param(of(-0.03, -0.01), UNTOLD, "loss", id="worse, costs unknown"),
        pytest.param(of(0.01, 0.03, 0.2), of(0.9, 1.04), "undecided", id="better by one look of many"),
        pytest.param(UNTOLD, UNTOLD, "undecided", id="nothing known"),
    ],
)
def test_an_outcome_is_claimed_only_as_far_as_the_intervals_go(
    success: Difference, cost: Difference, outcome: str
) -> None:
    assert classify(success, cost) == outcome


def test_a_router_that_knows_beats_the_best_single_model() -> None:
    verdict = told(knowing())[BEST_SINGLE]
    assert verdict.outcome == "win"
    assert verdict.text.startswith(
        "Against best single, all-strong and mean per task type (large), which runs today: "
        "success +10.0 points ["
    )
    assert "]: more successful; cost -$4.50 per 1,000 (-45 %) [" in verdict.text
    assert (verdict.success, verdict.cost) == ("more successful", "cheaper")


def test_a_router_that_pays_for_nothing_loses_to_all_cheap() -> None:
    # Large exactly where small succeeds as well: dearer, and hardly better.
    n = 400
    verdict = told(np.where(np.arange(n) % 10 == 2, 1, 0))[ALL_CHEAP]
    assert verdict.outcome == "loss"
    assert verdict.text.startswith("Against all-cheap")
    assert (verdict.success, verdict.cost) == ("not shown to differ", "dearer")


def test_a_random_router_is_not_said_to_know_the_prompts() -> None:
    choice = np.random.default_rng(0).integers(0, 2, 400)
    assert told(choice)[SHUFFLE].outcome != "win"
    assert told(knowing())[SHUFFLE].text.startswith("It knows which prompt needs which model")


def test_a_router_of_one_model_is_said_to_be_that_model() -> None:
    found = told(np.zeros(100, dtype=np.int64))
    assert "makes the same choices as all-cheap" in found[ALL_CHEAP].text
    assert "no choice to judge" in found[SHUFFLE].text


def test_losses_come_first() -> None:
    choice = np.random.default_rng(0).integers(0, 2, 400)
    outcomes = [ORDER.index(verdict.outcome) for verdict in told(choice).values()]
    assert outcomes == sorted(outcomes)


def test_a_slice_on_which_it_is_worse_is_named() -> None:
    choice = np.where(np.arange(400) % 4 == 1, 0, 1)
    verdict = told(choice)["best single by slice"]
    assert "it succeeds less often than best single" in verdict.text
    assert "task type odd (-100.0 points" in verdict.text


def test_nothing_is_decided_from_few_prompts() -> None:
    assert {verdict.outcome for verdict in told(knowing(20)).values()} == {"undecided"}


def test_without_costs_success_alone_decides() -> None:
    found = told(knowing(), known_costs=False)
    assert "costs are unknown" in found[ALL_CHEAP].text
    assert found[ALL_CHEAP].outcome == "win"


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        pytest.param(0.002, -0.009, 0.011, "+0.2 points [-0.9, +1.1]", id="better"),
        pytest.param(-0.03, -0.04, -0.02, "-3.0 points [-4.0, -2.0]", id="worse"),
        pytest.param(0.01, math.nan, math.nan, "+1.0 points", id="no bounds"),
    ],
)
def test_a_difference_reads_as_points(value: float, low: float, high: float, text: str) -> None:
    assert points(Interval(value=value, low=low, high=high, above=0.5)) == text


def test_a_ratio_reads_as_per_cent() -> None:
    assert share(Interval(value=0.38, low=0.3, high=0.47, above=0)) == "38 % [30, 47]"
    assert share(Interval(value=0.9, low=0.8, high=math.inf, above=0)) == "90 % [80, no limit]"
    assert share(Interval(value=0.0123, low=math.nan, high=math.nan, above=0)) == "1.2 %"


def test_a_large_ratio_is_a_factor_as_in_the_tables() -> None:
    ratio = Interval(value=10.48, low=8.7, high=13.2, above=1)
    assert share(ratio) == "10x [8.7, 13]"
    assert share_of(ratio, "its cost") == "10x [8.7, 13] its cost"
    half = Interval(value=0.5, low=0.4, high=0.6, above=0)
    assert share_of(half, "its cost") == "50 % [40, 60] of its cost"


def test_the_headline_counts_losses_first() -> None:
    claims = [
        Claim(outcome="win", against="", text="", success=success, cost=cost)
        for success, cost in (("more successful", "cheaper"), ("less successful", "cheaper"), ("", ""))
    ]
    assert headline(claims) == (
        "Of 2 other policies, the router is shown to be less successful than 1, dearer than none, "
        "more successful than 1 and cheaper than 2."
    )
    assert headline(claims[2:]) == "This log can't compare the router with any other policy."


@pytest.mark.parametrize("known_costs", [True, False])
@pytest.mark.parametrize("n", [20, 400])
def test_every_verdict_follows_from_the_two_intervals_in_its_sentence(n: int, known_costs: bool) -> None:
    """What a reader makes of the numbers in brackets is what the words say."""
    for seed in range(2):
        choice = np.random.default_rng(seed).integers(0, 2, n)
        for claim in told(choice, known_costs=known_costs).values():
            for what, more, less in (
                ("success", "more successful", "less successful"),
                ("cost", "dearer", "cheaper"),
            ):
                found = re.search(what + r" ([+-]?)[$\d].*?\[([^,\]]+), ([^\]]+)\]: ([^;.(]*)", claim.text)
                if found is None:
                    continue
                low, high = (float(end.replace("$", "").replace(",", "")) for end in found.groups()[1:3])
                word = found[4].strip()
                if word == more:
                    assert low > 0
                elif word == less:
                    assert high < 0
                else:
                    assert word.startswith("not shown to differ")
                    assert low <= 0 <= high or "corrected" in word
