"""Which logged prompts are worth calling the models on that were not tried on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from router.deciding.policy import assumed_cost
from router.records import BoolArray, FloatArray, IntArray

Strategy = Literal["informative", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Prompts to replay.

    Attributes:
        rows: places among the prompts handed in, the first to be called first.
        probability: chance in (0, 1] that each of them was drawn, shape of `rows`; what is measured on them
            is unbiased where each counts with its inverse.
    """

    rows: IntArray
    probability: FloatArray


EVEN_SHARE = 0.5
"""Of the calls of a replay, what goes to all prompts alike, whatever their value.

Cost at the best single model's success (`benchmarks.partial_log`, mean of six drawn logs): 0.47 with half,
0.49 with all even. That is within the noise of six; on one, before the heads weighed differences apart, the
most valuable only came to 0.75.
"""


def value_of_information(
    probability: FloatArray, cost: FloatArray, weight: float, untried: BoolArray
) -> FloatArray:
    """What knowing the outcomes of the untried models is worth to the choice, per prompt, in success.

    The expected value of perfect information (Howard, "Information Value Theory", 1966): the mean of the best
    value there is once the outcomes are known, less the best value that is expected now. A model's value is
    `probability - weight * cost`, as in `router.deciding.policy.choose`; an untried model's, once known, is
    `1 - weight * cost` at its probability, else `-weight * cost`. So a prompt scores high where a model may
    do otherwise than the heads believe (p is far from 0 and 1) and that would move the choice to one of a
    clearly better value: dearer by little for a success, or cheaper by much.

    Models are taken to succeed independently of each other given the prompt, which they do not quite: where
    they share what makes a prompt hard, the score is somewhat too high for all prompts alike.

    Args:
        probability, cost, untried: shape (n, n_models); cost in USD, NaN is unknown.
        weight: success that one USD is worth.

    Returns:
        Shape (n,), 0 where nothing is untried.
    """
    price = weight * assumed_cost(cost)
    expected = probability - price
    low = np.where(untried, -price, expected)
    high = np.where(untried, 1.0 - price, expected)
    chance = np.where(untried, 1.0 - probability, 1.0)
    return np.asarray(_mean_of_best(low, high, chance) - expected.max(axis=1))


def _mean_of_best(low: FloatArray, high: FloatArray, chance: FloatArray) -> FloatArray:
    """Mean of the largest of independent variables that are `low` at `chance`, else `high`; shape (n,)."""
    values = np.sort(np.concatenate([low, high], axis=1), axis=1)
    at_most = np.ones_like(values)
    for model in range(low.shape[1]):
        below = np.where(values >= low[:, [model]], chance[:, [model]], 0.0)
        at_most *= np.where(values >= high[:, [model]], 1.0, below)
    # Equal values share one step: the product there is that of the last of them, and the others add nothing.
    return np.asarray((values * np.diff(at_most, axis=1, prepend=0.0)).sum(axis=1))


def informative_sample(value: FloatArray, most: int, seed: int, reached: int | None = None) -> Selection:
    """Prompts drawn with a chance that grows with their value, the likelier the earlier.

    Of the chances, `EVEN_SHARE` is the same for all and the rest in proportion to the value. Only the most
    valuable ones would be a sample of hard prompts, on which every model fails more often than it does: a
    model of few other calls would look worse than it is beside one of many.

    Sequential Poisson sampling (Ohlsson 1998): the smallest of uniform draws over wanted chances, so that a
    smaller sample is the beginning of a larger one. The chances that it says are very nearly the true ones.

    Args:
        reached: how many of the `most` prompts will be called, where something else ends the sample earlier;
            the chances are those of so many.
    """
    generator = np.random.default_rng(seed)
    total = value.sum()
    worth = value / total if total > 0 else np.full(len(value), 1 / max(len(value), 1))
    wanted = EVEN_SHARE / max(len(value), 1) + (1 - EVEN_SHARE) * worth
    chance = _chances(wanted, min(most if reached is None else reached, len(value)))
    rows = np.argsort(generator.random(len(value)) / wanted, kind="stable")[:most].astype(np.int64)
    return Selection(rows=rows, probability=chance[rows])


def _chances(wanted: FloatArray, most: int) -> FloatArray:
    """Chances in proportion to `wanted` that sum to `most`, none above 1."""
    chance = np.minimum(wanted * most, 1.0)
    while len(chance) and most - chance.sum() > 1e-9:
        free = chance < 1.0
        left = most - (~free).sum()
        chance = np.where(free, np.minimum(wanted / wanted[free].sum() * left, 1.0), 1.0)
    return np.asarray(chance)


def stratified_sample(strata: Sequence[str], most: int, seed: int, reached: int | None = None) -> Selection:
    """Prompts drawn uniformly, each task type in proportion to its prompts; in random order.

    Systematic sampling from the prompts in order of stratum and at random within (Madow 1949): each has the
    same chance, `most / n`, and a stratum's number is its proportional one, rounded up or down at random.

    Args:
        strata: the task type of each prompt, "" where it has none.
        reached: as in `informative_sample`.
    """
    count = len(strata)
    chance = min(most if reached is None else reached, count) / max(count, 1)
    if most >= count:
        rows = np.random.default_rng(seed).permutation(count).astype(np.int64)
        return Selection(rows=rows, probability=np.full(count, chance))
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(count)
    names = np.unique(np.array(strata, dtype=object).astype(str), return_inverse=True)[1]
    ordered = shuffled[np.argsort(names[shuffled], kind="stable")]
    places = np.floor((generator.random() + np.arange(most)) * (count / most)).astype(np.int64)
    rows = ordered[np.minimum(places, count - 1)]
    drawn = generator.permutation(rows).astype(np.int64)
    return Selection(rows=drawn, probability=np.full(most, chance))
