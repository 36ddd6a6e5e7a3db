"""The training prompts nearest to a request: their keys, and how models did on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from router.forecasting.head import NeighbourStore
from router.forecasting.training_prompts import TrainingPrompts, short_key
from router.records import Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One training prompt near a request.

    Attributes:
        key: first 16 hexadecimal digits of the prompt's key.
        cosine: similarity to the request, in [-1, 1].
        outcomes: per model that was tried on the prompt, the share of calls that succeeded.
        text: the start of its last user turn; None if the router may not hold it.
    """

    key: str
    cosine: float
    outcomes: Mapping[str, float]
    text: str | None


def nearest_prompts(
    store: NeighbourStore,
    inputs: Float32Array,
    prompts: TrainingPrompts,
    models: Sequence[str],
    count: int,
) -> tuple[Neighbour, ...]:
    """The training prompts nearest to one request, the nearest first.

    Args:
        inputs: shape (1, n_narrow), from `narrow_inputs`.
        models: names of the columns of `prompts.outcomes`.
    """
    cosine = store.cosines(inputs)[0]
    rows = np.argsort(-cosine, kind="stable")[:count]
    return tuple(
        Neighbour(
            key=short_key(prompts.keys[row]),
            cosine=float(cosine[row]),
            outcomes={
                model: float(share)
                for model, share in zip(models, prompts.outcomes[row], strict=True)
                if not np.isnan(share)
            },
            text=None if prompts.texts is None else prompts.texts[row],
        )
        for row in rows
    )
