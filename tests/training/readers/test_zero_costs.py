"""A cost of zero is a price only where a list says so."""

from __future__ import annotations

import pytest

from router.records import Json
from training.readers.zero_costs import is_free, paid

FREE = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0.00", "0e0"])
def test_a_cost_of_zero_is_unknown_unless_a_list_has_the_model_at_zero(zero: Json) -> None:
    assert paid(zero, "no-such-model") is None
    assert paid(zero, "gpt-4o") is None
    assert paid(zero, None) is None
    assert paid(zero, "ollama/llama3.1") == zero


@pytest.mark.parametrize("cost", [0.1, "0.1", -1, "cheap", None, []])
def test_any_other_cost_stays(cost: Json) -> None:
    assert paid(cost, "no-such-model") == cost


@pytest.mark.parametrize(
    ("prices", "free"),
    [
        pytest.param(FREE, True, id="both zero"),
        pytest.param({"input_cost_per_token": 0.0}, False, id="one unknown"),
        pytest.param({**FREE, "output_cost_per_token": 1e-6}, False, id="one above zero"),
        pytest.param({**FREE, "input_cost_per_request": 0.01}, False, id="a price a request"),
        pytest.param({**FREE, "output_cost_per_token": None}, False, id="one null"),
        pytest.param({}, False, id="none"),
        pytest.param(None, False, id="not listed"),
    ],
)
def test_a_model_is_free_if_all_its_prices_are_zero(prices: Json, free: bool) -> None:
    assert is_free(prices) is free
