from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np
import pytest

from router.errors import DamagedArtifact
from router.records import Request
from router.settings.sections import Fallback
from router.version import HEAD_FILE, Version
from training.learning.router_folder import RUNNER_UP_FILE, runner_up_of
from training.pipeline import Trained

REQUESTS = [
    Request.of("When do you open?"),
    Request.of("Refactor this:\n```\nx = 1\n```", task_type="coding"),
]


@pytest.fixture(scope="module")
def runner_up(version: Version) -> Version:
    other = runner_up_of(version)
    assert other is not None
    return other


def test_the_estimator_that_was_not_published_is_in_the_folder(version: Version, runner_up: Version) -> None:
    assert {version.head.kind, runner_up.head.kind} == {"success", "label"}
    assert RUNNER_UP_FILE in version.manifest["files"]


def test_it_is_read_back_as_it_was_fitted(trained: Trained, runner_up: Version) -> None:
    assert trained.fitted.runner_up is not None
    fitted, loaded = trained.fitted.runner_up.head.to_arrays(), runner_up.head.to_arrays()
    assert loaded.keys() == fitted.keys()
    assert all(np.array_equal(loaded[name], array) for name, array in fitted.items())
    assert runner_up.policy == trained.fitted.runner_up.policy


def test_it_decides_like_a_router_of_its_own(version: Version, runner_up: Version) -> None:
    forecast = runner_up.forecast(REQUESTS)
    assert not np.array_equal(forecast.probability, version.forecast(REQUESTS).probability)
    decided = [decision.model for decision in runner_up.decisions(REQUESTS, forecast)]
    assert set(decided) <= set(version.models)


def test_the_published_router_is_left_as_it_was(version: Version, runner_up: Version) -> None:
    assert version.head.kind != runner_up.head.kind
    assert version.policy_version == runner_up.policy_version


def test_what_both_estimators_share_is_stored_once(router_folder: Path) -> None:
    sizes = [(router_folder / name).stat().st_size for name in (RUNNER_UP_FILE, HEAD_FILE)]
    assert sizes[0] < sizes[1] / 10


def test_a_confidence_that_the_settings_fix_holds_for_it_too(version: Version) -> None:
    fixed = version.config.model_copy(update={"fallback": Fallback(confidence=0.9)})
    other = runner_up_of(Version.load(version.folder, fixed))
    assert other is not None
    assert other.policy.least_confidence == 0.9


def test_a_router_without_one_says_so(version: Version) -> None:
    older = copy(version)
    older.manifest = {name: value for name, value in version.manifest.items() if name != "runner_up"}
    assert runner_up_of(older) is None


def test_a_folder_that_went_since_loading_is_refused(version: Version, tmp_path: Path) -> None:
    gone = copy(version)
    gone.folder = tmp_path
    with pytest.raises(DamagedArtifact, match=RUNNER_UP_FILE):
        runner_up_of(gone)
