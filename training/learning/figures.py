"""Draws the curves of a training run for its page in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from training.learning.fitting import Fitted
from training.learning.thresholds import Backtest
from training.statistics.policy_curves import reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def training_figures(fitted: Fitted) -> Mapping[str, Figure]:
    """Draw cost-quality, risk-coverage and reliability on cross-fitted forecasts; keys are file names."""
    return {
        "cost_quality.png": _cost_quality(fitted.backtest),
        "risk_coverage.png": _risk_coverage(fitted),
        "reliability.png": _reliability(fitted.backtest),
    }


def _cost_quality(backtest: Backtest) -> Figure:
    figure, axes = _axes("USD per 1,000 calls", "success rate")
    curve = backtest.curve()
    axes.plot(curve.cost * 1000, curve.success, label="policy, swept over its weight")
    axes.scatter(
        backtest.cost.mean(axis=0) * 1000, backtest.success.mean(axis=0), marker="x", label="single models"
    )
    axes.legend()
    return figure


def _risk_coverage(fitted: Fitted) -> Figure:
    figure, axes = _axes("coverage: share of prompts the policy keeps", "risk: failure rate among them")
    count = np.arange(1, len(fitted.kept) + 1)
    axes.plot(count / len(count), 1 - np.cumsum(fitted.kept) / count)
    return figure


def _reliability(backtest: Backtest) -> Figure:
    figure, axes = _axes("predicted chance of success", "observed success rate")
    bins = reliability(backtest.probability[backtest.known], backtest.success[backtest.known])
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.plot(bins.predicted, bins.observed, marker="o")
    return figure


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes
