"""Tells a free call from one whose cost the log does not know, which many logs write as zero."""

from __future__ import annotations

from router.models.model_list import Entry, listed_entry, stated_number
from router.records import Json
from training.readers.cells import number

TOKEN_PRICES = ("input_cost_per_token", "output_cost_per_token")


def is_free(prices: Entry | None) -> bool:
    """Whether prices, named as in LiteLLM's list, say that a model costs nothing."""
    stated = {name: stated_number(prices, name) for name in prices or () if "cost" in name}
    return all(stated.get(name) == 0 for name in TOKEN_PRICES) and not any(stated.values())


def paid(cost: Json, *models: str | None) -> Json:
    """A logged cost; None if it is zero and LiteLLM lists none of the models at a price of zero.

    Args:
        models: the names of the model, the first that is listed counts.
    """
    try:
        zero = number(cost) == 0
    except ValueError:
        return cost
    return None if zero and not is_free(listed_entry(*models)) else cost
