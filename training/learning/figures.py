"""The curves of a training run, drawn for its page in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from training.learning.fitting import Fitted
from training.learning.thresholds import Judged
from training.statistics.policy_curves import reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def training_figures(fitted: Fitted) -> Mapping[str, Figure]:
    """Cost-quality, risk-coverage and reliability on cross-fitted forecasts, by file name."""
    return {
        "cost_quality.png": _cost_quality(fitted.judged),
        "risk_coverage.png": _risk_coverage(fitted),
        "reliability.png": _reliability(fitted.judged),
    }


def _cost_quality(judged: Judged) -> Figure:
    figure, axes = _axes("USD per 1,000 calls", "success rate")
    curve = judged.curve()
    axes.plot(curve.cost * 1000, curve.success, label="policy, swept over its weight")
    axes.scatter(
        judged.cost.mean(axis=0) * 1000, judged.success.mean(axis=0), marker="x", label="single models"
    )
    axes.legend()
    return figure


def _risk_coverage(fitted: Fitted) -> Figure:
    figure, axes = _axes("coverage: share of prompts the policy keeps", "risk: failure rate among them")
    count = np.arange(1, len(fitted.kept) + 1)
    axes.plot(count / len(count), 1 - np.cumsum(fitted.kept) / count)
    return figure


def _reliability(judged: Judged) -> Figure:
    figure, axes = _axes("predicted chance of success", "observed success rate")
    bins = reliability(judged.probability[judged.known], judged.success[judged.known])
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
