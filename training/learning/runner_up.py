"""The estimator that training did not publish: kept in the router's folder, read by a comparison only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from router.deciding.policy import Policy
from router.forecasting.head import Head
from router.loading.artifact import load_arrays, save_arrays
from router.records import Json
from router.version import Version
from training.learning.fitting import RunnerUp

RUNNER_UP_FILE = "runner_up.safetensors"


def runner_up_to_json(runner_up: RunnerUp) -> dict[str, Json]:
    """What the manifest says of it: which estimator it is, and the thresholds trained for it."""
    return {"head": runner_up.head.kind, "policy": runner_up.policy.to_json()}


def save_runner_up(folder: Path, runner_up: RunnerUp, published: Head) -> None:
    """Write its arrays into a router's folder, without those that the published head has just the same.

    Both were fitted on the same prompts, so the neighbours, the lengths, the scaling and the table of means
    are shared: what is left is a few hundred kilobytes.
    """
    known = published.to_arrays()
    own = {
        name: array
        for name, array in runner_up.head.to_arrays().items()
        if name not in known or not np.array_equal(array, known[name])
    }
    save_arrays(folder / RUNNER_UP_FILE, own)


def runner_up_of(version: Version) -> Version | None:
    """The router as it would be, had training published the other estimator, with thresholds of its own.

    None where there is none: one estimator was forced, or the folder was written before they were kept.

    Raises:
        DamagedArtifact: the file went or changed since the router was loaded.
    """
    stored = version.manifest.get("runner_up")
    if stored is None:
        return None
    arrays = {**version.head.to_arrays(), **load_arrays(version.folder / RUNNER_UP_FILE)}
    return version.with_estimator(Head.from_arrays(arrays, stored["head"]), Policy(**stored["policy"]))
