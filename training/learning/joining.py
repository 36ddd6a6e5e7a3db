"""Fits a model that joins a fitted head from some hundred outcomes, and takes models out of one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from router.forecasting.added import Added, mean_log
from router.forecasting.features import Features
from router.forecasting.head import Head, log_odds, narrow_inputs
from router.records import BoolArray, Float32Array, FloatArray, IntArray
from training.prompts.split import folds
from training.statistics.logistic import fit_logistic
from training.statistics.ridge import RidgeHeads

FOLDS = 5
LEVEL_PENALTY = 0.1
"""On the distance of the model's level from the mean of the others, in log odds."""
SHARED_PENALTY = 10.0
"""On the distance of the weight of that mean from 1."""
TASK_PENALTY = 1.0
"""On what a task type adds: worth about five calls, like `TABLE_PRIOR` of the head's own table."""
OWN_PENALTY = 10.0
"""On the weights of the differences between the head's own models."""
DEVIATION_PENALTY = 10.0
"""On the weights of the narrow inputs, of which there are more than outcomes."""
SURPRISE_PENALTY = 1.0
"""On the weight of what the others did beyond their forecasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewcomerOutcomes:
    """What one model did on n prompts; NaN is unknown.

    Attributes:
        success: shape (n,); in [0, 1].
        weight: shape (n,); importance of each outcome.
        input_tokens, output_tokens: shape (n,).
        others: shape (n, m); success of the models on offer, in the head's order.
        groups: shape (n,); prompts of one group are forecast from the others.
    """

    features: Features
    success: FloatArray
    weight: FloatArray
    input_tokens: FloatArray
    output_tokens: FloatArray
    others: FloatArray
    groups: IntArray

    def rows(self, index: IntArray | BoolArray) -> NewcomerOutcomes:
        """The prompts at `index`."""
        arrays = {name: getattr(self, name)[index] for name in self.__slots__ if name != "features"}
        return NewcomerOutcomes(features=self.features.rows(index), **arrays)


def with_model(head: Head, evidence: NewcomerOutcomes) -> Head:
    """A head with one more model on offer, the last; what it forecasts for the others stays bit for bit.

    Without outcomes the model is expected to do as well as the others do on average, and to write as much.
    What the others did on its prompts, beyond their forecasts, tells luck in the draw of prompts from skill.
    """
    own, narrow, output = _forecasts(head, evidence.features)
    inputs = _design(own, narrow, evidence.features.task_type, len(head.last.table))
    surprise = evidence.others - head.predict(evidence.features).probability
    weights = _fit_success(inputs, _known_mean(surprise), evidence, own.shape[1], narrow.shape[1])
    shared, table, of_own, deviation = np.split(weights, np.cumsum([1, len(head.last.table), own.shape[1]]))
    table = table + np.where(np.arange(len(table)) > 0, table[0], 0.0)
    column = Added(
        shared=shared,
        table=table[:, None],
        own=of_own[:, None],
        deviation=deviation[:, None],
        **_fit_lengths(evidence, output, narrow),
        columns=np.array([own.shape[1]], dtype=np.int64),
    )
    return replace(head, added=_appended(head.added or _none(head), column))


def held_out_success(head: Head, evidence: NewcomerOutcomes) -> FloatArray:
    """The success that `with_model` forecasts for each prompt from the others' outcomes, shape (n,)."""
    count = len(np.unique(evidence.groups))
    fold = folds(evidence.groups, min(FOLDS, count), seed=0) if count > 1 else np.zeros(len(evidence.groups))
    out = np.zeros(len(fold))
    for number in np.unique(fold):
        held = fold == number
        out[held] = (
            with_model(head, evidence.rows(~held)).predict(evidence.features.rows(held)).probability[:, -1]
        )
    return out


def without_model(head: Head, place: int) -> Head:
    """A head that offers one model less; the others' forecasts stay bit for bit, and may still rest on it.

    Args:
        place: of the model among those on offer.
    """
    added = head.added or _none(head)
    return replace(head, added=replace(added, columns=np.delete(added.columns, place)))


def _none(head: Head) -> Added:
    """No model joined, and all of the head's own are on offer."""
    models, narrow = len(head.last.intercept), len(head.lengths.log_tokens.weights)
    nothing = np.zeros(0)
    return Added(
        shared=nothing,
        table=np.zeros((len(head.last.table), 0)),
        own=np.zeros((models, 0)),
        deviation=np.zeros((narrow, 0)),
        tokens=np.zeros((narrow, 0)),
        level=nothing,
        smearing=nothing,
        most=nothing,
        input_ratio=nothing,
        columns=np.arange(models, dtype=np.int64),
    )


