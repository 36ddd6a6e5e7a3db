from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router.forecasting.features import STRUCTURE, Features
from router.forecasting.head import Head, Kind, LabelParts, log_odds, narrow_inputs, sigmoid
from router.records import BoolArray, FloatArray, IntArray
from training.learning import heads
from training.learning.heads import (
    FOLDS,
    CrossFitted,
    LastLevelProblem,
    Setting,
    TrainingSample,
    cross_fit,
    fit_heads,
    fit_last_level,
    fit_lengths,
    settings_of,
    stored_rows,
    structure_scaling,
    table_of_means,
)
from training.prompts.split import folds
from training.statistics import blocks
from training.statistics.blocks import OnDisk

SUCCESS = Setting(kind="success", value=0.1)
LABEL = Setting(kind="label", value=0.3)
MODELS = 3


def features_of(task_type: np.ndarray, seed: int = 0) -> Features:
    """Small random features, the task type among the labels."""
    random, n = np.random.default_rng(seed), len(task_type)
    embedding = random.normal(size=(n, 8)).astype(np.float32)
    return Features(
        embedding=embedding / np.linalg.norm(embedding, axis=1, keepdims=True),
        structure=random.normal(size=(n, 4)).astype(np.float32),
        grams=np.zeros((n, 6), dtype=np.float32),
        labels=np.eye(2, dtype=np.float32)[task_type],
        task_type=task_type.astype(np.int64),
        tokens=random.integers(10, 100, n).astype(np.float64),
    )


def true_chance(features: Features, signal: float = 1.0) -> FloatArray:
    """Chance of success: by task type, with `signal` by the first embedding axis too, each its own way."""
    by_task = np.array([[0.3, 0.6, 0.9], [0.6, 0.7, 0.8]])[features.task_type]
    slope = np.array([3.0, 0.0, -3.0])
    return sigmoid(log_odds(by_task) + signal * slope * features.embedding[:, [0]])


def sample_of(n: int = 400, *, signal: float = 1.0, seen_share: float = 1.0, seed: int = 0) -> TrainingSample:
    """Prompts of two task types, three models; `seen_share` of the outcomes are known."""
    random = np.random.default_rng(seed + 100)
    features = features_of(random.integers(0, 2, n), seed)
    outcome = (random.random((n, MODELS)) < true_chance(features, signal)).astype(np.float64)
    outcome[random.random(outcome.shape) >= seen_share] = np.nan
    return sample_with(features, outcome)


def sample_with(features: Features, outcome: FloatArray) -> TrainingSample:
    succeeded = np.nan_to_num(outcome) >= 0.5
    label = np.where(succeeded.any(axis=1), succeeded.argmax(axis=1), -1)
    tokens = np.where(np.isfinite(outcome), features.tokens[:, None] * [1.0, 2.0, 3.0], np.nan)
    return TrainingSample(
        features=features,
        outcome=outcome,
        weight=np.isfinite(outcome).astype(np.float64),
        output_tokens=tokens,
        input_tokens=1.5 * tokens / [1.0, 2.0, 3.0],
        label=label.astype(np.int64),
        groups=np.arange(len(outcome)),
    )


def one_model_a_prompt(n: int = 400, *, signal: float = 1.0) -> TrainingSample:
    """A log as a router in service leaves it: each prompt met one model."""
    whole = sample_of(n, signal=signal)
    met = np.random.default_rng(9).integers(0, MODELS, n)
    return sample_with(whole.features, np.where(np.arange(MODELS) == met[:, None], whole.outcome, np.nan))


def fitted_head(sample: TrainingSample, setting: Setting = SUCCESS) -> Head:
    (head,) = fit_heads(sample, [setting], cross_fit(sample, [setting], seed=0), fit_lengths(sample))
    return head


def log_loss(probability: FloatArray, chance: FloatArray) -> float:
    """Expected log loss under the true chance."""
    return float(-(chance * np.log(probability) + (1 - chance) * np.log(1 - probability)).mean())


