"""The training prompts that a router remembers: keys, outcomes and, if allowed, the start of the text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.errors import DamagedArtifact
from router.loading.artifact import load_arrays, save_arrays
from router.records import Float32Array, Json

POINTS_FILE = "neighbours.safetensors"
TEXTS_FILE = "neighbours.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPrompts:
    """The prompts of a router's neighbour store, in its order.

    Attributes:
        keys: shape (n_points,); first 64 bits of each prompt's key.
        outcomes: shape (n_points, n_models); share of calls that succeeded, NaN if none is known.
        texts: the start of each prompt's last user turn; None if the folder may not hold it.
    """

    keys: NDArray[np.uint64]
    outcomes: Float32Array
    texts: Sequence[str] | None

    def save(self, folder: Path) -> None:
        """Write the prompts into a router's folder."""
        save_arrays(folder / POINTS_FILE, {"keys": self.keys, "outcomes": self.outcomes})
        if self.texts is not None:
            lines = (
                json.dumps({"key": short_key(key), "text": text})
                for key, text in zip(self.keys, self.texts, strict=True)
            )
            (folder / TEXTS_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")

    @staticmethod
    def load(folder: Path, files: Mapping[str, Json]) -> TrainingPrompts | None:
        """Load the prompts of a router's folder; None if it was written without them.

        Args:
            files: those in the manifest, whose hashes were checked.

        Raises:
            DamagedArtifact: a file was changed or removed after the router was loaded.
        """
        if POINTS_FILE not in files:
            return None
        arrays = load_arrays(folder / POINTS_FILE)
        texts = _texts(folder / TEXTS_FILE) if TEXTS_FILE in files else None
        keys = arrays["keys"].astype(np.uint64)
        if texts is not None and len(texts) != len(keys):
            raise DamagedArtifact(f"{folder / TEXTS_FILE}: {len(texts)} lines for {len(keys):,} prompts")
        return TrainingPrompts(keys=keys, outcomes=arrays["outcomes"].astype(np.float32), texts=texts)


def short_key(key: np.uint64) -> str:
    """The first 64 bits of a prompt key, as hexadecimal digits."""
    return f"{int(key):016x}"


def _texts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return [str(json.loads(line)["text"]) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedArtifact(f"{path}: can't be read: {error}; train or fetch the router again") from error
