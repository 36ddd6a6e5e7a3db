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
"""The embedding; the word n-grams; length, form and the like; the labels; the tool definitions' size and fit;
and what models did on the nearest training prompts."""
TOOL_COLUMNS = np.array([name.startswith("tool") for name in STRUCTURE])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Where one prediction comes from.

    Attributes:
        reference: shape (n_models,); log odds of success where nothing is known of the request.
        prediction: shape (n_models,); log odds of success on the request.
        weights: per group, shape (n_models,); they add up to `prediction - reference`.
    """

    reference: FloatArray
    prediction: FloatArray
    weights: Mapping[str, FloatArray]


def attribute(head: Head, features: Features) -> Attribution:
    """The weight of each of `GROUPS` on every model's success on one request.

    What is "not known" of a request has a stated reference: no embedding, no words, no labels; the training
    prompts' average structure; neighbours that say nothing about it. All 64 ways of knowing some groups and
    not the others are predicted, in one batch.

    Args:
        features: of one request.
    """
    known = coalitions(len(GROUPS))
    some = _partly_known(head, features, known)
    near, _ = head.store.search(narrow_inputs(features, head.scaling))
    evidence = evidence_of(
        head.parts,
        some,
        wide_inputs(some, head.scaling),
        narrow_inputs(some, head.scaling),
        near * known[:, GROUPS.index("neighbours"), None],
    )
    probability = head.last.probability(evidence, some.task_type)
    values = np.log(probability) - np.log1p(-probability)
    weights = shapley_values(values)
    return Attribution(
        reference=values[0],
        prediction=values[-1],
        weights=dict(zip(GROUPS, weights, strict=True)),
    )


def coalitions(count: int) -> BoolArray:
    """Every way of choosing among `count` players, shape (2**count, count); row i holds the bits of i."""
    return np.asarray((np.arange(2**count)[:, None] >> np.arange(count)) % 2 == 1)


def shapley_values(values: FloatArray) -> FloatArray:
    """What each player adds, averaged over all orders in which they could join.

    Lundberg & Lee 2017 ("A Unified Approach to Interpreting Model Predictions"), equation 4: over the
    coalitions S without player i, the sum of |S|! (k - |S| - 1)! / k! times the gain by adding i to S. Exact:
    every coalition is evaluated.

    Args:
        values: shape (2**k, n); value of each coalition, in the order of `coalitions`.

    Returns:
        Shape (k, n); the sum over players is the last value less the first.
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


def _partly_known(head: Head, features: Features, known: BoolArray) -> Features:
    """The request once per coalition, what is not known of it at its reference; neighbours are left alone."""
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
