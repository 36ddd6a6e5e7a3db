"""The columns of a comparison whose sums are resampled, and what the shuffle makes of them."""

from __future__ import annotations

import numpy as np

from router.records import BoolArray, FloatArray
from training.comparing.contenders import Policy, Sweep
from training.comparing.evaluated import Evaluated
from training.intervals import Sums


def policy_block(policy: Policy, router: Policy, best: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Columns: prompts that it can choose for, success, router's, cost, router's, best single's cost."""
    able = ~np.isnan(policy.success)
    prompts = np.ones_like(best[0])
    columns = [prompts, policy.success, router.success, policy.cost, router.cost, best[1]]
    return np.where(able[:, None], np.stack(columns, axis=1), 0.0)


def shuffle_block(evaluated: Evaluated, router: Policy, best: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Columns of `policy_block` for the router, then per model: chosen by the router, success, cost."""
    m = len(evaluated.models)
    chosen = evaluated.choice[:, None] == np.arange(m)
    own = policy_block(router, router, best)
    return np.concatenate([own, chosen.astype(np.float64), evaluated.success, evaluated.cost], axis=1)


def shuffled(sums: Sums) -> Sums:
    """Sums of `shuffle_block` as those of `policy_block` for the shuffle.

    The shares come from each resample too: with fixed ones, chance in the router's own shares would pass for
    a difference in cost.
    """
    return Sums(total=_shuffled(sums.total), draws=_shuffled(sums.draws))


def _shuffled(sums: FloatArray) -> FloatArray:
    own, rest = sums[..., :6], sums[..., 6:]
    chosen, success, cost = np.split(rest, 3, axis=-1)
    share, used = chosen / own[..., [0]], chosen > 0
    found = own.copy()
    found[..., 1] = np.where(used, share * success, 0.0).sum(axis=-1)
    found[..., 3] = np.where(used, share * cost, 0.0).sum(axis=-1)
    return found


def sweep_block(sweep: Sweep, best: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Columns as `relative_cost_at_best` takes them."""
    return np.concatenate([sweep.success, sweep.cost, np.stack(best, axis=1)], axis=1)


def slice_block(rows: BoolArray, router: Policy, best: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Columns: prompts, router's success, best single's success, router's cost, best single's cost."""
    columns = [np.ones_like(best[0]), router.success, best[0], router.cost, best[1]]
    return np.where(rows[:, None], np.stack(columns, axis=1), 0.0)
