from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.errors import TrainingError
from router.forecasting.features import FeatureSpec
from router.forecasting.head import Kind
from router.models.prices import ModelPrice
from router.records import FloatArray
from router.settings.sections import Config, Objective, Rules, Training
from tests.training.learning.test_heads import features_of, true_chance
from tests.training.logs import made_table
from training.learning.fitting import Fitted, fit, steps, strongest_within_error
from training.learning.material import Material
from training.prompts.labels import cheapest_success
from training.prompts.split import Split, split_groups
from training.prompts.table import PromptTable

PROMPTS = 260


def table_of(outcome: FloatArray) -> PromptTable:
    cost = np.random.default_rng(7).uniform(0.5, 1.5, outcome.shape) * [0.001, 0.004, 0.01]
    table = made_table(outcome.tolist(), cost.tolist())
    count = np.full(outcome.shape, 50.0)
    return replace(table, input_tokens=count, output_tokens=count)


def material_of(estimator: str = "auto", seed: int = 0) -> Material:
    """Three models with prices, on prompts that say something about who can answer."""
    features = features_of(np.arange(PROMPTS) % 2, seed)
    random = np.random.default_rng(seed + 1)
    outcome = (random.random((PROMPTS, 3)) < true_chance(features)).astype(np.float64)
    return material_with(outcome, estimator, seed)


def material_with(outcome: FloatArray, estimator: str, seed: int = 0, rules: Rules | None = None) -> Material:
    table = table_of(outcome)
    per_call = dict(zip(table.models, (0.001, 0.004, 0.01), strict=True))
    return Material(
        table=table,
        spec=FeatureSpec(task_types=("one", "two"), tags=(), gram_dimensions=6),
        features=features_of(np.arange(PROMPTS) % 2, seed),
        label=cheapest_success(table).label,
        prices={
            model: ModelPrice(per_input_token=0.0, per_output_token=0.0, per_call=cost, source="log")
            for model, cost in per_call.items()
        },
        logged={},
        config=Config(training=Training.model_validate({"estimator": estimator}), rules=rules or Rules()),
    )


def split_of(test_share: float = 0.2) -> Split:
    unknown = np.full(PROMPTS, np.nan)
    return split_groups(np.arange(PROMPTS), unknown, validation_share=0.2, test_share=test_share, seed=0)


@pytest.fixture(scope="module")
def auto() -> Fitted:
    return fit(material_of(), split_of())


@pytest.mark.parametrize("kind", ["success", "label"])
def test_a_forced_estimator_is_the_only_one_fitted(kind: Kind) -> None:
    fitted = fit(material_of(kind), split_of())
    assert (fitted.published, list(fitted.candidates), fitted.head.kind) == (kind, [kind], kind)


def test_auto_fits_both_estimators(auto: Fitted) -> None:
    assert set(auto.candidates) == {"success", "label"}


@pytest.mark.parametrize("seed", [pytest.param(seed, id=f"log {seed}") for seed in range(3)])
def test_auto_publishes_the_better_estimator_on_validation(seed: int) -> None:
    fitted = fit(material_of(seed=seed), split_of())
    other: Kind = "label" if fitted.published == "success" else "success"
    published, lost = fitted.candidates[fitted.published], fitted.candidates[other]
    ahead = published.values - lost.values
    clearly = ahead.mean() > ahead.std() / np.sqrt(len(ahead))
    assert clearly or published.validation["brier"] <= lost.validation["brier"]
    assert fitted.head.kind == fitted.published


def test_the_estimator_that_was_not_published_is_fitted_on_the_same_prompts(auto: Fitted) -> None:
    assert auto.runner_up is not None
    assert {auto.published, auto.runner_up.head.kind} == {"success", "label"}
    shared, own = auto.head.to_arrays(), auto.runner_up.head.to_arrays()
    assert all(np.array_equal(shared[name], own[name]) for name in ("store.points", "last.table"))


def test_the_runner_up_is_what_would_be_published_if_it_were_forced(auto: Fitted) -> None:
    assert auto.runner_up is not None
    forced = fit(material_of(auto.runner_up.head.kind), split_of())
    assert (forced.policy, forced.runner_up) == (auto.runner_up.policy, None)
    arrays = auto.runner_up.head.to_arrays()
    assert all(np.array_equal(arrays[name], array) for name, array in forced.head.to_arrays().items())


def test_a_regularisation_weaker_than_the_best_is_never_taken(auto: Fitted) -> None:
    for candidate in auto.candidates.values():
        tried = list(candidate.searched)
        best = max(tried, key=candidate.searched.__getitem__)
        assert tried.index(candidate.setting.value) >= tried.index(best)