def table_probability(sample: TrainingSample, fresh: Features) -> FloatArray:
    easy = np.full((len(sample), 1), np.nanmean(sample.outcome))
    table = table_of_means(sample.outcome, sample.weight, sample.features.task_type, easy)
    return sigmoid(table[fresh.task_type + 1])


def plain_table(outcome: FloatArray, task_type: IntArray) -> FloatArray:
    """The table where all prompts are expected to be equally hard."""
    easy = np.full((len(outcome), 1), np.nanmean(outcome))
    return table_of_means(outcome, np.isfinite(outcome).astype(float), task_type, easy)


def test_the_table_of_means_shrinks_a_rare_task_type_to_the_models_mean() -> None:
    outcome = np.array([[1.0]] * 50 + [[0.0]] * 50 + [[1.0]])
    task_type = np.array([0] * 100 + [1])
    overall, often, rare = sigmoid(plain_table(outcome, task_type))[:, 0]
    assert often < overall < rare < (1 + 5 * overall) / 6 + 1e-9


def test_the_table_of_means_gives_a_task_type_with_many_calls_its_own_mean() -> None:
    outcome = np.array([[1.0]] * 500 + [[0.0]] * 1500)
    table = plain_table(outcome, np.array([0] * 1000 + [1] * 1000))
    assert sigmoid(table)[1, 0] == pytest.approx(0.5, abs=0.01)


def test_the_table_of_means_skips_unknown_outcomes() -> None:
    outcome = np.array([[1.0], [np.nan], [1.0], [np.nan]] * 200)
    assert sigmoid(plain_table(outcome, np.zeros(800, dtype=np.int64)))[1, 0] > 0.97


def test_a_model_that_was_never_seen_gets_the_mean_of_all() -> None:
    outcome = np.array([[1.0, np.nan], [0.0, np.nan]] * 100)
    assert sigmoid(plain_table(outcome, np.full(200, -1)))[0, 1] == pytest.approx(0.5)


def test_a_model_that_met_the_hard_prompts_only_is_not_blamed_for_it() -> None:
    easy = np.repeat([0.9, 0.1], 200)[:, None]
    met = np.repeat([[False, True], [True, False]], 200, axis=0)
    outcome = np.where(met, easy, np.nan)
    means = table_of_means(outcome, met.astype(float), np.zeros(400, int), easy)
    np.testing.assert_allclose(sigmoid(means), 0.5, atol=1e-9)


def evidence_from(noise: float, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Evidence of two kinds, a flat table, and outcomes that follow the first kind where noise is low."""
    random = np.random.default_rng(3)
    logits = random.normal(size=(n, MODELS)) * 2
    outcome = (random.random((n, MODELS)) < sigmoid(logits)).astype(np.float64)
    mixed = (1 - noise) * logits + noise * random.normal(size=(n, MODELS))
    evidence = np.stack([mixed, random.normal(size=(n, MODELS))], axis=2)
    return evidence, np.zeros((n, MODELS)), outcome


def last_level(
    evidence: FloatArray, table: FloatArray, outcome: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The last level where every known outcome weighs 1."""
    return fit_last_level(evidence, table, outcome, np.isfinite(outcome).astype(float))


def test_an_outcome_of_weight_2_counts_as_two() -> None:
    evidence, table, outcome = evidence_from(0.3, 200)
    twice = np.where(np.arange(200) % 2, 2.0, 1.0)
    rows = np.repeat(np.arange(200), twice.astype(int))
    heavy = fit_last_level(evidence, table, outcome, np.broadcast_to(twice[:, None], outcome.shape))
    for fitted, wanted in zip(heavy, last_level(evidence[rows], table[rows], outcome[rows]), strict=True):
        np.testing.assert_allclose(fitted, wanted, atol=1e-4)


def test_outcomes_that_weigh_little_teach_little() -> None:
    honest = one_model_a_prompt(800, signal=2.0)
    lies = np.random.default_rng(1).random(len(honest)) < 0.5
    outcome = np.where(lies[:, None], 1.0 - honest.outcome, honest.outcome)
    lied_to = sample_with(honest.features, outcome)
    fresh = features_of(np.arange(1000) % 2, seed=50)

    def loss(weight: float) -> float:
        light = replace(lied_to, weight=np.where(lies[:, None], weight, 1.0) * lied_to.weight)
        return log_loss(fitted_head(light).predict(fresh).probability, true_chance(fresh, 2.0))

    assert loss(0.01) < loss(0.3) < loss(1.0)


@pytest.mark.parametrize("setting", [pytest.param(SUCCESS, id="success"), pytest.param(LABEL, id="label")])
def test_a_model_that_changed_is_followed_faster_where_old_outcomes_fade(setting: Setting) -> None:
    whole = sample_of()
    old = np.arange(len(whole)) < 300
    outcome = whole.outcome.copy()
    outcome[:, 0] = old
    plain = replace(whole, outcome=outcome)
    faded = replace(plain, weight=np.where(old[:, None], 0.1, 1.0) * whole.weight)
    now = [
        fitted_head(sample, setting).predict(whole.features).probability[:, 0].mean()
        for sample in (plain, faded)
    ]
    assert now[1] < now[0] - 0.15


def test_the_last_level_without_outcomes_is_the_table_itself() -> None:
    evidence, table, outcome = evidence_from(0.0, 20)
    for values in last_level(evidence, table, np.full_like(outcome, np.nan)):
        np.testing.assert_allclose(values, 0.0, atol=1e-4)


def test_the_last_level_trusts_evidence_that_predicts() -> None:
    shared, weights, _ = last_level(*evidence_from(0.0, 2000))
    np.testing.assert_allclose(shared[:, 0], 1.0, atol=0.2)
    np.testing.assert_allclose(weights[:, 0], 1.0, atol=0.2)


def test_the_last_level_keeps_to_the_table_where_only_the_difficulty_shows() -> None:
    evidence, table, outcome = evidence_from(0.0, 2000)
    hard = evidence.mean(axis=1, keepdims=True)
    noise = np.random.default_rng(5).normal(size=evidence.shape)
    random = np.random.default_rng(6).random(outcome.shape)
    one_each = np.arange(MODELS) == np.arange(2000)[:, None] % MODELS
    outcome = np.where(one_each, random < sigmoid(hard[:, :, 0]), np.nan)
    shared, weights, _ = last_level(hard + noise - noise.mean(axis=1, keepdims=True), table, outcome)
    assert shared[:, 0].min() > 0.6
    assert np.abs(weights).max() < 0.2


def test_a_few_rows_of_evidence_that_points_the_wrong_way_are_hardly_believed() -> None:
    evidence, table, outcome = evidence_from(0.0, 10)
    assert all(np.abs(weights).max() < 0.1 for weights in last_level(-evidence, table, outcome)[:2])


def test_unknown_outcomes_do_not_move_the_last_level() -> None:
    evidence, table, outcome = evidence_from(0.3, 300)
    outcome[200:] = np.nan
    few, all_rows = (
        last_level(evidence[:200], table[:200], outcome[:200]),
        last_level(evidence, table, outcome),
    )
    np.testing.assert_allclose(few[0], all_rows[0], atol=1e-4)
    np.testing.assert_allclose(few[1], all_rows[1], atol=1e-4)


def first_held_out(sample: TrainingSample) -> BoolArray:
    return np.asarray(folds(sample.groups, FOLDS, 0) == 0)


@pytest.mark.parametrize("setting", [pytest.param(SUCCESS, id="success"), pytest.param(LABEL, id="label")])
def test_a_prompts_own_outcome_never_enters_its_evidence(setting: Setting) -> None:
    sample = sample_of()
    held = first_held_out(sample)
    turned = np.where(held[:, None], 1.0 - sample.outcome, sample.outcome)
    before, after = (
        cross_fit(s, [setting], seed=0)[0] for s in (sample, sample_with(sample.features, turned))
    )
    np.testing.assert_array_equal(before.evidence[held], after.evidence[held])
    np.testing.assert_array_equal(before.table[held], after.table[held])


def test_other_prompts_outcomes_do_enter_a_prompts_evidence() -> None:
    sample = sample_of()
    held = first_held_out(sample)
    turned = np.where(held[:, None], 1.0 - sample.outcome, sample.outcome)
    before, after = (
        cross_fit(s, [SUCCESS], seed=0)[0] for s in (sample, sample_with(sample.features, turned))
    )
    assert not np.allclose(before.evidence[~held], after.evidence[~held])


def test_rows_of_a_group_never_judge_one_another() -> None:
    sample = replace(sample_of(), groups=np.arange(400) // 40)
    group = sample.groups == 3
    turned = np.where(group[:, None], 1.0 - sample.outcome, sample.outcome)
    other = replace(sample_with(sample.features, turned), groups=sample.groups)
    before, after = (cross_fit(s, [SUCCESS], seed=0)[0] for s in (sample, other))
    np.testing.assert_array_equal(before.evidence[group], after.evidence[group])


def test_a_prompts_own_outcome_never_calibrates_it() -> None:
    sample = sample_of()
    fitted = cross_fit(sample, [SUCCESS], seed=0)[0]
    held = folds(sample.groups, FOLDS, 1) == 2
    turned = np.where(held[:, None], 1.0 - sample.outcome, sample.outcome)
    before, after = (
        fitted.probability(outcome, sample.weight, sample.groups, 0) for outcome in (sample.outcome, turned)
    )
    np.testing.assert_array_equal(before[held], after[held])


def test_settings_fitted_together_are_as_those_fitted_alone() -> None:
    sample = sample_of()
    together = cross_fit(sample, [SUCCESS, LABEL], seed=0)
    for setting, one in zip([SUCCESS, LABEL], together, strict=True):
        np.testing.assert_array_equal(cross_fit(sample, [setting], seed=0)[0].evidence, one.evidence)


@pytest.mark.parametrize("groups", [pytest.param(2, id="two"), pytest.param(4, id="four")])
def test_fewer_groups_than_folds_make_fewer_folds(groups: int) -> None:
    sample = replace(sample_of(120), groups=np.arange(120) % groups)
    assert np.isfinite(cross_fit(sample, [SUCCESS], seed=0)[0].evidence).all()


@pytest.mark.parametrize("setting", [pytest.param(SUCCESS, id="success"), pytest.param(LABEL, id="label")])
@pytest.mark.parametrize("seed", [pytest.param(seed, id=f"seed {seed}") for seed in range(3)])
def test_a_head_without_signal_is_no_worse_than_the_table_of_means(setting: Setting, seed: int) -> None:
    sample, fresh = sample_of(300, signal=0.0, seed=seed), features_of(np.arange(3000) % 2, seed=50 + seed)
    chance = true_chance(fresh, 0.0)
    learned = log_loss(fitted_head(sample, setting).predict(fresh).probability, chance)
    assert learned <= log_loss(table_probability(sample, fresh), chance) + 0.01


@pytest.mark.parametrize(
    "sample",
    [pytest.param(sample_of(600), id="full"), pytest.param(one_model_a_prompt(1200), id="one model")],
)
def test_a_head_with_signal_beats_the_table_of_means(sample: TrainingSample) -> None:
    fresh = features_of(np.arange(3000) % 2, seed=51)
    chance = true_chance(fresh)
    learned = log_loss(fitted_head(sample).predict(fresh).probability, chance)
    assert learned < log_loss(table_probability(sample, fresh), chance) - 0.01


@pytest.mark.parametrize("setting", [pytest.param(SUCCESS, id="success"), pytest.param(LABEL, id="label")])
def test_logs_where_each_prompt_met_one_model_train_a_head(setting: Setting) -> None:
    sample = one_model_a_prompt()
    probability = fitted_head(sample, setting).predict(sample.features).probability
    assert ((probability > 0) & (probability < 1)).all()


def test_probabilities_are_calibrated_on_prompts_not_seen() -> None:
    sample = sample_of(1500)
    probability = cross_fit(sample, [SUCCESS], seed=0)[0].probability(
        sample.outcome, sample.weight, sample.groups, 0
    )
    np.testing.assert_allclose(probability.mean(axis=0), sample.outcome.mean(axis=0), atol=0.01)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param([], id="no class"),
        pytest.param([1], id="one class"),
        pytest.param([0, 2], id="two classes"),
        pytest.param([0, 1, 2], id="all classes"),
    ],
)
def test_the_label_estimator_fits_any_number_of_classes(labels: list[int]) -> None:
    sample = sample_of(100)
    label = np.resize(np.array([-1, *labels]), 100)
    parts = fitted_head(replace(sample, label=label), LABEL).parts
    assert isinstance(parts, LabelParts)
    assert np.isfinite(parts.logits(np.zeros((1, len(parts.logits.weights))))).all()


