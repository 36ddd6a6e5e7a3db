"""Models that joined or left a head after it was fitted, beside what it forecasts for its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.forecasting.features import Features
from router.records import Float32Array, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What forecasts k added models from the head's forecasts for its own m models, which stay as they are.

    An added model's log odds of success start at the mean over the head's own models, and differ from it by
    task type, by which of them a prompt suits, and by the prompt itself.

    Attributes:
        shared: shape (k,); weight of the mean log odds over the head's own models.
        table: shape (1 + n_task_types, k); log odds that the task type adds, row 0 without one.
        own: shape (m, k); weights of each own model's difference from that mean.
        deviation: shape (n_narrow, k); weights of the narrow inputs.
        tokens: shape (n_narrow, k); the same for log(1 + output tokens), on the mean over the own models.
        level: shape (k,); intercept of that.
        smearing, most, input_ratio: shape (k,); as in `Lengths`.
        columns: shape (n_models,); the models on offer, as columns of the own and then the added ones.
    """

    shared: FloatArray
    table: FloatArray
    own: FloatArray
    deviation: FloatArray
    tokens: FloatArray
    level: FloatArray
    smearing: FloatArray
    most: FloatArray
    input_ratio: FloatArray
    columns: IntArray

    def log_odds(self, own: FloatArray, narrow: Float32Array, task_type: IntArray) -> FloatArray:
        """Log odds of success, shape (n, k).

        Args:
            own: shape (n, m); log odds of the head's own models.
            narrow: shape (n, n_narrow).
            task_type: shape (n,); -1 for none.
        """
        mean = own.mean(axis=1, keepdims=True)
        given = self.table[task_type + 1] + narrow @ self.deviation
        return np.asarray(mean * self.shared + given + (own - mean) @ self.own)

    def lengths(
        self, output: FloatArray, features: Features, narrow: Float32Array
    ) -> tuple[FloatArray, FloatArray]:
        """Expected input and output tokens, shape (n, k).

        Args:
            output: shape (n, m); expected output tokens of the head's own models.
        """
        log = mean_log(output) + narrow @ self.tokens + self.level
        known = np.minimum(np.expm1(np.clip(log, 0.0, np.log1p(self.most))) * self.smearing, self.most)
        return features.tokens[:, None] * self.input_ratio, known

    def offered(self, own: FloatArray, added: FloatArray) -> FloatArray:
        """The columns on offer of own (n, m) and added (n, k) values, shape (n, n_models)."""
        return np.asarray(np.hstack([own, added])[:, self.columns])


def mean_log(output: FloatArray) -> FloatArray:
    """Mean of log(1 + tokens) over models, shape (n, 1), from tokens of shape (n, m)."""
    return np.asarray(np.log1p(output).mean(axis=1, keepdims=True))
