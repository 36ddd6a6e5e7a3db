"""Groups of prompts, which replace the task type of a request that names none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.errors import DamagedArtifact
from router.forecasting.encoder import Encoding
from router.forecasting.one_row import products
from router.forecasting.read_part import read_part
from router.loading.artifact import load_arrays, save_arrays
from router.records import SYSTEM_ROLES, Float32Array, Json, Request, message_texts

ABOUT_FILE = "groups.json"
ARRAYS_FILE = "groups.safetensors"
FORMAT = "pointsman-task-groups"

SYSTEM_WORDS = 32
"""First words of the system text that are its frame; what an application fills in usually comes later."""
FRAME_WORDS = 8
LEAST_WORDS = 4
READ_CHARACTERS = 2_000
_VARIABLE = re.compile(
    r"""https?://\S+|[^\s@]{1,200}+@\S+|"[^"\n]{1,400}"|“[^“”\n]{1,400}”|`[^`\n]{1,400}`|\d+"""
)
"""What differs between the prompts of one template: addresses, quotations, numbers."""
_WORD = re.compile(r"[^\W\d_]+|[^\w\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroups:
    """Assigns a request to the group of its frame, else to that of the nearest centre of embeddings.

    Attributes:
        names: of the groups: first those of frames, then one for each centre.
        encoder: name of the encoder that made the embeddings.
        encoder_sha256: hash of its files; another encoder's embeddings have other centres.
        frames: group per hash of a frame.
        centres: shape (n_centres, dimensions), unit rows.
    """

    names: tuple[str, ...]
    encoder: str
    encoder_sha256: str
    frames: Mapping[int, int]
    centres: Float32Array

    def name_of(self, request: Request, encode: Callable[[Request], Encoding]) -> str | None:
        """Name of the request's group; None if it has no known frame and there are no centres.

        Args:
            encode: called only if no frame is known.
        """
        for frame in frames_of(request):
            if frame in self.frames:
                return self.names[self.frames[frame]]
        if not len(self.centres):
            return None
        nearest = int(np.argmax(products(self.centres, encode(request).vector)))
        return self.names[len(self.names) - len(self.centres) + nearest]

    def typed(self, request: Request, encode: Callable[[Request], Encoding]) -> Request:
        """The request, with its group as task type if it names none."""
        if request.task_type:
            return request
        return replace(request, task_type=self.name_of(request, encode))

    def save(self, folder: Path) -> None:
        """Write the groups into a folder; of the prompts it gets only words in names and hashes of frames."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "format": FORMAT, "names": list(self.names), "encoder": self.encoder,
            "encoder_sha256": self.encoder_sha256,
        }  # fmt: skip
        (folder / ABOUT_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")
        arrays: dict[str, NDArray[np.generic]] = {
            "frames": np.array(list(self.frames), dtype=np.uint64),
            "frame_groups": np.array(list(self.frames.values()), dtype=np.int64),
            "centres": self.centres.astype(np.float32),
        }
        save_arrays(folder / ARRAYS_FILE, arrays)

    @staticmethod
    def load(folder: Path) -> TaskGroups:
        """Load the groups that `save` wrote.

        Raises:
            DamagedArtifact: a file is missing, or not written by `save`.
        """
        arrays = load_arrays(folder / ARRAYS_FILE)
        try:
            about: Json = json.loads((folder / ABOUT_FILE).read_bytes())
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']!r}")
            frames = zip(arrays["frames"].tolist(), arrays["frame_groups"].tolist(), strict=True)
            return TaskGroups(
                names=tuple(about["names"]),
                encoder=about["encoder"],
                encoder_sha256=about["encoder_sha256"],
                frames=dict(frames),
                centres=np.asarray(arrays["centres"], dtype=np.float32),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedArtifact(f"{folder}: no task groups can be read from it: {error}") from error


def frames_of(request: Request) -> list[int]:
    """Hashes of what a request shares with others of the same template, the most reliable first.

    These are the start of the system text, and the start and the end of the last user turn.
    """
    texts = [(role, text) for role, text in message_texts(read_part(request).messages) if text]
    system = next((text for role, text in texts if role in SYSTEM_ROLES), "")
    question = next((text for role, text in reversed(texts) if role == "user"), "")
    instructions, start = _words(system[:READ_CHARACTERS]), _words(question[:READ_CHARACTERS])
    end = _words(question[-READ_CHARACTERS:])
    frames = []
    if len(instructions) >= LEAST_WORDS:
        frames.append(_hash("system", instructions[:SYSTEM_WORDS]))
    if len(start) >= LEAST_WORDS:
        frames.append(_hash("start", start[:FRAME_WORDS]))
    if len(end) >= 2 * FRAME_WORDS:
        frames.append(_hash("end", end[-FRAME_WORDS:]))
    return frames


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_VARIABLE.sub(" ", text))]


def _hash(kind: str, words: list[str]) -> int:
    digest = sha256(" ".join((kind, *words)).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big")