def test_the_label_estimator_gives_a_model_that_is_never_the_label_least_chance() -> None:
    parts = fitted_head(replace(sample_of(200), label=np.arange(200) % 2), LABEL).parts
    assert isinstance(parts, LabelParts)
    assert parts.logits(np.zeros((1, len(parts.logits.weights))))[0].argmin() == 2


def test_two_label_classes_predict_as_scikit_learn_does() -> None:
    from sklearn.linear_model import LogisticRegression

    sample = sample_of(300)
    label = (sample.features.embedding[:, 1] > 0).astype(np.int64)
    head = fitted_head(replace(sample, label=label), Setting(kind="label", value=1.0))
    assert isinstance(head.parts, LabelParts)
    from router.forecasting.head import softmax, wide_inputs

    wide = wide_inputs(sample.features, head.scaling)
    expected = LogisticRegression(C=1.0, max_iter=300).fit(wide, label).predict_proba(wide)[:, 1]
    chance = softmax(head.parts.logits(wide)[:, :2])[:, 1]
    np.testing.assert_allclose(chance, expected, atol=0.01)


@pytest.mark.parametrize("setting", [pytest.param(SUCCESS, id="success"), pytest.param(LABEL, id="label")])
def test_a_model_without_any_outcome_gets_a_chance_that_is_a_number(setting: Setting) -> None:
    sample = sample_of(100)
    outcome = sample.outcome.copy()
    outcome[:, 1] = np.nan
    probability = (
        fitted_head(sample_with(sample.features, outcome), setting).predict(sample.features).probability
    )
    assert np.isfinite(probability).all()


