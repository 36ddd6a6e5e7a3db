from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from router.errors import CallLogError
from tests.training.comparing.comparisons import evaluated, knowing
from training.comparing.comparison import Draws, compare_evaluated
from training.comparing.evaluated import Comparison, Contender, PolicyResult
from training.comparing.measuring.contenders import LEARNED
from training.comparing.policies.baselines import ALL_CHEAP, BEST_SINGLE, HEURISTIC, ORACLE, SHUFFLE

DRAWS = Draws(number=200)


def compared(choice: np.ndarray[tuple[int], np.dtype[np.int64]], **options: object) -> Comparison:
    return compare_evaluated(evaluated(choice, **options), draws=DRAWS)  # type: ignore[arg-type]


def policy(comparison: Comparison, name: str) -> PolicyResult:
    return next(one for one in comparison.policies if one.name == name)


def test_every_policy_has_its_mean_success_and_cost() -> None:
    found = compared(knowing())
    assert found.router.success.value == pytest.approx(1.0)
    assert found.router.cost_usd_per_call.value == pytest.approx(0.0055)
    assert policy(found, BEST_SINGLE).success.value == pytest.approx(0.9)
    assert policy(found, ALL_CHEAP).cost_relative_to_best_single.value == pytest.approx(0.1)


def test_the_difference_is_the_router_s_less_the_baseline_s() -> None:
    result = policy(compared(knowing()), ALL_CHEAP)
    assert result.success_difference.interval.value == pytest.approx(0.5)
    assert result.cost_ratio.interval.value == pytest.approx(5.5)
    assert result.cost_difference.value == pytest.approx(0.0045)
    assert 0.4 < result.success_difference.interval.low < 0.5 < result.success_difference.interval.high < 0.6


def test_the_shuffle_keeps_the_router_s_shares_and_loses_its_knowledge() -> None:
    found = compared(knowing())
    assert policy(found, SHUFFLE).shares == found.router.shares
    assert policy(found, SHUFFLE).success.value == pytest.approx(0.5 * 0.5 + 0.5 * 0.9)


def test_policies_of_the_same_choices_know_each_other() -> None:
    found = compared(np.zeros(60, dtype=np.int64))
    assert policy(found, ALL_CHEAP).same_as_router
    assert HEURISTIC in policy(found, ALL_CHEAP).aliases
    assert not policy(found, BEST_SINGLE).same_as_router


def test_the_sweep_reaches_the_best_model_s_success_at_the_share_of_its_cost() -> None:
    # Large on four prompts of ten would do, but prompts of one probability switch together: five of ten.
    curve = compared(knowing()).curves[0]
    assert curve.name == LEARNED
    assert curve.cost_at_best.value == pytest.approx(0.55)


def test_a_baseline_is_compared_on_the_prompts_that_it_can_choose_for() -> None:
    case = evaluated(knowing(100))
    logged = np.where(np.arange(100) < 40, 1, -1)
    choices = {**case.baselines.choices, "logged policy": logged, "mute": np.full(100, -1)}
    found = compare_evaluated(replace(case, baselines=replace(case.baselines, choices=choices)), draws=DRAWS)
    result = policy(found, "logged policy")
    assert result.prompts == 40
    assert result.success_difference.interval.value == pytest.approx(0.1)
    assert "mute" in found.warnings[-1]


def test_unknown_costs_leave_the_comparison_of_success() -> None:
    found = compared(knowing(), known_costs=False)
    assert not found.costs_known
    assert found.curves == ()
    assert np.isnan(policy(found, BEST_SINGLE).cost_ratio.interval.value)
    assert policy(found, BEST_SINGLE).success_difference.interval.value == pytest.approx(0.1)
    assert "costs are left out" in found.warnings[0]


@pytest.mark.parametrize("n", [pytest.param(1, id="one prompt"), pytest.param(12, id="twelve prompts")])
def test_few_prompts_are_compared_with_a_warning(n: int) -> None:
    found = compared(np.zeros(n, dtype=np.int64))
    assert found.prompts == n
    assert found.warnings[0].startswith("Few prompts")


def test_one_model_is_compared_with_a_warning() -> None:
    found = compared(np.zeros(50, dtype=np.int64), models=("small",))
    assert found.best_single == "small"
    assert "nothing can be routed" in found.warnings[0]


