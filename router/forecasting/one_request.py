"""What a success head says of one request, by Python's numbers: numpy's arrays of a handful cost more."""

from __future__ import annotations

import math

import numpy as np

from router.forecasting.features import TOOLS_COLUMN, RequestFeatures, hashed_product
from router.forecasting.head import (
    CLIP,
    DEVIATION_SHARE,
    LABEL_SCALE,
    NARROW_STRUCTURE_SCALE,
    Head,
    Outlook,
    SuccessParts,
)
from router.forecasting.one_row import Blocks
from router.records import Float32Array


class OneRequest:
    """A success head without added models, prepared for one request at a time; threads may share it."""

    def __init__(self, head: Head, parts: SuccessParts) -> None:
        self._store = head.store
        self._linear = Blocks(head.joined.weights)
        self._intercept, self._grams = head.joined.intercept, head.joined.grams[0]
        self._mean, self._spread = head.scaling.mean, head.scaling.spread
        self._centre, self._spread_of_difficulty = float(parts.centre[0]), float(parts.spread[0])
        last, lengths, models = head.last, head.lengths, len(head.last.intercept)
        self._floors = last.table.tolist()
        kinds = zip(last.shared.tolist(), last.weights.tolist(), strict=True)
        self._last = [
            (*pair, intercept) for pair, intercept in zip(kinds, last.intercept.tolist(), strict=True)
        ]
        self._columns = len(head.joined.weights[0])
        self._lengths = list(
            zip(
                lengths.smearing.tolist(),
                np.log1p(lengths.most).tolist(),
                lengths.most.tolist(),
                strict=True,
            )
        )
        # Routers of before December 2026 have one number of tokens for all.
        tool_tokens = np.broadcast_to(lengths.tool_tokens, models).tolist()
        self._plain_input = [(ratio, 0.0) for ratio in lengths.input_ratio.tolist()]
        self._tool_input = list(zip(lengths.tool_ratio.tolist(), tool_tokens, strict=True))

    def predict(self, features: RequestFeatures) -> Outlook:
        """What `Head.predict` returns, up to rounding."""
        narrow = self._narrow(features)
        near, familiarity = self._store.search_one(narrow)
        linear = (self._linear(narrow.astype(np.float64)) + self._intercept).tolist()
        models = len(self._last)
        fixed, moving = linear[1 : 1 + models], linear[1 + models : 1 + 2 * models]
        difficulty = linear[0] + hashed_product(features.codes, self._grams)
        standard = (difficulty - self._centre) / self._spread_of_difficulty
        deviations = [
            one + standard * other + DEVIATION_SHARE * seen
            for one, other, seen in zip(fixed, moving, near[1:], strict=True)
        ]
        has_tools = features.structure[TOOLS_COLUMN] > 0
        inputs = self._tool_input if has_tools else self._plain_input
        tokens = features.tokens
        return Outlook(
            probability=np.array([self._chances(difficulty, self._centre + near[0], deviations, features)]),
            input_tokens=np.array([[tokens * ratio + more for ratio, more in inputs]]),
            output_tokens=np.array([list(map(_output, linear[1 + 2 * models :], self._lengths))]),
            familiarity=np.array([familiarity]),
        )

    def _narrow(self, features: RequestFeatures) -> Float32Array:
        """As `narrow_inputs`, of one request; shape (n_narrow,)."""
        narrow = np.zeros(self._columns, dtype=np.float32)
        dimensions = len(features.embedding)
        narrow[:dimensions] = features.embedding
        for column in features.labels:
            narrow[dimensions + column] = LABEL_SCALE
        standard = (np.array(features.structure, dtype=np.float32) - self._mean) / self._spread
        np.minimum(np.maximum(standard, -4, out=standard), 4, out=standard)
        np.multiply(standard, NARROW_STRUCTURE_SCALE, out=narrow[len(narrow) - len(standard) :])
        return narrow

    def _chances(
        self, difficulty: float, nearby: float, deviations: list[float], features: RequestFeatures
    ) -> list[float]:
        """Calibrated chance of success of each model: what `combined` does with `gains`."""
        floors = self._floors[features.task_type + 1]
        first = [_log_odds(difficulty + one) - floor for one, floor in zip(deviations, floors, strict=True)]
        second = [_log_odds(nearby + one) - floor for one, floor in zip(deviations, floors, strict=True)]
        mean, other_mean = sum(first) / len(first), sum(second) / len(second)
        return [
            _sigmoid(
                floor
                + intercept
                + shared[0] * mean
                + shared[1] * other_mean
                + weights[0] * (one - mean)
                + weights[1] * (other - other_mean)
            )
            for one, other, floor, (shared, weights, intercept) in zip(
                first, second, floors, self._last, strict=True
            )
        ]


def _output(log_tokens: float, length: tuple[float, float, float]) -> float:
    """As `Lengths.output`, of one model."""
    smearing, log_most, most = length
    return min(math.expm1(min(max(log_tokens, 0.0), log_most)) * smearing, most)


def _log_odds(probability: float) -> float:
    """As `head.log_odds`."""
    clipped = min(max(probability, CLIP), 1.0 - CLIP)
    return math.log(clipped / (1.0 - clipped))


def _sigmoid(log: float) -> float:
    """As `head.sigmoid`."""
    return 1.0 / (1.0 + math.exp(-min(max(log, -30.0), 30.0)))
