from __future__ import annotations

import io

import numpy as np
import pytest

from training.learning.figures import training_figures
from training.pipeline import Trained

NAMES = ["cost_quality.png", "risk_coverage.png", "reliability.png"]


@pytest.mark.parametrize("name", NAMES)
def test_every_curve_is_drawn_and_labelled(trained: Trained, name: str) -> None:
    figure = training_figures(trained.fitted)[name]
    (axes,) = figure.axes
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    written = io.BytesIO()
    figure.savefig(written, format="png")
    assert written.getvalue().startswith(b"\x89PNG")


def test_the_cost_quality_curve_shows_every_single_model(trained: Trained) -> None:
    (axes,) = training_figures(trained.fitted)["cost_quality.png"].axes
    points = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(points[:, 1], trained.fitted.backtest.success.mean(axis=0))


def test_risk_ends_at_the_failure_rate_over_all(trained: Trained) -> None:
    (axes,) = training_figures(trained.fitted)["risk_coverage.png"].axes
    coverage, risk = axes.lines[0].get_data()
    assert np.asarray(coverage)[-1] == 1.0
    assert np.asarray(risk)[-1] == pytest.approx(1 - trained.fitted.kept.mean())
