"""The prices that the team's own calls show."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from router.models.prices import ModelPrice, listed_price
from router.records import FloatArray
from training.prompts.table import PromptTable

LEAST_CALLS = 10
LEAST_FIT = 0.5
"""Share of the cost's variance that token prices must explain; below it the mean cost a call is used."""
NOTABLE = 0.25


def logged_prices(table: PromptTable) -> dict[str, ModelPrice]:
    """Price of each model whose calls have costs, fitted by non-negative least squares on their tokens.

    A model whose calls have no token counts, or whose cost they don't explain, gets its mean cost a call.
    """
    columns = zip(table.models, table.cost.T, table.input_tokens.T, table.output_tokens.T, strict=True)
    found = {model: _price(cost, given, made) for model, cost, given, made in columns}
    return {model: price for model, price in found.items() if price is not None}


def price_differences(prices: dict[str, ModelPrice], table: PromptTable) -> list[str]:
    """A sentence for each model whose calls cost notably less or more than LiteLLM's list price says."""
    sentences = []
    for column, model in enumerate(table.models):
        listed, own = listed_price(model), prices.get(model)
        rows = np.isfinite(table.input_tokens[:, column]) & np.isfinite(table.output_tokens[:, column])
        if listed is None or own is None or not rows.any():
            continue
        tokens = table.input_tokens[rows, column].sum(), table.output_tokens[rows, column].sum()
        pays, lists = (
            p.per_input_token * tokens[0] + p.per_output_token * tokens[1] + p.per_call * rows.sum()
            for p in (own, listed)
        )
        if lists > 0 and abs(pays / lists - 1) > NOTABLE:
            sentences.append(f"{model}: its calls cost {pays / lists:.2f} times LiteLLM's list price")
    return sentences


def _price(cost: FloatArray, given: FloatArray, made: FloatArray) -> ModelPrice | None:
    known = np.isfinite(cost)
    if not known.any():
        return None
    flat = ModelPrice(
        per_input_token=0.0, per_output_token=0.0, per_call=float(cost[known].mean()), source="log"
    )
    rows = known & np.isfinite(given) & np.isfinite(made)
    if rows.sum() < LEAST_CALLS:
        return flat
    inputs, target = np.stack([given[rows], made[rows]], axis=1), cost[rows]
    scale = np.maximum(inputs.max(axis=0), 1.0)
    dearest = max(float(target.max()), 1e-12)
    (by_input, by_output), _ = nnls(inputs / scale, target / dearest)
    per_token = np.array([by_input, by_output]) * dearest / scale
    left = target - inputs @ per_token
    spread = float(np.square(target - target.mean()).sum())
    if spread > 0 and 1 - float(np.square(left).sum()) / spread < LEAST_FIT:
        return flat
    return ModelPrice(
        per_input_token=float(per_token[0]), per_output_token=float(per_token[1]), per_call=0.0, source="log"
    )
