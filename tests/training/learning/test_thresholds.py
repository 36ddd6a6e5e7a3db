from __future__ import annotations

import numpy as np
import pytest

from router.deciding.policy import choose
from router.errors import TrainingError
from router.records import FloatArray, IntArray
from router.settings.sections import Fallback, Objective
from training.learning.thresholds import (
    LEAST_FULL,
    MANY_FULL,
    Backtest,
    choose_weight,
    cost_at_best,
    decision_value,
    guarantee_of,
    least_confidence,
    least_familiarity,
    refuse_unsafe,
    success_by_confidence,
)
from training.statistics.policy_curves import picked

WEIGHTS = (0.0, *np.geomspace(1.0, 1e4, 200).tolist())
CASES = [pytest.param(seed, id=f"case {seed}") for seed in range(8)]


def backtest(seed: int = 0, n: int = 30, models: int = 3) -> Backtest:
    """Forecasts that say something, on dear models that are better."""
    random = np.random.default_rng(seed)
    probability = np.clip(random.normal([0.5, 0.65, 0.8][:models], 0.2, (n, models)), 0.01, 0.99)
    cost = random.uniform(0.5, 1.5, (n, models)) * [0.001, 0.004, 0.01][:models]
    success = (random.random((n, models)) < probability).astype(np.float64)
    return Backtest.of(probability, cost, success, cost * random.uniform(0.8, 1.2, cost.shape))


def at(case: Backtest, weight: float) -> tuple[float, float]:
    """Mean success and mean cost of the policy at one weight."""
    choice = choose(case.probability, case.expected_cost, weight)
    return float(picked(case.success, choice).mean()), float(picked(case.cost, choice).mean())


def every_policy(case: Backtest) -> list[tuple[float, float]]:
    """Mean success and cost at 0, between all weights at which any two models draw level, and beyond."""
    p, c = case.probability, case.expected_cost
    with np.errstate(divide="ignore", invalid="ignore"):
        level = (p[:, :, None] - p[:, None, :]) / (c[:, :, None] - c[:, None, :])
    edges = np.unique(np.append(level[np.isfinite(level) & (level > 0)], 0.0))
    weights = [*(edges[:-1] + edges[1:]) / 2, edges[-1] * 2]
    return [at(case, float(weight)) for weight in weights]


@pytest.mark.parametrize("seed", CASES)
def test_the_default_objective_costs_least_at_the_best_single_models_success(seed: int) -> None:
    case = backtest(seed)
    target = case.success.mean(axis=0).max()
    reach = [cost for success, cost in every_policy(case) if success >= target - 1e-12]
    success, cost = at(case, choose_weight(case, Objective()))
    if reach:
        assert success >= target - 1e-12
        assert cost == pytest.approx(min(reach))
    else:
        assert success == pytest.approx(max(rate for rate, _ in every_policy(case)))


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize("quality", [pytest.param(0.6, id="within reach"), pytest.param(1.0, id="beyond")])
def test_a_quality_target_is_met_at_the_least_cost_or_approached(seed: int, quality: float) -> None:
    case = backtest(seed)
    reach = [cost for success, cost in every_policy(case) if success >= quality - 1e-12]
    success, cost = at(case, choose_weight(case, Objective(kind="quality", quality=quality)))
    if reach:
        assert success >= quality - 1e-12
        assert cost == pytest.approx(min(reach))
    else:
        assert success == pytest.approx(max(rate for rate, _ in every_policy(case)))


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize("usd", [pytest.param(0.004, id="within reach"), pytest.param(1e-6, id="too small")])
def test_a_budget_buys_the_most_success_or_is_missed_by_the_least(seed: int, usd: float) -> None:
    case = backtest(seed)
    reach = [success for success, cost in every_policy(case) if cost <= usd]
    success, cost = at(case, choose_weight(case, Objective(kind="budget", usd_per_call=usd)))
    if reach:
        assert success == pytest.approx(max(reach))
        assert cost <= usd
    else:
        assert cost == pytest.approx(min(usd for _, usd in every_policy(case)), rel=0.02)


def test_a_budget_that_pays_for_everything_ignores_cost() -> None:
    case = backtest()
    weight = choose_weight(case, Objective(kind="budget", usd_per_call=1.0))
    assert at(case, weight)[0] == pytest.approx(max(success for success, _ in every_policy(case)))