def test_a_model_whose_outcomes_are_all_in_one_fold_is_no_trouble() -> None:
    sample = sample_of(200)
    outcome = np.where(first_held_out(sample)[:, None] | (np.arange(MODELS) != 1), sample.outcome, np.nan)
    fitted = cross_fit(sample_with(sample.features, outcome), [SUCCESS], seed=0)[0]
    assert np.isfinite(fitted.evidence).all()


def test_prompts_without_any_outcome_still_get_a_forecast() -> None:
    sample = sample_of(200, seen_share=0.3)
    assert np.isnan(sample.outcome).all(axis=1).any()
    assert np.isfinite(cross_fit(sample, [SUCCESS], seed=0)[0].evidence).all()


def test_a_head_survives_its_arrays() -> None:
    sample = sample_of(100)
    for setting in (SUCCESS, LABEL):
        head = fitted_head(sample, setting)
        again = Head.from_arrays(head.to_arrays(), setting.kind)
        np.testing.assert_array_equal(
            head.predict(sample.features).probability, again.predict(sample.features).probability
        )


def test_fitting_twice_gives_the_same_head() -> None:
    first, second = (fitted_head(sample_of(150)).to_arrays() for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_lengths_follow_each_models_logged_output() -> None:
    sample = sample_of(400)
    head = fitted_head(sample)
    output_tokens = head.predict(sample.features).output_tokens
    np.testing.assert_allclose(output_tokens.mean(axis=0), sample.output_tokens.mean(axis=0), rtol=0.05)


def test_input_tokens_are_the_encoders_times_the_models_own_ratio() -> None:
    sample = sample_of(100)
    input_tokens = fitted_head(sample).predict(sample.features).input_tokens
    np.testing.assert_allclose(input_tokens, np.tile(1.5 * sample.features.tokens[:, None], MODELS))


@pytest.mark.parametrize(
    ("beside", "learned"),
    [pytest.param(180.0, 180.0, id="words about tools"), pytest.param(-5.0, 0.0, id="never below none")],
)
def test_what_a_provider_bills_beside_for_tools_is_learned(beside: float, learned: float) -> None:
    features = features_of(np.random.default_rng(5).integers(0, 2, 400))
    structure = np.zeros((400, len(STRUCTURE)), np.float32)
    structure[::2, STRUCTURE.index("tools")] = 1.0
    features = replace(features, structure=structure)
    sample = sample_with(features, np.ones((400, MODELS)))
    logged = sample.input_tokens + beside * (structure[:, [STRUCTURE.index("tools")]] > 0)
    lengths = fit_lengths(replace(sample, input_tokens=logged))
    narrow = narrow_inputs(features, structure_scaling(features))
    assert lengths.tool_tokens == pytest.approx(learned)
    assert lengths.expected(features, narrow)[0].sum(axis=0) == pytest.approx(logged.sum(axis=0))


def test_an_expected_length_is_never_above_the_longest_seen() -> None:
    sample = sample_of(100)
    unseen = features_of(np.zeros(500, dtype=np.int64), seed=77)
    output_tokens = fitted_head(sample).predict(unseen).output_tokens
    assert (output_tokens <= sample.output_tokens.max(axis=0)).all()


def test_a_model_that_logged_no_tokens_is_expected_to_make_none() -> None:
    sample = sample_of(100)
    nothing = np.full_like(sample.output_tokens, np.nan)
    lengths = fit_lengths(replace(sample, output_tokens=nothing, input_tokens=nothing))
    assert (lengths.most == 0).all()
    assert (lengths.input_ratio == 1).all()


def test_a_model_without_logged_tokens_answers_at_the_length_of_the_others_or_as_assumed() -> None:
    sample = sample_of(100)
    narrow = narrow_inputs(sample.features, structure_scaling(sample.features))
    nothing = np.full_like(sample.output_tokens, np.nan)
    alone = fit_lengths(replace(sample, output_tokens=nothing), 1000)
    assert alone.expected(sample.features, narrow)[1] == pytest.approx(1000)
    one = np.where(np.arange(MODELS) == 0, np.nan, sample.output_tokens)
    expected = fit_lengths(replace(sample, output_tokens=one), 1000).expected(sample.features, narrow)[1]
    assert expected[:, 0] == pytest.approx(np.nanmean(one))


@pytest.mark.parametrize("kind", ["success", "label"])
def test_every_setting_of_an_estimator_is_of_its_kind(kind: Kind) -> None:
    assert {setting.kind for setting in settings_of(kind)} == {kind}


def test_evidence_has_a_row_for_every_prompt_in_its_order() -> None:
    sample = sample_of(100)
    fitted = cross_fit(sample, [SUCCESS], seed=0)[0]
    assert isinstance(fitted, CrossFitted)
    np.testing.assert_allclose(fitted.familiarity.shape, (100,))
    assert fitted.evidence.shape == (100, MODELS, 2)


def test_the_stored_rows_are_those_of_the_stores_points() -> None:
    sample = sample_of(60, seen_share=0.3)
    head, rows = fitted_head(sample), stored_rows(sample.outcome)
    assert len(rows) == len(head.store.points) < len(sample)
    np.testing.assert_array_equal(head.store.seen[:, 1:] == 1.0, np.isfinite(sample.outcome[rows]))


def test_of_too_many_prompts_an_even_share_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "STORE_POINTS", 5)
    outcome = np.ones((9, 2))
    outcome[1] = np.nan
    assert stored_rows(outcome).tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("most", [3, 0], ids=["some outcomes", "none"])
