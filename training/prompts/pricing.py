"""The prices that the team's own calls show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from router.models.prices import ModelPrice, cached_price_of, listed_price
from router.numbers import decimal, unit_of
from router.records import BoolArray, FloatArray, IntArray, Json
from router.settings.sections import Config
from training.prompts.table import PromptTable

LEAST_CALLS = 10
LEAST_FIT = 0.5
"""Share of the cost's variance that token prices must explain; below it the price is the mean cost a call."""
NOTABLE = 0.25


def logged_prices(
    table: PromptTable, config: Config | None = None, later: BoolArray | None = None
) -> dict[str, ModelPrice]:
    """Fit the price of each model whose calls have costs, by non-negative least squares on their tokens.

    If the calls have no token counts, or tokens don't explain the cost, the price is the mean cost a call.

    Args:
        config: says what a cached token costs; with `later`, the price is that of uncached input, and has the
            cached shares of models whose calls count them.
        later: shape (n_prompts,); whether a prompt goes on with a conversation.
    """
    prices = {}
    for column, model in enumerate(table.models):
        cost, inputs, outputs = (
            part[:, column] for part in (table.cost, table.input_tokens, table.output_tokens)
        )
        shares = None
        if config is not None and later is not None and table.cached_input_tokens is not None:
            cached, calls = table.cached_input_tokens[:, column], table.calls[:, column]
            shares = _cached_shares(inputs, cached, calls, later, cached_price_of(model, config))
        if shares:
            inputs = inputs - (1.0 - shares["cached_price"]) * np.minimum(cached, inputs)
        price = _price(cost, inputs, outputs)
        if price is not None:
            prices[model] = replace(price, **shares) if shares and not price.per_call else price
    return prices


def _cached_shares(
    inputs: FloatArray, cached: FloatArray, calls: IntArray, later: BoolArray, price: float | None
) -> dict[str, Json] | None:
    """What `ModelPrice` holds of the cache; None if it saves nothing, or too few calls count it.

    A kind of calls that the log has too few of is expected to read nothing.
    """
    if price is None or price >= 1.0:
        return None
    known = np.isfinite(inputs) & np.isfinite(cached)
    shares: dict[str, Json] = {}
    for name, kind in (("cached_first", known & ~later), ("cached_later", known & later)):
        total = float((inputs * calls)[kind].sum()) if kind.sum() >= LEAST_CALLS else 0.0
        read = float((np.minimum(cached, inputs) * calls)[kind].sum()) if total else 0.0
        shares[name] = read / total if total else 0.0
    return {"cached_price": price, **shares} if any(shares.values()) else None


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
