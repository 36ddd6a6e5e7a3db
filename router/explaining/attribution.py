"""What each group of features adds to a model's success probability: Shapley values in log odds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import factorial

import numpy as np

from router.forecasting.features import STRUCTURE, Features
from router.forecasting.head import Head, evidence_of, narrow_inputs, wide_inputs
from router.records import BoolArray, FloatArray

GROUPS = ("meaning", "words", "structure", "task type and tags", "tools", "neighbours")
"""Groups of features: the embedding; the word n-grams; length and form; the labels; the tool definitions'
size
and fit; what models did on the nearest training prompts."""
TOOL_COLUMNS = np.array([name.startswith("tool") for name in STRUCTURE])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """How groups of features contribute to one prediction.

    Attributes:
        reference: shape (n_models,); log odds of success if nothing is known of the request.
        prediction: shape (n_models,); log odds of success on the request.
        weights: per group, shape (n_models,); they add up to `prediction - reference`.
    """

    reference: FloatArray
    prediction: FloatArray
    weights: Mapping[str, FloatArray]


def attribute(head: Head, features: Features) -> Attribution:
    """The weight of each of `GROUPS` in every model's success on one request.

    An unknown group takes a reference value: no embedding, no words, no labels; the training prompts' average
    structure; neighbours without evidence. One batch predicts all 64 combinations of known groups.

    Args:
        features: of one request.
    """
    known = coalitions(len(GROUPS))
    masked = _masked(head, features, known)
    near, _ = head.store.search(narrow_inputs(features, head.scaling))
    narrow = narrow_inputs(masked, head.scaling)
    evidence = evidence_of(
        head.parts,
        masked,
        wide_inputs(masked, head.scaling),
        narrow,
        near * known[:, GROUPS.index("neighbours"), None],
    )
    probability = head.probability(evidence, masked.task_type, narrow)
    values = np.log(probability) - np.log1p(-probability)
    weights = shapley_values(values)
    return Attribution(
        reference=values[0],
        prediction=values[-1],
        weights=dict(zip(GROUPS, weights, strict=True)),
    )


def coalitions(count: int) -> BoolArray:
    """Every subset of `count` players, shape (2**count, count); row i holds the bits of i."""
    return np.asarray((np.arange(2**count)[:, None] >> np.arange(count)) % 2 == 1)


def shapley_values(values: FloatArray) -> FloatArray:
    """What each player adds, averaged over all orders in which the players could join.

    Lundberg & Lee 2017 ("A Unified Approach to Interpreting Model Predictions"), equation 4: over the
    coalitions S without player i, the sum of |S|! (k - |S| - 1)! / k! times the gain by adding i to S. Exact:
    every coalition is evaluated.

    Args:
        values: shape (2**k, n); value of each coalition, in the order of `coalitions`.

    Returns:
        Shape (k, n); the sum over players is the last value minus the first.
    """
    count = len(values).bit_length() - 1
    members = coalitions(count)
    size = members.sum(axis=1)
    share = np.array([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    out = np.zeros((count, values.shape[1]))
    for player in range(count):
        without = np.flatnonzero(~members[:, player])
        gain = values[without + 2**player] - values[without]
        out[player] = share[size[without]] @ gain
    return out


def _masked(head: Head, features: Features, known: BoolArray) -> Features:
    """The request once per coalition, with unknown groups (except neighbours) at their reference."""
    knows = {group: known[:, place, None] for place, group in enumerate(GROUPS)}
    columns = np.where(TOOL_COLUMNS, knows["tools"], knows["structure"])
    labelled = knows["task type and tags"]
    return Features(
        embedding=features.embedding * knows["meaning"],
        structure=np.where(columns, features.structure, head.scaling.mean).astype(np.float32),
        grams=features.grams * knows["words"],
        labels=features.labels * labelled,
        task_type=np.where(labelled[:, 0], features.task_type, -1),
        tokens=np.repeat(features.tokens, len(known)),
    )
