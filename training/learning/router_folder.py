"""The folder that training writes for a router, with the runner-up that only a comparison reads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.deciding.policy import Policy
from router.forecasting.head import Head
from router.forecasting.task_groups import TaskGroups
from router.forecasting.training_prompts import TrainingPrompts
from router.loading.artifact import load_arrays, new_folder, save_arrays, seal
from router.records import Json, last_said
from router.text import well_formed
from router.version import ENCODER_FOLDER, HEAD_FILE, KEYS_FILE, TASKS_FOLDER, Version
from training.learning.fitting import FinalFit, Fitted
from training.prompts.encoder_export import INFO_FILE
from training.prompts.table import PromptTable

RUNNER_UP_FILE = "runner_up.safetensors"
TEXT_CHARACTERS = 200
"""Length of a training prompt's excerpt, if the settings keep any."""


def write_router(  # noqa: PLR0913 - each is a part of the folder
    out: Path,
    manifest: Mapping[str, Json],
    fitted: Fitted,
    encoder: Path,
    keys: Sequence[str],
    neighbours: TrainingPrompts,
    *,
    groups: TaskGroups | None = None,
) -> dict[str, Json]:
    """Write a router's folder, whole or not at all; returns the manifest as written.

    Args:
        encoder: folder of the exported encoder.
        keys: prompt keys that the router was fitted on; a comparison leaves them out.
        neighbours: the prompts in the head's neighbour store; an explanation shows the nearest.
        groups: groups that stand in for task types, if the log's task types were inferred.
    """
    with new_folder(out) as folder:
        save_arrays(folder / HEAD_FILE, fitted.head.to_arrays())
        if fitted.runner_up:
            _save_runner_up(folder, fitted.runner_up, fitted.head)
        save_arrays(folder / KEYS_FILE, {"keys": np.sort(_numbers(keys))})
        neighbours.save(folder)
        if groups is not None:
            groups.save(folder / TASKS_FOLDER)
        if fitted.cascade and fitted.cascade.cascade:
            fitted.cascade.cascade.save(folder)
        (folder / ENCODER_FOLDER).mkdir()
        for file in encoder.iterdir():
            if file.name != INFO_FILE:
                shutil.copyfile(file, folder / ENCODER_FOLDER / file.name)  # without the mode in the cache
        return seal(folder, manifest)


def stored_prompts(table: PromptTable, *, keep_text: bool) -> TrainingPrompts:
    """Take what the folder keeps of the prompts in the neighbour store; the rows of `table` are these."""
    return TrainingPrompts(
        keys=_numbers(table.keys),
        outcomes=table.success.astype(np.float32),
        texts=[well_formed(last_said(request.messages)[:TEXT_CHARACTERS]) for request in table.requests]
        if keep_text
        else None,
    )


def _numbers(keys: Sequence[str]) -> NDArray[np.uint64]:
    """The first 64 bits of each prompt key."""
    return np.array([int(key[:16], 16) for key in keys], dtype=np.uint64)


def _save_runner_up(folder: Path, runner_up: FinalFit, published: Head) -> None:
    """Write the runner-up's arrays into a router's folder, without those that equal the published head's.

    Both were fitted on the same prompts, so they share the neighbours, the lengths, the scaling and the table
    of means: a few hundred kilobytes are left.
    """
    known = published.to_arrays()
    own = {
        name: array
        for name, array in runner_up.head.to_arrays().items()
        if name not in known or not np.array_equal(array, known[name])
    }
    save_arrays(folder / RUNNER_UP_FILE, own)


def runner_up_of(version: Version) -> Version | None:
    """The router as it would be had training published the other estimator, with that one's own thresholds.

    None if the settings forced one estimator, or the folder is older than the runner-up file.

    Raises:
        DamagedArtifact: the file changed or disappeared after the router was loaded.
    """
    stored = version.manifest.get("runner_up")
    if stored is None:
        return None
    arrays = {**version.head.to_arrays(), **load_arrays(version.folder / RUNNER_UP_FILE)}
    return version.with_estimator(Head.from_arrays(arrays, stored["head"]), Policy(**stored["policy"]))