def _appended(added: Added, column: Added) -> Added:
    """The models of both; `column` holds one, whose place in the head is behind all others."""
    names = ("shared", "table", "own", "deviation", "tokens", "level", "smearing", "most", "input_ratio")
    joined = {name: np.concatenate([getattr(added, name), getattr(column, name)], axis=-1) for name in names}
    place = column.columns + len(added.shared)
    return Added(**joined, columns=np.concatenate([added.columns, place]))


def _forecasts(head: Head, features: Features) -> tuple[FloatArray, Float32Array, FloatArray]:
    """Of the head's own models: log odds of success and output tokens, shape (n, m); and narrow inputs."""
    plain = replace(head, added=None).predict(features)
    return log_odds(plain.probability), narrow_inputs(features, head.scaling), plain.output_tokens


def _design(own: FloatArray, narrow: Float32Array, task_type: IntArray, tables: int) -> FloatArray:
    """One row a prompt: the mean of the own models, 1, the task type, their differences, narrow inputs."""
    mean = own.mean(axis=1, keepdims=True)
    types = (task_type[:, None] + 1 == np.arange(tables)).astype(np.float64)
    types[:, 0] = 1.0
    return np.hstack([mean, types, own - mean, narrow])


def _known_mean(values: FloatArray) -> FloatArray:
    """The mean of the finite values of each row; 0 where there is none."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def _fit_success(
    inputs: FloatArray, surprise: FloatArray, evidence: NewcomerOutcomes, models: int, narrow: int
) -> FloatArray:
    """Weights of the inputs: logistic regression shrunk to the mean of the head's own models.

    The others' surprise on a prompt explains some outcomes. Its weight is left out, as no forecast knows it,
    and the rest is scaled to the chance averaged over it.
    """
    success, weight = evidence.success, evidence.weight
    known = np.isfinite(success) & (weight > 0)
    prior = np.zeros(inputs.shape[1])
    prior[0] = 1.0
    tasks = inputs.shape[1] - 2 - models - narrow
    penalties = np.repeat(
        [SHARED_PENALTY, LEVEL_PENALTY, TASK_PENALTY, OWN_PENALTY, DEVIATION_PENALTY, SURPRISE_PENALTY],
        [1, 1, tasks, models, narrow, 1],
    )
    explained = np.hstack([inputs, surprise[:, None]])[known]
    fitted = fit_logistic(explained, success[known], weight[known], penalties, np.append(prior, 0.0)).weights
    spread = np.var(surprise[known]) * fitted[-1] ** 2 if known.any() else 0.0
    return np.asarray(fitted[:-1] / np.sqrt(1.0 + spread * np.pi / 8))


def _fit_lengths(
    evidence: NewcomerOutcomes, output: FloatArray, narrow: Float32Array
) -> dict[str, FloatArray]:
    """Expected tokens: ridge on what the logarithm adds to the others' mean, a ratio for the input tokens."""
    seen = np.isfinite(evidence.output_tokens)
    base = mean_log(output)
    tokens, level, smearing, most = (
        np.zeros((narrow.shape[1], 1)),
        np.zeros(1),
        np.ones(1),
        np.full(1, np.inf),
    )
    if seen.sum() > 1:
        counted = evidence.output_tokens[seen]
        heads = RidgeHeads.of(narrow[seen], np.log1p(counted)[:, None] - base[seen], np.ones((seen.sum(), 1)))
        solution, fitted = heads.solution(), base[seen] + heads.leave_one_out()
        tokens, level, most = solution.weights, solution.intercept, counted.max(keepdims=True)
        expected = np.expm1(np.clip(fitted, 0.0, np.log1p(most))).sum()
        smearing = np.array([counted.sum() / expected if expected > 0 else 1.0])
    inputs = np.isfinite(evidence.input_tokens)
    by_encoder = evidence.features.tokens[inputs].sum()
    ratio = evidence.input_tokens[inputs].sum() / by_encoder if by_encoder > 0 else 1.0
    return {
        "tokens": tokens,
        "level": level,
        "smearing": smearing,
        "most": most,
        "input_ratio": np.array([ratio]),
    }
