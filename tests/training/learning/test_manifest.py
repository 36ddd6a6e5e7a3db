from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from router.loading.artifact import read_manifest
from training.learning.fitting import Fitted
from training.learning.manifest import LIBRARIES, guarantee_to_json, run_record
from training.pipeline import Trained
from training.statistics.quality_guarantee import GuaranteedWeight
from training.tracking.publish import RunRecord


@pytest.fixture(scope="module")
def record(trained: Trained) -> RunRecord:
    return run_record(trained.manifest, trained.fitted, trained.report, trained.reading)


def test_a_manifest_says_what_the_router_was_made_of(trained: Trained) -> None:
    manifest = read_manifest(trained.out)
    assert manifest["models"] == list(trained.manifest["models"])
    assert manifest["data"]["digest"] == trained.reading.digest
    assert manifest["encoder"]["parity"]["mean"] >= 0.99
    assert set(manifest["libraries"]) == set(LIBRARIES)


def test_a_manifests_parts_hold_every_prompt_once(trained: Trained) -> None:
    split = trained.manifest["split"]
    known = trained.report["prompts"] - trained.report["label_status"]["unobserved"]
    assert split["train"] + split["validation"] + split["test"] == known


def test_a_manifest_has_metrics_for_every_part(trained: Trained) -> None:
    expected = {"calibration", "validation_success", "validation_label", "test"}
    assert set(trained.manifest["metrics"]) == expected


def test_a_manifest_is_strict_json(trained: Trained) -> None:
    assert json.loads(json.dumps(trained.manifest, allow_nan=False))


def test_a_run_has_parameters_metrics_figures_and_documents(record: RunRecord, trained: Trained) -> None:
    assert record.params["policy_version"] == trained.manifest["policy_version"]
    assert record.metrics["calls"] == trained.reading.calls
    assert set(record.figures) == {"cost_quality.png", "risk_coverage.png", "reliability.png"}
    assert set(record.documents) == {"data_report.json", "reading.json", "manifest.json"}


def test_every_metric_of_a_run_is_finite(record: RunRecord) -> None:
    assert np.isfinite(list(record.metrics.values())).all()


def test_the_estimator_that_lost_is_nested_with_its_search(record: RunRecord, trained: Trained) -> None:
    (lost,) = record.nested.values()
    assert lost.params["estimator"] != trained.fitted.published
    assert lost.documents["search.json"]
    assert "validation.brier" in lost.metrics


def guaranteeing(fitted: Fitted, test: Mapping[str, float]) -> Fitted:
    """A fitted router of which a loss of at most 0.02 was guaranteed."""
    guarantee = GuaranteedWeight(
        max_loss=0.02,
        confidence=0.95,
        weight=3.0,
        bound=0.019,
        n=500,
        clusters=400,
        method="a test",
        assumptions=("one",),
    )
    return replace(fitted, guarantee=guarantee, test={**fitted.test, **test})


@pytest.mark.parametrize(("success", "kept"), [(0.89, True), (0.87, False)])
def test_a_manifest_says_what_was_guaranteed_and_whether_it_was_kept(
    trained: Trained, success: float, kept: bool
) -> None:
    test = {"best_single_success": 0.9, "success": success, "prompts": 80.0, "filled_in": 0.0}
    guarantee = guarantee_to_json(guaranteeing(trained.fitted, test))
    assert guarantee is not None
    assert (guarantee["kept"], guarantee["max_quality_loss"], guarantee["test_prompts"]) == (kept, 0.02, 80)
    assert guarantee["test_loss"] == pytest.approx(0.9 - success)


def test_outcomes_that_were_filled_in_do_not_tell_whether_a_guarantee_was_kept(trained: Trained) -> None:
    guarantee = guarantee_to_json(guaranteeing(trained.fitted, {"filled_in": 0.1}))
    assert guarantee is not None
    assert (guarantee["kept"], guarantee["test_loss"], guarantee["test_prompts"]) == (None, None, 0)


def test_a_run_has_the_guarantee_among_its_metrics(trained: Trained) -> None:
    promise = guarantee_to_json(guaranteeing(trained.fitted, {}))
    manifest = {**trained.manifest, "promise": promise}
    metrics = run_record(manifest, trained.fitted, trained.report, trained.reading).metrics
    assert (metrics["promise.bound"], metrics["promise.max_quality_loss"]) == (0.019, 0.02)


def test_without_a_guarantee_the_manifest_has_none(trained: Trained) -> None:
    assert "promise" not in trained.manifest
