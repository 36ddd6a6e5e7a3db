"""Draws the logged prompts on which calling untried models is most useful."""

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
        rows: indices into the prompts, in the order of the calls.
        probability: chance in (0, 1] that each of `rows` was drawn; a mean that weights each by the inverse
            is unbiased.
    """

    rows: IntArray
    probability: FloatArray


EVEN_SHARE = 0.5
"""Share of a replay's calls that is spread evenly over all prompts, whatever their value.

Cost at the best single model's success (`benchmarks.partial_log`, mean of six drawn logs): 0.47 with half,
0.49 with all even, a difference within the noise. With only the most valuable prompts it was 0.75, on one log
and with an earlier version of the heads.
"""


def value_of_information(
    probability: FloatArray, cost: FloatArray, weight: float, untried: BoolArray
) -> FloatArray:
    """How much success per prompt the choice gains by knowing the outcomes of the untried models.

    The expected value of perfect information (Howard, "Information Value Theory", 1966): the mean of the best
    value once the outcomes are known, less the best expected value now. The value of a model is
    `probability - weight * cost`, as in `router.deciding.policy.choose`. Once its outcome is known, the value
    of an untried model is `1 - weight * cost` with its probability of success, else `-weight * cost`. So a
    prompt scores high if the outcome is uncertain (the probability is far from 0 and 1) and could move the
    choice to a model of clearly better value.

    The score assumes that the models succeed independently given the prompt. That is not quite true, so the
    scores of all prompts are somewhat too high.

    Args:
        probability, cost, untried: shape (n, n_models); cost in USD, NaN if unknown.
        weight: success that one USD is worth.

    Returns:
        Shape (n,); 0 if no model is untried.
    """
    price = weight * assumed_cost(cost)
    expected = probability - price
    low = np.where(untried, -price, expected)
    high = np.where(untried, 1.0 - price, expected)
    chance = np.where(untried, 1.0 - probability, 1.0)
    return np.asarray(_mean_of_best(low, high, chance) - expected.max(axis=1))


def _mean_of_best(low: FloatArray, high: FloatArray, chance: FloatArray) -> FloatArray:
    """Mean of the largest of independent variables: `low` with probability `chance`, else `high`."""
    values = np.sort(np.concatenate([low, high], axis=1), axis=1)
    at_most = np.ones_like(values)
    for model in range(low.shape[1]):
        below = np.where(values >= low[:, [model]], chance[:, [model]], 0.0)
        at_most *= np.where(values >= high[:, [model]], 1.0, below)
    # Equal values share one step: all have the same product, so only the first of them adds to the sum.
    return np.asarray((values * np.diff(at_most, axis=1, prepend=0.0)).sum(axis=1))


def informative_sample(value: FloatArray, most: int, seed: int, reached: int | None = None) -> Selection:
    """Draw prompts with a probability that grows with their value; likelier prompts tend to come first.

    A share `EVEN_SHARE` of the probability is the same for all prompts, the rest is in proportion to their
    value. The most valuable prompts alone would be hard ones, on which every model fails more often than
    usual: a model with few other calls would look worse than one with many.

    Sequential Poisson sampling (Ohlsson 1998) takes the smallest quotients of a uniform draw and the wanted
    probability, so that a smaller sample is the beginning of a larger one. The returned probabilities are
    very nearly exact.

    Args:
        reached: number of the `most` prompts that will be called if the budget ends earlier; the
            probabilities are for that many.
    """
    generator = np.random.default_rng(seed)
    total = value.sum()
    worth = value / total if total > 0 else np.full(len(value), 1 / max(len(value), 1))
    wanted = EVEN_SHARE / max(len(value), 1) + (1 - EVEN_SHARE) * worth
    chance = _chances(wanted, min(most if reached is None else reached, len(value)))
    rows = np.argsort(generator.random(len(value)) / wanted, kind="stable")[:most].astype(np.int64)
    return Selection(rows=rows, probability=chance[rows])


def _chances(wanted: FloatArray, most: int) -> FloatArray:
    """Probabilities in proportion to `wanted` that sum to `most`, none above 1."""
    chance = np.minimum(wanted * most, 1.0)
    while len(chance) and most - chance.sum() > 1e-9:
        free = chance < 1.0
        left = most - (~free).sum()
        chance = np.where(free, np.minimum(wanted / wanted[free].sum() * left, 1.0), 1.0)
    return np.asarray(chance)


def stratified_sample(strata: Sequence[str], most: int, seed: int, reached: int | None = None) -> Selection:
    """Draw prompts uniformly, each task type in proportion to its prompts; in random order.

    Systematic sampling from the prompts sorted by stratum, in random order within (Madow 1949): each prompt
    has the same probability `most / n`, and each stratum its proportional number, rounded up or down at
    random.

    Args:
        strata: the task type of each prompt, "" if it has none.
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