def test_a_pace_alone_starts_where_the_best_single_models_success_costs_least() -> None:
    case = backtest()
    paced = choose_weight(case, Objective(kind="budget", usd_per_day=1.0))
    assert paced == choose_weight(case, Objective())


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize("caution", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("quality", [None, 0.6])
def test_success_clears_its_target_by_the_standard_errors_of_caution_at_the_least_cost(
    seed: int, caution: float, quality: float | None
) -> None:
    case = backtest(seed, n=40)
    aim = case.success[:, case.best_single] if quality is None else np.full(len(case), quality)

    def above(weight: float) -> float:
        gap = picked(case.success, case.choice(weight)) - aim
        return float(gap.mean() - caution * gap.std() / np.sqrt(len(gap)))

    target = {} if quality is None else {"kind": "quality", "quality": quality}
    weight = choose_weight(case, Objective.model_validate({**target, "caution": caution}))
    bounds = {at(case, one)[1]: above(one) for one in WEIGHTS}
    reach = [cost for cost, bound in bounds.items() if bound >= -1e-9]
    if reach:
        assert above(weight) >= -1e-9
        assert at(case, weight)[1] <= min(reach) + 1e-12
    else:
        assert above(weight) >= max(bounds.values()) - 1e-9


def test_without_costs_any_weight_chooses_alike() -> None:
    case = backtest()
    free = Backtest.of(
        case.probability, np.full_like(case.cost, np.nan), case.success, np.full_like(case.cost, np.nan)
    )
    assert at(free, choose_weight(free, Objective())) == at(free, 0.0)


def rules(case: Backtest, model: int) -> IntArray:
    return np.full(len(case), model, dtype=np.int64)


def kept_by(case: Backtest, weight: float, threshold: float) -> FloatArray:
    """The policy's success on the prompts that it does not hand over."""
    choice = choose(case.probability, case.expected_cost, weight)
    return picked(case.success, choice)[picked(case.probability, choice) >= threshold]


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize("digits", [pytest.param(9, id="distinct"), pytest.param(1, id="many ties")])
def test_max_risk_bounds_the_failures_among_the_prompts_that_are_kept(seed: int, digits: int) -> None:
    case = rounded(backtest(seed, n=200), digits)
    threshold = least_confidence(case, 10.0, rules(case, 2), Fallback(max_risk=0.2))
    kept = kept_by(case, 10.0, threshold)
    assert not len(kept) or 1 - kept.mean() <= 0.2 + 1e-12


def rounded(case: Backtest, digits: int) -> Backtest:
    return Backtest.of(np.round(case.probability, digits), case.expected_cost, case.success, case.cost)


@pytest.mark.parametrize("seed", CASES)
def test_max_risk_keeps_as_many_prompts_as_it_may(seed: int) -> None:
    case = backtest(seed, n=100)
    threshold = least_confidence(case, 10.0, rules(case, 2), Fallback(max_risk=0.2))
    choice = choose(case.probability, case.expected_cost, 10.0)
    lower = [t for t in picked(case.probability, choice) if t < threshold]
    assert all(1 - kept_by(case, 10.0, t).mean() > 0.2 for t in lower)


def test_a_risk_that_nothing_meets_hands_everything_over() -> None:
    case = backtest(n=50)
    failing = Backtest.of(case.probability, case.cost, np.zeros_like(case.success), case.cost)
    assert least_confidence(failing, 1.0, rules(case, 0), Fallback(max_risk=0.1)) == 1.0


def test_a_risk_that_everything_meets_hands_nothing_over() -> None:
    case = backtest(n=50)
    threshold = least_confidence(case, 1.0, rules(case, 0), Fallback(max_risk=1.0))
    assert len(kept_by(case, 1.0, threshold)) == len(success_by_confidence(case, 1.0)) == 50


@pytest.mark.parametrize("seed", CASES)
def test_a_policy_that_beats_the_rules_everywhere_never_steps_aside(seed: int) -> None:
    case = backtest(seed, n=300)
    knowing = Backtest.of(0.1 + 0.8 * case.success, case.expected_cost, case.success, case.cost)
    assert least_confidence(knowing, 10.0, rules(case, 2), Fallback()) == 0.0


def test_rules_that_are_right_where_confidence_is_low_take_those_prompts() -> None:
    row = np.arange(400)
    unsure = row % 4 == 0
    probability = np.where(unsure[:, None], [0.45, 0.4], [0.95, 0.9])
    success = np.where(unsure[:, None], [0.0, 1.0], [1.0, 1.0])
    case = Backtest.of(
        probability, np.tile([0.001, 0.002], (400, 1)), success, np.tile([0.001, 0.002], (400, 1))
    )
    threshold = least_confidence(case, 1.0, rules(case, 1), Fallback())
    assert 0.45 < threshold <= 0.95


def test_rules_that_are_right_everywhere_take_every_prompt() -> None:
    probability = np.linspace([0.3, 0.1], [0.9, 0.2], 400)
    cost = np.tile([0.001, 0.002], (400, 1))
    case = Backtest.of(probability, cost, np.tile([0.0, 1.0], (400, 1)), cost)
    threshold = least_confidence(case, 1.0, rules(case, 1), Fallback())
    assert not len(kept_by(case, 1.0, threshold))


def alike(success: list[list[float]]) -> Backtest:
    """Prompts that all look the same to the policy: it takes the first model with confidence 0.6."""
    rows = len(success)
    cost = np.tile([0.001, 0.002], (rows, 1))
    return Backtest.of(np.tile([0.6, 0.3], (rows, 1)), cost, np.array(success), cost)


def test_prompts_of_equal_confidence_are_kept_or_handed_over_together() -> None:
    case = alike([[1.0, 1.0]] * 40 + [[0.0, 1.0]] * 60)
    assert least_confidence(case, 1.0, rules(case, 1), Fallback(max_risk=0.2)) == 1.0
    assert least_confidence(case, 1.0, rules(case, 1), Fallback()) == 1.0


def test_a_gain_within_one_standard_error_is_no_reason_to_step_aside() -> None:
    case = backtest(n=400)
    success = np.tile([0.0, 0.0, 0.0], (400, 1))
    success[0] = [0.0, 0.0, 1.0]
    lucky = Backtest.of(case.probability, case.cost * 0, success, case.cost * 0)
    assert least_confidence(lucky, 0.0, rules(case, 2), Fallback()) == 0.0


def test_a_confidence_that_the_team_fixed_is_taken_as_it_is() -> None:
    case = backtest()
    assert least_confidence(case, 1.0, rules(case, 0), Fallback(confidence=0.35)) == 0.35


def test_success_is_kept_in_the_order_of_falling_confidence() -> None:
    case = backtest(n=100)
    choice = choose(case.probability, case.expected_cost, 1.0)
    order = np.argsort(-picked(case.probability, choice), kind="stable")
    np.testing.assert_array_equal(success_by_confidence(case, 1.0), picked(case.success, choice)[order])


def test_the_unfamiliar_share_is_the_share_of_training_prompts_below_the_threshold() -> None:
    familiarity = np.random.default_rng(1).random(10_000)
    assert (familiarity < least_familiarity(familiarity, 0.02)).mean() == pytest.approx(0.02, abs=0.001)


def test_an_unfamiliar_share_of_zero_trusts_every_prompt() -> None:
    assert least_familiarity(np.array([-0.9, 0.5]), 0.0) == -1.0


def with_unknown(full: int, partial: int, *, fair: bool = True, guaranteed: bool = False) -> Backtest:
    """Prompts with every outcome, then prompts on which the second model's is unknown."""
    probability = np.full((full + partial, 2), 0.7)
    success = np.ones_like(probability)
    success[full:, 1] = np.nan
    cost = np.full_like(probability, 0.001)
    return Backtest.of(probability, cost, success, cost, fair=fair, guaranteed=guaranteed)


def test_unknown_outcomes_are_filled_in_when_full_rows_are_few() -> None:
    case = with_unknown(LEAST_FULL - 1, 50)
    assert len(case) == LEAST_FULL + 49
    assert case.filled == pytest.approx(50 / (2 * len(case)))
    np.testing.assert_array_equal(case.success[~case.known], case.probability[~case.known])


def test_with_enough_full_rows_only_they_judge() -> None:
    case = with_unknown(LEAST_FULL, 50)
    np.testing.assert_array_equal(case.rows, np.arange(LEAST_FULL))
    assert case.filled == 0.0


def test_a_minority_of_full_rows_judges_only_where_it_is_large() -> None:
    assert len(with_unknown(LEAST_FULL, LEAST_FULL + 1)) == 2 * LEAST_FULL + 1
    assert len(with_unknown(MANY_FULL, MANY_FULL + 1)) == MANY_FULL


def test_full_rows_unlike_the_others_do_not_judge_alone_and_those_of_a_guarantee_do() -> None:
    assert len(with_unknown(LEAST_FULL, 50, fair=False)) == LEAST_FULL + 50
    assert len(with_unknown(LEAST_FULL, 1000, guaranteed=True)) == LEAST_FULL


def test_rows_without_any_outcome_never_judge() -> None:
    case = Backtest.of(*(np.full((3, 2), value) for value in (0.5, 0.1, np.nan, 0.1)))
    assert len(case) == 0


def test_an_unknown_cost_is_the_expected_one() -> None:
    case = Backtest.of(
        np.full((1, 2), 0.5), np.array([[0.1, 0.2]]), np.ones((1, 2)), np.array([[np.nan, 0.3]])
    )
    assert case.cost.tolist() == [[0.1, 0.3]]


def test_the_best_single_model_is_the_cheaper_of_equals() -> None:
    cost = np.tile([0.2, 0.1], (4, 1))
    assert Backtest.of(np.full((4, 2), 0.5), cost, np.ones((4, 2)), cost).best_single == 1


def test_cost_at_best_of_a_perfect_forecast_is_below_the_best_single_models() -> None:
    case = backtest(n=300)
    knowing = Backtest.of(0.1 + 0.8 * case.success, case.expected_cost, case.success, case.cost)
    assert cost_at_best(knowing) < cost_at_best(case) < 1.5


def test_better_forecasts_have_a_higher_decision_value() -> None:
    case = backtest(n=300)
    knowing = Backtest.of(0.1 + 0.8 * case.success, case.expected_cost, case.success, case.cost)
    blind = Backtest.of(np.full_like(case.probability, 0.5), case.expected_cost, case.success, case.cost)
    assert decision_value(blind).mean() < decision_value(case).mean() < decision_value(knowing).mean()


def test_without_costs_the_decision_value_falls_with_the_forecasts_error() -> None:
    case = backtest()
    free = np.zeros_like(case.cost)
    right, wrong = (Backtest.of(p, free, case.success, free) for p in (case.success, 1 - case.success))
    assert decision_value(right).mean() == 0.0
    assert decision_value(wrong).mean() == -1.0


def test_an_objective_without_a_largest_loss_guarantees_nothing() -> None:
    case = backtest(n=300)
    assert guarantee_of(case, Objective(), np.arange(300), np.ones(300)) is None
    refuse_unsafe(None)


def test_a_guaranteed_weight_keeps_the_loss_on_the_calibration_prompts_well_within_it() -> None:
    case = backtest(n=600)
    guarantee = guarantee_of(case, Objective(max_quality_loss=0.1), np.arange(600), np.ones(600))
    assert guarantee is not None
    assert guarantee.weight is not None
    loss = case.success.mean(axis=0).max() - at(case, guarantee.weight)[0]
    assert loss < guarantee.bound <= 0.1
    refuse_unsafe(guarantee)


def test_filled_in_outcomes_can_guarantee_nothing() -> None:
    case = with_unknown(LEAST_FULL - 1, 50)
    with pytest.raises(
        TrainingError, match=r"while 10.0 % of the outcomes are unknown; log every model's outcome"
    ):
        guarantee_of(case, Objective(max_quality_loss=0.1), np.arange(len(case)), np.ones(len(case)))


def test_a_guarantee_that_cannot_be_shown_is_refused_with_what_can_be() -> None:
    guarantee = guarantee_of(backtest(n=30), Objective(max_quality_loss=0.01), np.arange(30), np.ones(30))
    assert guarantee is not None
    with pytest.raises(TrainingError, match=rf"30 prompts .* \(at weight 0: at most {guarantee.bound:.3g}\)"):
        refuse_unsafe(guarantee)