def around(mean: float, spread: float) -> FloatArray:
    """Decision values of 100 prompts with this mean."""
    return mean + spread * np.tile([-1.0, 1.0], 50)


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        pytest.param([around(0.5, 0), around(0.5, 0), around(0.4, 0)], 1, id="equal: the stronger"),
        pytest.param([around(0.5, 0), around(0.49, 1)], 1, id="behind by chance: the stronger"),
        pytest.param([around(0.5, 0), around(0.4, 0.1)], 0, id="clearly behind: the best"),
        pytest.param([around(0.4, 1), around(0.5, 0)], 1, id="the strongest is best"),
        pytest.param([around(0.5, 0)], 0, id="only one"),
    ],
)
def test_the_strongest_regularisation_within_a_standard_error_of_the_best_is_taken(
    values: list[FloatArray], taken: int
) -> None:
    assert strongest_within_error(values) == taken


def test_the_test_parts_outcomes_change_nothing_but_the_test_metrics(auto: Fitted) -> None:
    split, material = split_of(), material_of()
    success = material.table.success.copy()
    success[split.test] = 1.0 - success[split.test]
    turned = replace(material, table=replace(material.table, success=success))
    other = fit(turned, split)
    assert other.test != auto.test
    assert (other.policy, other.calibration) == (auto.policy, auto.calibration)
    arrays = auto.head.to_arrays()
    assert all(np.array_equal(arrays[name], array) for name, array in other.head.to_arrays().items())


def test_fitting_twice_gives_the_same(auto: Fitted) -> None:
    again = fit(material_of(), split_of())
    assert (again.policy, again.test) == (auto.policy, auto.test)


def test_without_a_test_part_there_are_no_test_metrics() -> None:
    assert fit(material_of("success"), split_of(test_share=0.0)).test == {}


def test_progress_is_reported_as_often_as_steps_says() -> None:
    for estimator in ("auto", "label"):
        reported: list[float] = []
        material = material_of(estimator)
        fit(material, split_of(), reported.append)
        assert sum(reported) == steps(material.config)


def test_metrics_are_sound(auto: Fitted) -> None:
    for metrics in (auto.calibration, auto.test):
        assert 0 <= metrics["calibration_error"] <= metrics["success"] <= 1
        assert metrics["cost_usd"] > 0


def test_the_thresholds_rest_on_every_prompt_outside_the_test_part(auto: Fitted) -> None:
    assert len(auto.backtest) == PROMPTS - len(split_of().test)


def test_the_points_are_rows_of_the_parts_that_were_fitted_on(auto: Fitted) -> None:
    assert len(auto.points) == len(auto.head.store.points)
    assert not set(auto.points.tolist()) & set(split_of().test.tolist())


def test_the_best_single_model_stands_in_for_a_rule_table_without_default(auto: Fitted) -> None:
    assert auto.policy.best_single == "abc"[auto.backtest.best_single]


def test_rules_that_always_fail_are_never_stepped_aside_for() -> None:
    outcome = material_of().table.success.copy()
    outcome[:, 0] = 0.0
    material = material_with(outcome, "success", rules=Rules(default="a"))
    assert fit(material, split_of()).policy.least_confidence == 0.0


def test_unknown_prices_leave_the_choice_to_the_success_probability() -> None:
    material = material_of("success")
    unknown = replace(
        material,
        prices=dict.fromkeys(material.table.models, ModelPrice.unknown()),
        table=replace(material.table, cost=np.full((PROMPTS, 3), np.nan)),
    )
    assert fit(unknown, split_of()).policy.weight == 0.0


def guaranteeing(max_loss: float) -> Material:
    material = material_of("success")
    objective = Objective(max_quality_loss=max_loss)
    return replace(material, config=material.config.model_copy(update={"objective": objective}))


def test_a_guarantee_sets_the_weight_and_says_what_it_rests_on() -> None:
    fitted = fit(guaranteeing(0.2), split_of())
    assert fitted.guarantee is not None
    assert fitted.policy.weight == fitted.guarantee.weight
    assert fitted.guarantee.n == len(fitted.backtest)
    assert any("cross-fitted" in sentence for sentence in fitted.guarantee.assumptions)


def test_without_the_objective_nothing_is_guaranteed(auto: Fitted) -> None:
    assert auto.guarantee is None


def test_a_guarantee_that_the_log_is_too_small_for_makes_no_router() -> None:
    with pytest.raises(TrainingError, match=r"objective\.max_quality_loss: .* log more prompts"):
        fit(guaranteeing(0.001), split_of())


def test_a_model_that_never_succeeds_is_fitted_all_the_same() -> None:
    outcome = material_of().table.success.copy()
    outcome[:, 1] = 0.0
    fitted = fit(material_with(outcome, "auto"), split_of())
    assert fitted.head.predict(material_of().features).probability[:, 1].max() < 0.1


def test_a_training_part_without_outcomes_is_refused() -> None:
    split = split_of()
    outcome = material_of().table.success.copy()
    outcome[split.train] = np.nan
    with pytest.raises(TrainingError, match="no call of the training part has a known outcome"):
        fit(material_with(outcome, "success"), split)


def test_a_model_that_only_the_newest_prompts_met_is_fitted_all_the_same() -> None:
    split = split_of()
    outcome = material_of().table.success.copy()
    outcome[split.train, 2] = np.nan
    fitted = fit(material_with(outcome, "auto"), split)
    assert np.isfinite(fitted.head.predict(material_of().features).probability).all()
