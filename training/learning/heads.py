"""Fits the two estimators: success heads per model, and a classifier of the cheapest-success label."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed

from router.errors import TrainingError
from router.forecasting.features import Features
from router.forecasting.head import (
    CLIP,
    Head,
    Kind,
    LabelParts,
    LastLevel,
    Lengths,
    Linear,
    NeighbourStore,
    Scaling,
    SuccessParts,
    combined,
    evidence_of,
    gains,
    has_tools,
    level_inputs,
    log_odds,
    narrow_inputs,
    sigmoid,
    unit,
    wide_inputs,
)
from router.records import BoolArray, Float32Array, FloatArray, IntArray
from training.prompts.split import APART, folds
from training.statistics import blocks
from training.statistics.blocks import Index, Streamed, evenly
from training.statistics.ridge import RidgeHeads, RidgePath, is_sparse

FOLDS = 5
STORE_AXES = 128
STORE_POINTS = 12_000
DEVIATION_PENALTIES = (0.01, 0.03, 0.1, 0.3)
"""Candidates for the ridge penalty of the deviation, per prompt, from weak to strong."""
LABEL_CS = (0.3, 0.03)
"""Candidates for the label classifier's inverse penalty, scikit-learn's `C`, from weak to strong."""
TABLE_PRIOR = 5.0
"""Number of calls that the belief "a task type is like all others" is worth."""
LAST_PENALTY = 1.0
DIFFERENCE_PENALTY = 30.0
"""Penalty on the weights of the differences between models. It does not matter if every model met hundreds of
prompts; if the log tried one model per prompt, the table of means holds until the differences are clear."""
OWN_PENALTY = 3000.0
"""Penalty on the difference between a model's weights and those that all models share."""

LEAST_WITH_TOOLS = 50
LEAST_SPREAD = 0.01
"""Calls with tools, and how far their sizes must differ, to tell what a provider bills beside for tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """The arrays that a head is fitted on.

    Attributes:
        outcome: shape (n, n_models); success in [0, 1], NaN if unknown.
        weight: shape (n, n_models); importance of an outcome, above 0; 0 if it is unknown.
        output_tokens, input_tokens: shape (n, n_models), NaN if unknown.
        label: shape (n,); column of the cheapest model that succeeded, -1 if none did.
        groups: shape (n,); rows of one group stay in one fold.
    """

    features: Features
    outcome: FloatArray
    weight: FloatArray
    output_tokens: FloatArray
    input_tokens: FloatArray
    label: IntArray
    groups: IntArray

    def __len__(self) -> int:
        return len(self.outcome)

    def rows(self, index: IntArray | BoolArray) -> TrainingSample:
        """The prompts at `index`."""
        arrays = {name: getattr(self, name)[index] for name in self.__slots__ if name != "features"}
        return TrainingSample(features=self.features.rows(index), **arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What both estimators of one sample share: scaling, neighbour store, table of means."""

    scaling: Scaling
    store: NeighbourStore
    table: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Regularisation: of the deviation, per prompt ("success"), or scikit-learn's C ("label")."""

    kind: Kind
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFitted:
    """Evidence on prompts from heads that have not seen them.

    Attributes:
        rows: shape (n,); rows of the sample, in order: all of them, or `AT_ONCE` of a larger sample.
        evidence: shape (n, n_models, n_evidence); log odds.
        table: shape (n, n_models); the log odds of the table of means, likewise cross-fitted.
        familiarity: shape (n,).
    """

    rows: IntArray
    evidence: FloatArray
    table: FloatArray
    familiarity: FloatArray

    def probability(self, outcome: FloatArray, weight: FloatArray, groups: IntArray, seed: int) -> FloatArray:
        """Calibrated probabilities; the last level is cross-fitted too, so that no row calibrates itself.

        Args:
            outcome, weight, groups: of the whole sample.
        """
        outcome, weight, groups = outcome[self.rows], weight[self.rows], groups[self.rows]
        out = np.zeros_like(outcome)
        for held in _held_out(groups, seed + 1):
            rest = ~held
            last = fit_last_level(self.evidence[rest], self.table[rest], outcome[rest], weight[rest])
            floor = self.table[held]
            out[held] = combined(gains(self.evidence[held], floor), floor, *last)
        return out


def settings_of(kind: Kind) -> list[Setting]:
    """The candidates for cross-validation, from weak to strong."""
    values = DEVIATION_PENALTIES if kind == "success" else LABEL_CS
    return [Setting(kind=kind, value=value) for value in values]