def test_the_last_level_of_a_sparse_log_is_the_same_over_its_observed_entries(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    draw = np.random.default_rng(3)
    evidence, table = draw.normal(size=(60, 5, 4)), draw.normal(size=(60, 5))
    weight = np.where(np.arange(60)[:, None] % 9 < most, draw.uniform(size=(60, 5)), 0.0)
    outcome = np.where(weight > 0, draw.random((60, 5)) < 0.5, np.nan)
    losses = []
    for sparse in (True, False):
        monkeypatch.setattr(heads, "is_sparse", lambda _, sparse=sparse: sparse)
        problem = LastLevelProblem.of(evidence, table, outcome, weight)
        losses.append(problem.loss(problem.start + np.linspace(-1, 1, len(problem.start))))
    (value, gradient), (wanted_value, wanted_gradient) = losses
    assert value == pytest.approx(wanted_value)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-9)


@pytest.mark.parametrize("scale", [pytest.param(1.0, id="moderate"), pytest.param(1e3, id="huge log odds")])
def test_the_last_levels_loss_is_the_log_loss_of_its_log_odds(scale: float) -> None:
    draw = np.random.default_rng(3)
    evidence, table = draw.normal(size=(60, 5, 2)), scale * draw.normal(size=(60, 5))
    outcome = (draw.random((60, 5)) < 0.5).astype(float)
    problem = LastLevelProblem.of(evidence, table, outcome, np.ones((60, 5)))
    value, _ = problem.loss(np.zeros_like(problem.start))
    assert value == pytest.approx((np.logaddexp(0.0, table) - outcome * table).sum())


