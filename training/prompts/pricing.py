"""The prices that the team's own calls show."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from router.models.prices import ModelPrice, listed_price
from router.numbers import decimal, unit_of
from router.records import FloatArray
from training.prompts.table import PromptTable

LEAST_CALLS = 10
LEAST_FIT = 0.5
"""Share of the cost's variance that token prices must explain; below it the price is the mean cost a call."""
NOTABLE = 0.25


def logged_prices(table: PromptTable) -> dict[str, ModelPrice]:
    """Fit the price of each model whose calls have costs, by non-negative least squares on their tokens.

    If the calls have no token counts, or tokens don't explain the cost, the price is the mean cost a call.
    """
    columns = zip(table.models, table.cost.T, table.input_tokens.T, table.output_tokens.T, strict=True)
    prices = {model: _price(cost, inputs, outputs) for model, cost, inputs, outputs in columns}
    return {model: price for model, price in prices.items() if price is not None}


def price_differences(prices: dict[str, ModelPrice], table: PromptTable) -> list[str]:
    """Write a sentence for each model whose calls cost notably less or more than LiteLLM's list price."""
    sentences = []
    for column, model in enumerate(table.models):
        listed, own = listed_price(model), prices.get(model)
        rows = np.isfinite(table.input_tokens[:, column]) & np.isfinite(table.output_tokens[:, column])
        if listed is None or own is None or not rows.any():
            continue
        tokens = table.input_tokens[rows, column].sum(), table.output_tokens[rows, column].sum()
        paid, list_cost = (
            p.per_input_token * tokens[0] + p.per_output_token * tokens[1] + p.per_call * rows.sum()
            for p in (own, listed)
        )
        if list_cost > 0 and abs(paid / list_cost - 1) > NOTABLE:
            unit = unit_of(paid / list_cost)
            hint = f"; they look like {unit}, but costs are read as dollars: convert them" if unit else ""
            sentences.append(
                f"{model}: its calls cost {decimal(paid / list_cost, 2)} times LiteLLM's list price{hint}"
            )
    return sentences


def _price(cost: FloatArray, inputs: FloatArray, outputs: FloatArray) -> ModelPrice | None:
    known = np.isfinite(cost)
    if not known.any():
        return None
    flat = ModelPrice(
        per_input_token=0.0, per_output_token=0.0, per_call=float(cost[known].mean()), source="log"
    )
    rows = known & np.isfinite(inputs) & np.isfinite(outputs)
    if rows.sum() < LEAST_CALLS:
        return flat
    tokens, target = np.stack([inputs[rows], outputs[rows]], axis=1), cost[rows]
    scale = np.maximum(tokens.max(axis=0), 1.0)
    dearest = max(float(target.max()), 1e-12)
    (by_input, by_output), _ = nnls(tokens / scale, target / dearest)
    per_token = np.array([by_input, by_output]) * dearest / scale
    residual = target - tokens @ per_token
    spread = float(np.square(target - target.mean()).sum())
    if spread > 0 and 1 - float(np.square(residual).sum()) / spread < LEAST_FIT:
        return flat
    return ModelPrice(
        per_input_token=float(per_token[0]), per_output_token=float(per_token[1]), per_call=0.0, source="log"
    )