def cross_fit(sample: TrainingSample, settings: Sequence[Setting], seed: int) -> list[CrossFitted]:
    """Compute, for each setting, the evidence on prompts from heads fitted on the other folds.

    Only the evidence of `AT_ONCE` prompts is needed: of a large sample fewer folds, each on all the others,
    give it.
    """
    held_out = _held_out(sample.groups, seed)
    enough = -(-blocks.AT_ONCE // min(int(held.sum()) for held in held_out))
    held_out = held_out[:enough] if len(sample) > blocks.AT_ONCE else held_out
    workers = Parallel(n_jobs=os.cpu_count(), prefer="threads")
    most = blocks.AT_ONCE // len(held_out)
    parts = workers(delayed(_cross_fit_fold)(sample, held, settings, most) for held in held_out)
    order = np.argsort(np.concatenate([part[0].rows for part in parts]))
    return [_joined([part[number] for part in parts], order) for number in range(len(settings))]


def _cross_fit_fold(
    sample: TrainingSample, held: BoolArray, settings: Sequence[Setting], most: int
) -> list[CrossFitted]:
    """Compute the evidence on one fold's prompts, or `most` of them, from heads fitted on the other folds."""
    rows = np.flatnonzero(held)
    rows = rows[evenly(len(rows), most)] if len(sample) > blocks.AT_ONCE else rows
    outer = sample.features.rows(rows)
    base, parts = _fit_parts(sample.rows(~held), settings)
    wide, narrow = wide_inputs(outer, base.scaling), narrow_inputs(outer, base.scaling)
    near, familiarity = base.store.search(narrow)
    table = base.table[outer.task_type + 1]
    return [
        CrossFitted(
            rows=rows,
            evidence=evidence_of(p, outer, wide, narrow, near),
            table=table,
            familiarity=familiarity,
        )
        for p in parts
    ]


def _joined(parts: Sequence[CrossFitted], order: IntArray) -> CrossFitted:
    """Concatenate the folds and restore the order of the rows."""
    return CrossFitted(
        rows=np.concatenate([part.rows for part in parts])[order],
        evidence=np.concatenate([part.evidence for part in parts])[order],
        table=np.concatenate([part.table for part in parts])[order],
        familiarity=np.concatenate([part.familiarity for part in parts])[order],
    )


def fit_heads(
    sample: TrainingSample, settings: Sequence[Setting], fitted: Sequence[CrossFitted], lengths: Lengths
) -> list[Head]:
    """Fit a head of each setting on the whole sample, and its last level on the cross-fitted evidence.

    Args:
        fitted: the result of `cross_fit` on the same sample, for each setting.
        lengths: the result of `fit_lengths` on the same sample.
    """
    base, parts = _fit_parts(sample, settings)
    last = (
        fit_last_level(one.evidence, one.table, sample.outcome[one.rows], sample.weight[one.rows])
        for one in fitted
    )
    return [
        Head(
            scaling=base.scaling,
            parts=own,
            last=LastLevel(shared=shared, weights=weights, intercept=intercept, table=base.table),
            store=base.store,
            lengths=lengths,
        )
        for own, (shared, weights, intercept) in zip(parts, last, strict=True)
    ]


def table_of_means(
    outcome: FloatArray, weight: FloatArray, task_type: IntArray, easy: FloatArray
) -> FloatArray:
    """Log odds of the mean outcome per task type and model, shrunk to the model's mean.

    The mean has two parts: how easy the task type's prompts are, and how much better than that the model did
    on those it met (the regression estimator of a mean, Cochran 1977, section 7.1). So a model is not blamed
    for meeting only hard prompts, and if every model met every prompt it is the plain mean.

    Args:
        outcome, weight: shape (n, n_models); NaN and 0 if unknown.
        task_type: shape (n,); -1 for none.
        easy: shape (n, 1); expected mean outcome over models on each prompt.

    Returns:
        Shape (1 + n_task_types, n_models); row 0 over all prompts, row 1 + t of task type t.
    """
    better = weight * np.where(weight > 0, outcome - easy, 0.0)
    overall = (better.sum(axis=0) + TABLE_PRIOR * better.sum() / weight.sum()) / (
        weight.sum(axis=0) + TABLE_PRIOR
    )
    rows = [easy.mean() + overall]
    for task in range(int(task_type.max(initial=-1)) + 1):
        own = task_type == task
        total, count = better[own].sum(axis=0), weight[own].sum(axis=0)
        level = easy[own].mean() if own.any() else easy.mean()
        rows.append(level + (total + TABLE_PRIOR * overall) / (count + TABLE_PRIOR))
    return log_odds(np.stack(rows))


def fit_last_level(
    evidence: FloatArray, table: FloatArray, outcome: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit one logistic regression per model to its observed outcomes, on its evidence.

    The log odds of the table of means are the offset, and the evidence enters as its difference from them:
    with few outcomes the penalty leaves the table as it is. The part of the evidence that the models share
    and the part in which they differ have separate weights (`head.gains`), and the second has a higher
    penalty. A model's weights are those that all models share, at least 0, plus its own difference, which
    has the highest penalty.

    Args:
        evidence: log odds, shape (n, n_models, n_evidence).
        table: log odds, shape (n, n_models).
        outcome, weight: shape (n, n_models); NaN and 0 if unknown.

    Returns:
        Weights of the shared part and of the differences, shape (n_models, n_evidence) each; and intercept,
        shape (n_models,).
    """
    from scipy.optimize import minimize

    problem = LastLevelProblem.of(evidence, table, outcome, weight)
    result = minimize(problem.loss, problem.start, jac=True, method="L-BFGS-B", bounds=problem.bounds)
    common, own, intercept = problem.unpack(result.x)
    of_shared, of_difference = np.hsplit(common + own, 2)
    return of_shared, of_difference, intercept


@dataclass(frozen=True, slots=True, kw_only=True)
class LastLevelProblem:
    """The penalised log loss of all models' last levels, as a function of one vector (c, d, b).

    For prompts n, models m and kinds of evidence e:

        z_nm = table_nm + sum_e gain_nme (c_e + d_me) + b_m
        loss = sum_nm weight_nm (log(1 + exp z_nm) - target_nm z_nm)
             + 1/2 (sum_e penalty_e c_e^2 + OWN_PENALTY sum_me d_me^2 + LAST_PENALTY sum_m b_m^2)

    Here c >= 0 are the weights that all models share, d a model's differences from them, b the intercepts.

    Attributes:
        gain: shape (n, n_models, 2 * n_evidence); the shared part of the evidence, then the differences.
        table, target, weight: shape (n, n_models).
        penalty: shape (2 * n_evidence,).
        models: number of models.
        column: the model of each observed entry if the log is sparse; then the arrays hold only those
            entries, and their first axis is (n_entries,) in place of (n, n_models). None: they hold all.
    """

    gain: FloatArray
    table: FloatArray
    target: FloatArray
    weight: FloatArray
    penalty: FloatArray
    models: int
    column: IntArray | None = None

    @staticmethod
    def of(
        evidence: FloatArray, table: FloatArray, outcome: FloatArray, weight: FloatArray
    ) -> LastLevelProblem:
        """Put the problem together from the arguments of `fit_last_level`."""
        shared, differences = gains(evidence, table)
        entries = np.nonzero(weight) if is_sparse(weight) else (slice(None), slice(None))
        parts = [np.broadcast_to(shared, differences.shape)[entries], differences[entries]]
        return LastLevelProblem(
            gain=np.concatenate(parts, axis=-1),
            table=table[entries],
            target=np.where(weight > 0, outcome, 0.0)[entries],
            weight=weight[entries],
            penalty=np.repeat([LAST_PENALTY, DIFFERENCE_PENALTY], evidence.shape[2]),
            models=weight.shape[1],
            column=None if isinstance(entries[1], slice) else entries[1],
        )

    @property
    def start(self) -> FloatArray:
        """Equal shared weights, and no differences or intercepts."""
        kinds = len(self.penalty)
        return np.concatenate([np.full(kinds, 2.0 / kinds), np.zeros(self.models * kinds + self.models)])

    @property
    def bounds(self) -> list[tuple[float | None, None]]:
        """Shared weights are not negative; the rest is free."""
        kinds = len(self.penalty)
        return [(0.0, None)] * kinds + [(None, None)] * (self.models * kinds + self.models)

    def unpack(self, vector: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Take c, d and b out of a vector: shapes (kinds,), (n_models, kinds) and (n_models,)."""
        kinds = len(self.penalty)
        common, own, intercept = np.split(vector, [kinds, kinds + self.models * kinds])
        return common, own.reshape(self.models, kinds), intercept

    def loss(self, vector: FloatArray) -> tuple[float, FloatArray]:
        """The loss at a vector, and its gradient."""
        common, own, intercept = self.unpack(vector)
        z = self._log_odds(common + own, intercept)
        slope = self.weight * (sigmoid(z) - self.target)
        by_weight, by_intercept = self._by_model(slope)
        softplus = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))  # np.logaddexp takes twice as long
        value = (self.weight * (softplus - self.target * z)).sum() + 0.5 * (
            self.penalty @ common**2 + LAST_PENALTY * (intercept @ intercept) + OWN_PENALTY * (own**2).sum()
        )
        gradient = (
            by_weight.sum(axis=0) + self.penalty * common,
            (by_weight + OWN_PENALTY * own).ravel(),
            by_intercept + LAST_PENALTY * intercept,
        )
        return float(value), np.concatenate(gradient)

    def _log_odds(self, weights: FloatArray, intercept: FloatArray) -> FloatArray:
        """The z of each entry, for weights (n_models, kinds) and intercepts (n_models,)."""
        if self.column is None:
            return np.asarray(self.table + np.einsum("nme,me->nm", self.gain, weights) + intercept)
        gain = np.einsum("ke,ke->k", self.gain, weights[self.column])
        return np.asarray(self.table + gain + intercept[self.column])

    def _by_model(self, slope: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sum the slopes by model, times the evidence, shape (n_models, kinds), and alone, (n_models,)."""
        if self.column is None:
            return np.einsum("nm,nme->me", slope, self.gain), slope.sum(axis=0)
        sums = np.array([np.bincount(self.column, v, self.models) for v in (*(slope * self.gain.T), slope)])
        return sums[:-1].T, sums[-1]


def fit_lengths(sample: TrainingSample, unlogged: float = 0.0) -> Lengths:
    """Fit expected tokens per model: ridge on the log of the output tokens, a ratio for the input tokens.

    Args:
        unlogged: output tokens of a model that logged none, where no other model did either; else the mean.
    """
    output = sample.output_tokens
    seen = np.isfinite(output)
    inputs = _inputs(narrow_inputs, sample.features, structure_scaling(sample.features))
    target = np.where(seen, np.log1p(np.where(seen, output, 0.0)), 0.0)
    usable = seen.any(axis=0)
    width, models = inputs.shape[1], output.shape[1]
    head = Linear(weights=np.zeros((width, models)), intercept=np.zeros(models))
    fitted = np.zeros_like(target)
    if usable.any():
        heads = RidgeHeads.of(inputs, target[:, usable], seen[:, usable].astype(np.float64))
        solution, fitted[:, usable] = heads.solution(), heads.leave_one_out()
        head.weights[:, usable], head.intercept[usable] = solution.weights, solution.intercept
    most = np.array([column[rows].max(initial=-1.0) for column, rows in zip(output.T, seen.T, strict=True)])
    assumed = float(output[seen].mean()) if seen.any() else unlogged
    most = np.where(usable, np.maximum(most, 0.0), assumed)
    head.intercept[~usable] = np.log1p(assumed)
    predicted = np.where(seen, np.expm1(np.clip(fitted, 0.0, np.log1p(most))), 0.0).sum(axis=0)
    total = np.where(seen, output, 0.0).sum(axis=0)
    logged, tokens, tools = sample.input_tokens, sample.features.tokens, has_tools(sample.features)
    ratio = _input_ratio(logged, tokens)
    columns = zip(logged[tools].T, ratio.tolist(), strict=True)
    lines = [_input_line(column, tokens[tools]) or (own, 0.0) for column, own in columns]
    without = _input_ratio(logged[~tools], tokens[~tools])
    plain = np.where(np.isfinite(logged[~tools]).any(axis=0), without, ratio)
    return Lengths(
        log_tokens=head,
        smearing=np.where(predicted > 0, total / np.maximum(predicted, 1e-9), 1.0),
        most=most,
        input_ratio=plain,
        tool_ratio=np.array([line[0] for line in lines]),
        tool_tokens=np.array([line[1] for line in lines]),
    )


def _input_ratio(logged: FloatArray, tokens: FloatArray) -> FloatArray:
    """Logged input tokens per encoder token, by model; that of all models if one has no counts, else 1."""
    seen = np.isfinite(logged)
    by_encoder = np.where(seen, tokens[:, None], 0.0).sum(axis=0)
    by_provider = np.where(seen, logged, 0.0).sum(axis=0)
    overall = by_provider.sum() / by_encoder.sum() if by_encoder.sum() > 0 else 1.0
    return np.where(by_encoder > 0, by_provider / np.maximum(by_encoder, 1e-9), overall)


def _input_line(logged: FloatArray, tokens: FloatArray) -> tuple[float, float] | None:
    """Input tokens per encoder token, and those beside; None if too few calls tell them apart.

    Least squares weighted by 1 / tokens, since the error of a count grows with it; the sum is the log's.

    Args:
        logged, tokens: shape (n,); of one model's calls, NaN where the log has no count.
    """
    seen = np.isfinite(logged) & (tokens > 0)
    logged, tokens = logged[seen], tokens[seen]
    calls, by_encoder, share = len(tokens), tokens.sum(), (1 / tokens).sum()
    spread = by_encoder * share - calls**2
    if calls < LEAST_WITH_TOOLS or spread < LEAST_SPREAD * calls**2:
        return None
    beside = max((by_encoder * (logged / tokens).sum() - calls * logged.sum()) / spread, 0.0)
    ratio = (logged.sum() - beside * calls) / by_encoder
    return (float(ratio), float(beside)) if ratio > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What success heads of every regularisation share; arrays are over the sample's rows."""

    difficulty: Linear
    easy: FloatArray
    centre: FloatArray
    spread: FloatArray
    level: Linear
    deviation: RidgeHeads
    values: FloatArray


def _fit_parts(
    sample: TrainingSample, settings: Sequence[Setting]
) -> tuple[Base, list[SuccessParts | LabelParts]]:
    """Fit everything but the last level, for several settings at once: they share the costly part."""
    scaling = structure_scaling(sample.features)
    sample = sample.rows(np.flatnonzero(np.isfinite(sample.outcome).any(axis=1)))
    wide = _inputs(wide_inputs, sample.features, scaling)
    narrow = _inputs(narrow_inputs, sample.features, scaling)
    common = _fit_common(sample, wide, narrow)
    base = Base(
        scaling=scaling,
        store=_store(sample, narrow, common.values),
        table=table_of_means(sample.outcome, sample.weight, sample.features.task_type, common.easy),
    )
    return base, [_parts(common, sample, wide, setting) for setting in settings]


def _inputs(
    make: Callable[[Features, Scaling], Float32Array], features: Features, scaling: Scaling
) -> Float32Array | Streamed:
    """Wide or narrow inputs of a sample; of a large one, made when a block of them is read."""

    def read(rows: Index) -> Float32Array:
        return make(features.rows(rows), scaling)

    if len(features) <= blocks.AT_ONCE:
        return make(features, scaling)
    return Streamed(shape=(len(features), read(slice(0, 1)).shape[1]), read=read)


def _parts(
    common: _Common, sample: TrainingSample, wide: Float32Array | Streamed, setting: Setting
) -> SuccessParts | LabelParts:
    if setting.kind == "label":
        return _fit_label(wide, sample.label, sample.outcome.shape[1], setting.value)
    return SuccessParts(
        difficulty=common.difficulty,
        centre=common.centre,
        spread=common.spread,
        level=common.level,
        deviation=common.deviation.solution(setting.value * len(sample)),
    )


def _fit_common(
    sample: TrainingSample, wide: Float32Array | Streamed, narrow: Float32Array | Streamed
) -> _Common:
    """Fit the difficulty, then each model's level given it, then the deviation on the residual.

    Each step sees the leave-one-out predictions of the step before, and so can't learn its errors by heart.
    """
    outcome, weight, features = sample.outcome, sample.weight, sample.features
    seen = weight > 0
    shared = _shared_outcome(outcome, weight)
    path = RidgePath.of(wide, shared, weight.mean(axis=1))
    penalty = path.best_penalty(shared)
    easy = path.leave_one_out(shared, penalty)
    centre, spread = easy.mean(axis=0), easy.std(axis=0) + 1e-6
    residual = np.where(seen, outcome - easy, 0.0)
    level = RidgeHeads.of(_level_inputs(features, easy, centre, spread), residual, weight)
    residual = np.where(seen, residual - level.leave_one_out(), 0.0)
    return _Common(
        difficulty=path.solution(penalty),
        easy=easy,
        centre=centre,
        spread=spread,
        level=level.solution(),
        deviation=RidgeHeads.of(narrow, residual, weight),
        values=np.hstack([shared - centre, residual]),
    )


def _level_inputs(
    features: Features, easy: FloatArray, centre: FloatArray, spread: FloatArray
) -> FloatArray | Streamed:
    """`level_inputs` of a sample; of a large one, made when a block of them is read."""

    def read(rows: Index) -> FloatArray:
        return level_inputs(features.rows(rows), easy[rows], centre, spread)

    if len(features) <= blocks.AT_ONCE:
        return level_inputs(features, easy, centre, spread)
    return Streamed(shape=(len(features), 1 + 2 * features.labels.shape[1]), read=read)


def _shared_outcome(outcome: FloatArray, weight: FloatArray) -> FloatArray:
    """Mean outcome of each prompt over models, shape (n, 1), as if all models had met it.

    Each observed outcome counts as its distance from its model's mean, so that a prompt that met only strong
    models does not look easy.
    """
    seen = weight > 0
    filled = weight * np.where(seen, outcome, 0.0)
    overall = filled.sum() / weight.sum()
    means = (filled.sum(axis=0) + 2.0 * overall) / (weight.sum(axis=0) + 2.0)
    excess = (weight * np.where(seen, outcome - means, 0.0)).sum(axis=1) / weight.sum(axis=1)
    return np.asarray(means.mean() + excess)[:, None]


def _fit_label(wide: Float32Array | Streamed, label: IntArray, models: int, c: float) -> LabelParts:
    """Fit logistic regression on the label, of `AT_ONCE` prompts at most.

    A model that is never the label gets almost no chance.
    """
    from sklearn.linear_model import LogisticRegression

    weights = np.zeros((wide.shape[1], models))
    intercept = np.full(models, np.log(CLIP))
    known = np.flatnonzero(label >= 0)
    known = known[evenly(len(known))]
    classes = np.unique(label[known])
    if len(classes) == 1:
        intercept[classes] = 0.0
    elif len(classes) > 1:
        fitted = LogisticRegression(C=c, max_iter=300).fit(wide[known], label[known])
        two = len(classes) == 2
        coefficients = np.vstack([-fitted.coef_, fitted.coef_]) / 2 if two else fitted.coef_
        bias = np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2 if two else fitted.intercept_
        weights[:, classes], intercept[classes] = coefficients.T, bias
    return LabelParts(logits=Linear(weights=weights, intercept=intercept))


def stored_rows(outcome: FloatArray) -> IntArray:
    """Rows of a sample that are the points of its head's neighbour store, in the store's order.

    Args:
        outcome: the sample's, shape (n, n_models); a prompt without a known outcome is no point.
    """
    seen = np.flatnonzero(np.isfinite(outcome).any(axis=1))
    return seen[evenly(len(seen), STORE_POINTS)]


def _store(sample: TrainingSample, inputs: Float32Array | Streamed, values: FloatArray) -> NeighbourStore:
    """Build the neighbour store: principal axes (uncentred, to keep cosines), at most `STORE_POINTS` rows."""
    parts = (unit(inputs[rows]) for rows in blocks.blocks(len(inputs)))
    gram = sum((part.T @ part).astype(np.float64) for part in parts)
    axes = np.linalg.eigh(gram)[1][:, ::-1][:, :STORE_AXES].astype(np.float32)
    kept = evenly(len(sample), STORE_POINTS)
    if isinstance(inputs, Streamed):
        points = unit(unit(inputs[kept]) @ axes)
    else:
        points = unit(unit(inputs) @ axes)[kept]
    seen = np.hstack([np.ones((len(sample), 1)), sample.weight])
    return NeighbourStore(
        axes=axes,
        points=points,
        values=(seen * values)[kept].astype(np.float32),
        seen=seen[kept].astype(np.float32),
    )


def structure_scaling(features: Features) -> Scaling:
    """Mean and spread of the structure features over a sample."""
    exact = None if len(features) <= blocks.AT_ONCE else np.float64
    spread = features.structure.std(axis=0, dtype=exact)
    return Scaling(
        mean=features.structure.mean(axis=0, dtype=exact).astype(np.float32, copy=False),
        spread=np.where(spread > 1e-6, spread, np.inf).astype(np.float32),
    )


def _held_out(groups: IntArray, seed: int) -> list[BoolArray]:
    """The rows held out in each fold; there are `FOLDS` folds, or fewer if there are fewer groups."""
    count = len(np.unique(groups))
    if count < 2:
        raise TrainingError(
            f"sessions link all {len(groups):,} prompts to fit on, so none can be held out; {APART}"
        )
    fold = folds(groups, min(FOLDS, count), seed)
    return [fold == k for k in np.unique(fold)]