def test_a_single_group_has_no_bounds() -> None:
    case = replace(evaluated(knowing(50)), clusters=np.zeros(50, dtype=np.int64))
    assert np.isnan(compare_evaluated(case, draws=DRAWS).router.success.low)


def test_slices_show_the_router_against_what_runs_today() -> None:
    found = [one for one in compared(knowing()).slices if one.dimension == "task type"]
    assert [one.name for one in found] == ["even", "odd"]
    assert sum(one.prompts for one in found) == 400
    assert found[1].success_difference.interval.value == pytest.approx(0)
    assert found[0].rule_share == pytest.approx(1 / 3)


def test_what_runs_today_is_the_best_single_model_unless_somebody_says() -> None:
    case = evaluated(knowing())
    assert compare_evaluated(case, draws=DRAWS).change.today == BEST_SINGLE
    change = compare_evaluated(case, draws=DRAWS, today=ALL_CHEAP).change
    assert change.failures_per_1000.value == pytest.approx(-500)
    assert change.usd_per_1000.value == pytest.approx(4.5)


def test_a_policy_of_today_that_nobody_knows_is_refused_with_those_there_are() -> None:
    with pytest.raises(CallLogError, match="no policy is named 'rumour'; --today takes one of: best single"):
        compare_evaluated(evaluated(knowing(60)), draws=DRAWS, today="rumour")


def test_the_family_of_the_correction_counts_each_policy_once() -> None:
    found = compared(knowing())
    assert found.looked_at["policies"] == 3  # large, small, the shuffle: the others are like one
    assert policy(found, ALL_CHEAP).success_difference.p_adjusted < 0.001


def test_the_router_never_regrets_more_than_the_oracle_allows() -> None:
    found = compared(knowing())
    assert found.router.regret.value == pytest.approx(0)
    assert policy(found, ALL_CHEAP).regret.value == pytest.approx(0.5)
    assert policy(found, ORACLE).regret.value == pytest.approx(0)


def test_quality_at_equal_cost_is_read_off_the_sweep() -> None:
    found = compared(knowing())
    assert found.quality_at_equal_cost.value == pytest.approx(0.1)
    assert policy(found, ALL_CHEAP).quality_at_equal_cost.value == pytest.approx(0.0)


def test_a_policy_that_mixes_models_gets_their_mean() -> None:
    mixed = Contender(name="coin", kind="baseline", shares=np.full((400, 2), 0.5))
    found = policy(compared(knowing(), others=[mixed]), "coin")
    assert found.success.value == pytest.approx(0.7)
    assert found.shares == {"small": 0.5, "large": 0.5}


def test_ranking_is_there_for_two_models_and_more() -> None:
    assert compared(np.zeros(50, dtype=np.int64), models=("small",)).ranking is None
    ranking = compared(knowing()).ranking
    assert ranking is not None
    assert ranking.apgr.value > 0.5


def test_shares_of_sources_and_calibration_are_those_of_the_final_choice() -> None:
    found = compared(knowing())
    assert found.sources == {"rule": 0.25, "learned": 0.75}
    assert found.calibration.expected_calibration_error == pytest.approx(0.1)
    assert found.calibration.brier == pytest.approx(0.01)


def test_no_prompt_at_all_is_refused_with_the_reasons() -> None:
    with pytest.raises(CallLogError, match="12 seen in training"):
        replace(evaluated(knowing(40)), keys=[])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"success": np.full((40, 2), np.nan)}, "success must be known", id="unknown outcome"),
        pytest.param({"choice": np.full(40, 2)}, "choice must name a column, 0 to 1", id="no such model"),
        pytest.param({"cost": np.ones((40, 3))}, r"cost has shape \(40, 3\)", id="other models"),
        pytest.param({"source": ["rule"]}, "source has 1 rows, expected 40", id="rows missing"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(evaluated(knowing(40)), **change)  # type: ignore[arg-type]


def test_the_json_is_plain() -> None:
    content = compared(knowing(80)).to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["format"] == 2
    assert list(content["router"]["success"]) == ["value", "ci_low", "ci_high", "above"]


def test_the_same_seed_gives_the_same_report() -> None:
    assert compared(knowing(80)).to_json() == compared(knowing(80)).to_json()
