"""The columns of a comparison whose sums are resampled, and what the shuffle makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.records import FloatArray
from training.comparing.evaluated import Evaluated
from training.comparing.measuring.contenders import ComparedPolicy
from training.statistics.intervals import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardsticks:
    """What every policy is measured against; shape (n,) each.

    Attributes:
        router: the router's outcomes.
        success: of the best single model.
        cost: of the best single model.
        bound: the oracle's success; NaN where it is not known.
    """

    router: ComparedPolicy
    success: FloatArray
    cost: FloatArray
    bound: FloatArray


WIDTH = 7
"""Columns of `policy_block`."""


def policy_block(policy: ComparedPolicy, against: Yardsticks) -> FloatArray:
    """Columns: prompts it can choose for, success, router's, cost, router's, best single's cost, oracle's."""
    able = ~np.isnan(policy.success)
    columns = [
        np.ones_like(against.success), policy.success, against.router.success, policy.cost,
        against.router.cost, against.cost, against.bound,
    ]  # fmt: skip
    return np.where(able[:, None], np.stack(columns, axis=1), 0.0)


def shuffle_block(evaluated: Evaluated, against: Yardsticks) -> FloatArray:
    """Columns of `policy_block` for the router, then per model: chosen by the router, success, cost."""
    chosen = evaluated.choice[:, None] == np.arange(len(evaluated.models))
    own = policy_block(against.router, against)
    return np.concatenate([own, chosen.astype(np.float64), evaluated.success, evaluated.cost], axis=1)


def shuffled(sums: Sums) -> Sums:
    """Sums of `shuffle_block` as those of `policy_block` for the shuffle.

    The shares come from each resample too: with fixed ones, chance in the router's own shares would pass for
    a difference in cost.
    """
    return Sums(total=_shuffled(sums.total), draws=_shuffled(sums.draws))


def _shuffled(sums: FloatArray) -> FloatArray:
    own, rest = sums[..., :WIDTH], sums[..., WIDTH:]
    chosen, success, cost = np.split(rest, 3, axis=-1)
    share, used = chosen / own[..., [0]], chosen > 0
    found = own.copy()
    found[..., 1] = np.where(used, share * success, 0.0).sum(axis=-1)
    found[..., 3] = np.where(used, share * cost, 0.0).sum(axis=-1)
    return found


def sweep_block(
    outcomes: tuple[FloatArray, FloatArray], against: Yardsticks, ends: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Columns as `relative_cost_at_best` takes them, then costs of the cheapest and the dearest, and ones.

    Args:
        outcomes: success and cost at every weight, of shape (n, n_weights), as `Sweep.outcomes` gives them.
        ends: cost on every prompt of the single model of least and of highest mean cost.
    """
    last = [against.success, against.cost, *ends, np.ones_like(against.success)]
    return np.concatenate([*outcomes, np.stack(last, axis=1)], axis=1)


def slice_columns(router: ComparedPolicy, reference: ComparedPolicy) -> FloatArray:
    """Columns: prompts, router's success, reference's success, router's cost, reference's cost."""
    columns = [np.ones_like(router.success), router.success, reference.success, router.cost, reference.cost]
    return np.where(~np.isnan(reference.success)[:, None], np.stack(columns, axis=1), 0.0)
