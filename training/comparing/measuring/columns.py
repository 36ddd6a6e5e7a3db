"""The columns of a comparison whose sums are resampled, and what the shuffle makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from router.records import FloatArray
from training.comparing.blocks import Block
from training.comparing.estimating.logged import chosen_shares
from training.comparing.evaluated import Evaluated
from training.comparing.measuring.contenders import ComparedPolicy
from training.statistics.intervals import Sums, relative_cost_at_best


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardsticks:
    """What every policy is measured against; shape (n,) each.

    Attributes:
        router: the router's outcomes.
        success: of the best single model.
        cost: of the best single model.
        bound: the oracle's success; NaN where it is unknown.
    """

    router: ComparedPolicy
    success: FloatArray
    cost: FloatArray
    bound: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBlock(Block):
    """A policy, and the router, the best single model and the oracle on the prompts it can choose for."""

    prompts: FloatArray
    success: FloatArray
    router_success: FloatArray
    cost: FloatArray
    router_cost: FloatArray
    best_cost: FloatArray
    bound: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsBlock(Block):
    """For each model whether the router chose it, its success and its cost."""

    WIDE: ClassVar[int] = 3

    chosen: FloatArray
    success: FloatArray
    cost: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepBlock(Block):
    """A sweep's success and cost at every weight, and what the curve is read against.

    The single models of least and of highest mean cost are `cheapest` and `dearest`.
    """

    WIDE: ClassVar[int] = 2

    prompts: FloatArray
    best_success: FloatArray
    best_cost: FloatArray
    cheapest_cost: FloatArray
    dearest_cost: FloatArray
    success: FloatArray
    cost: FloatArray

    def relative_cost_at_best(self) -> FloatArray:
        """Cost at which the curve reaches the best single model's success, over that model's cost."""
        return relative_cost_at_best(self.success, self.cost, self.best_success, self.best_cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceBlock(Block):
    """The router and the reference on the prompts that the reference can choose for."""

    prompts: FloatArray
    router_success: FloatArray
    reference_success: FloatArray
    router_cost: FloatArray
    reference_cost: FloatArray


def policy_columns(policy: ComparedPolicy, against: Yardsticks) -> FloatArray:
    """Columns of a `PolicyBlock`, 0 where the policy can't choose."""
    block = PolicyBlock(
        prompts=np.ones_like(against.success),
        success=policy.success,
        router_success=against.router.success,
        cost=policy.cost,
        router_cost=against.router.cost,
        best_cost=against.cost,
        bound=against.bound,
    )
    return np.where(np.isnan(policy.success)[:, None], 0.0, block.stacked())


def models_columns(evaluated: Evaluated) -> FloatArray:
    """Columns of a `ModelsBlock`."""
    chosen = chosen_shares(evaluated.choice, len(evaluated.models))
    return ModelsBlock(chosen=chosen, success=evaluated.success, cost=evaluated.cost).stacked()


def shuffled(router: Sums, models: Sums) -> Sums:
    """Sums of the shuffle's `PolicyBlock`, from the router's and those of a `ModelsBlock`.

    The shares come from each resample too: with fixed ones, chance in the router's own shares would pass for
    a difference in cost.
    """
    return Sums(total=_shuffled(router.total, models.total), draws=_shuffled(router.draws, models.draws))


def _shuffled(router: FloatArray, models: FloatArray) -> FloatArray:
    own, each = PolicyBlock.of(router), ModelsBlock.of(models)
    share, used = each.chosen / own.prompts[..., None], each.chosen > 0
    success, cost = (np.where(used, share * value, 0.0).sum(axis=-1) for value in (each.success, each.cost))
    return replace(own, success=success, cost=cost).stacked()


def sweep_columns(
    outcomes: tuple[FloatArray, FloatArray], against: Yardsticks, ends: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Columns of a `SweepBlock`.

    Args:
        outcomes: success and cost at every weight, of shape (n, n_weights), as `Sweep.outcomes` gives them.
        ends: cost on every prompt of the single model of least and of highest mean cost.
    """
    return SweepBlock(
        prompts=np.ones_like(against.success),
        best_success=against.success,
        best_cost=against.cost,
        cheapest_cost=ends[0],
        dearest_cost=ends[1],
        success=outcomes[0],
        cost=outcomes[1],
    ).stacked()


def slice_columns(router: ComparedPolicy, reference: ComparedPolicy) -> FloatArray:
    """Columns of a `SliceBlock`, 0 where the reference can't choose."""
    block = SliceBlock(
        prompts=np.ones_like(router.success),
        router_success=router.success,
        reference_success=reference.success,
        router_cost=router.cost,
        reference_cost=reference.cost,
    )
    return np.where(np.isnan(reference.success)[:, None], 0.0, block.stacked())
