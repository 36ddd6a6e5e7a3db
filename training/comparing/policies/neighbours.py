"""The nearest training prompts as a policy: the outcomes on them, without any regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.deciding.policy import choose
from router.forecasting.features import Features
from router.forecasting.head import CHUNK, narrow_inputs, nearest, neighbour_means, unit
from router.forecasting.training_prompts import TrainingPrompts
from router.models.prices import PriceTable
from router.records import Float32Array, FloatArray, IntArray
from router.settings.sections import Objective
from router.version import Version
from training.learning.thresholds import Backtest, choose_weight
from training.learning.training_means import statistics_of

NEIGHBOURS = "k nearest neighbours"
K = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourForecast:
    """What the nearest training prompts expect of n requests.

    Attributes:
        probability: shape (n, m); chance of success.
        expected_cost: shape (n, m); USD, as the router expects; NaN where a price is unknown.
        weight: on cost, in 1 / USD; meets the router's objective on the training prompts, so no evaluated
            prompt influences it.
    """

    probability: FloatArray
    expected_cost: FloatArray
    weight: float

    def choice(self) -> IntArray:
        """argmax_m p - weight * expected cost, shape (n,)."""
        return choose(self.probability, self.expected_cost, self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The training prompts that the router's folder remembers.

    Attributes:
        axes: shape (n_narrow, n_axes); axes that a prompt's inputs are projected on.
        points: shape (n_points, n_axes); unit rows.
        outcomes: shape (n_points, m); in [0, 1], NaN where unknown.
        success: shape (m,); mean of each model over the training log, in [0, 1].
        cost: shape (m,); mean USD a call of each model, NaN where unknown.
    """

    axes: Float32Array
    points: Float32Array
    outcomes: FloatArray
    success: FloatArray
    cost: FloatArray

    @staticmethod
    def of(router: Version) -> Memory | None:
        """The memory of a router, or None if its folder does not hold its prompts' outcomes."""
        prompts = TrainingPrompts.load(router.folder, router.manifest["files"])
        if prompts is None:
            return None
        statistics = statistics_of(router.manifest)
        success = statistics.success
        return Memory(
            axes=router.head.store.axes,
            points=router.head.store.points,
            outcomes=prompts.outcomes.astype(np.float64),
            success=np.where(np.isnan(success), np.nanmean(success), success),
            cost=statistics.cost,
        )

    def forecast(self, inputs: Float32Array, k: int = K) -> FloatArray:
        """Mean outcome of the `k` nearest prompts, weighted by exp(8 cosine) and shrunk to each model's mean.

        The weights are scaled to add up to `k`, and a model's mean counts like `PRIOR_NEIGHBOURS` of them.

        Args:
            inputs: shape (n, n_narrow), as `narrow_inputs` returns them.

        Returns:
            Shape (n, m), in [0, 1].
        """
        blocks = range(0, len(inputs), CHUNK)
        return np.vstack([self._near(unit(inputs[i : i + CHUNK] @ self.axes), k) for i in blocks])

    def left_out(self, k: int = K) -> FloatArray:
        """The same forecast for each remembered prompt from all the others, shape (n_points, m)."""
        blocks = range(0, len(self.points), CHUNK)
        return np.vstack([self._near(self.points[i : i + CHUNK], k, skip=i) for i in blocks])

    def _near(self, points: Float32Array, k: int, skip: int | None = None) -> FloatArray:
        """`forecast` of a block of points; with `skip` they are the remembered ones from that row on.

        Such a point is not its own neighbour.
        """
        cosine = points @ self.points.T
        if skip is not None:
            rows = np.arange(len(points))
            cosine[rows, rows + skip] = -np.inf
        near = nearest(cosine, min(k, max(1, len(self.points) - (skip is not None))))
        close = np.take_along_axis(cosine, near, axis=1).astype(np.float64)
        seen = np.isfinite(self.outcomes)
        known = np.where(seen, self.outcomes, 0.0)
        return np.asarray(neighbour_means(close, known[near], seen[near].astype(np.float64), self.success))

    def weight(self, objective: Objective) -> float:
        """Weight on cost, in 1 / USD, that meets the objective on the `left_out` forecasts; 0 without costs.

        Each model's mean cost stands in for the cost of its calls, which a folder does not hold.
        """
        if not np.isfinite(self.cost).any():
            return 0.0
        cost = np.tile(self.cost, (len(self.points), 1))
        return choose_weight(Backtest.of(self.left_out(), cost, self.outcomes, cost), objective)


def neighbour_forecast(router: Version, features: Features) -> NeighbourForecast | None:
    """The forecast of the nearest training prompts, or None if the router's folder holds no outcomes.

    Args:
        features: of the requests, as the router's head sees them.
    """
    memory = Memory.of(router)
    if memory is None:
        return None
    narrow = narrow_inputs(features, router.head.scaling)
    prices = PriceTable.of([router.prices[model] for model in router.models])
    return NeighbourForecast(
        probability=memory.forecast(narrow),
        expected_cost=prices.expected_cost(
            *router.head.expected_tokens(features, narrow),
            later=features.later if prices.knows_cache else None,
        ),
        weight=memory.weight(router.config.objective),
    )


def neighbour_choice(router: Version, features: Features) -> IntArray | None:
    """The choice of `neighbour_forecast`, in the columns of the router, or None."""
    forecast = neighbour_forecast(router, features)
    return None if forecast is None else forecast.choice()