def streamed(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(blocks, "AT_ONCE", at_once)
    monkeypatch.setattr(blocks, "BLOCK", 64)


@pytest.mark.parametrize("seen_share", [1.0, 0.5])
def test_a_head_of_more_prompts_than_memory_holds_forecasts_like_one_in_memory(
    seen_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, fresh = sample_of(2000, seen_share=seen_share), features_of(np.arange(300) % 2, seed=5)
    whole = fitted_head(sample).predict(fresh)
    streamed(monkeypatch, at_once=1500)
    stored: Any = OnDisk.of([sample.features.embedding[:7], sample.features.embedding[7:]])
    large = replace(sample, features=replace(sample.features, embedding=stored))
    few = fitted_head(large).predict(fresh)
    np.testing.assert_allclose(few.output_tokens, whole.output_tokens, rtol=1e-5)
    assert np.abs(few.probability - whole.probability).mean() < 0.01


@pytest.mark.parametrize("setting", [pytest.param(SUCCESS, id="success"), pytest.param(LABEL, id="label")])
@pytest.mark.parametrize("at_once", [200, 90, 20])
def test_the_evidence_on_a_large_sample_is_of_as_many_prompts_as_memory_holds(
    setting: Setting, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_of(400)
    streamed(monkeypatch, at_once)
    fitted = cross_fit(sample, [setting], seed=0)[0]
    assert at_once * 0.95 <= len(fitted.rows) <= at_once
    assert np.array_equal(fitted.rows, np.unique(fitted.rows))
    probability = fitted.probability(sample.outcome, sample.weight, sample.groups, seed=0)
    assert probability.shape == (len(fitted.rows), MODELS)
