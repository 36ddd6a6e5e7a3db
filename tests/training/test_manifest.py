from __future__ import annotations

import json

import numpy as np
import pytest

from router.artifact import read_manifest
from training.manifest import LIBRARIES, run_record
from training.pipeline import Trained
from training.publish import RunRecord


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
