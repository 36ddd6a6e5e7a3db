from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.models import model_list
from router.models.model_list import (
    Entry,
    cached_price_share,
    listed_entry,
    listed_providers,
    price_list,
    provider_of,
    stated_ability,
    stated_number,
)
from router.records import Json


@pytest.fixture
def without_litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where only the router is installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    price_list.cache_clear()
    listed_providers.cache_clear()
    yield
    price_list.cache_clear()
    listed_providers.cache_clear()


def listing(monkeypatch: pytest.MonkeyPatch, **entries: Entry) -> None:
    monkeypatch.setattr(model_list, "price_list", lambda: entries)


@pytest.mark.parametrize(
    ("name", "found_as"),
    [
        pytest.param("gpt-4o", "gpt-4o", id="as given"),
        pytest.param("gemini/gemini-2.5-flash", "gemini/gemini-2.5-flash", id="as given, with its provider"),
        pytest.param("openai/gpt-4o", "gpt-4o", id="after the provider"),
        pytest.param("my-proxy/openai/gpt-4o", "gpt-4o", id="after everything before a slash"),
    ],
)
def test_a_model_is_found_by_its_name_or_what_follows_its_provider(name: str, found_as: str) -> None:
    assert listed_entry(name) is price_list()[found_as]


def test_the_first_name_that_is_listed_counts() -> None:
    assert listed_entry("unheard of", None, "gpt-4o", "gpt-5") is price_list()["gpt-4o"]


@pytest.mark.parametrize("name", ["", "/", "a/", "unheard of", "sample_spec", None])
def test_a_name_that_is_not_listed_has_no_entry(name: str | None) -> None:
    assert listed_entry(name) is None


@given(st.text(alphabet="ab/", max_size=30))
def test_any_text_can_be_looked_up(name: str) -> None:
    assert listed_entry(name) is None


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        pytest.param("ollama/llama3", "ollama", id="before the slash"),
        pytest.param("my-proxy/gpt-4o", "my-proxy", id="before the slash, though listed without"),
        pytest.param("gpt-4o", "openai", id="the list's"),
        pytest.param("house-model", None, id="unknown"),
    ],
)
def test_a_names_provider_is_what_litellm_takes_it_for(name: str, provider: str | None) -> None:
    assert provider_of(name) == provider


def test_the_providers_are_those_of_the_list() -> None:
    assert {"openai", "anthropic", "ollama"} <= listed_providers()


@pytest.mark.parametrize(
    ("entry", "number"),
    [
        pytest.param({"n": 5}, 5, id="a whole number"),
        pytest.param({"n": 1e-6}, 1e-6, id="a small one"),
        pytest.param({"n": True}, None, id="no truth value"),
        pytest.param({"n": "five"}, None, id="no text"),
        pytest.param({"n": float("nan")}, None, id="not a number"),
        pytest.param({"n": None}, None, id="null"),
        pytest.param({}, None, id="nothing"),
        pytest.param(None, None, id="no entry"),
    ],
)
def test_a_stated_number_is_a_finite_one(entry: Entry | None, number: float | None) -> None:
    assert stated_number(entry, "n") == number


@pytest.mark.parametrize(
    ("value", "ability"), [(True, True), (False, False), (None, None), ("yes", None), (1, None)]
)
def test_a_stated_ability_is_true_or_false(value: Json, ability: bool | None) -> None:
    assert stated_ability({"can": value}, "can") is ability


def test_the_cached_price_is_told_as_a_share_of_the_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    listing(monkeypatch, a={"input_cost_per_token": 4.0, "cache_read_input_token_cost": 1.0})
    assert cached_price_share("a") == 0.25


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"input_cost_per_token": 4.0}, id="no cached price"),
        pytest.param({"input_cost_per_token": 0.0, "cache_read_input_token_cost": 0.0}, id="free"),
        pytest.param({"cache_read_input_token_cost": 1.0}, id="no full price"),
        pytest.param({}, id="nothing"),
    ],
)
def test_without_both_prices_the_share_is_unknown(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    listing(monkeypatch, a=entry)
    assert cached_price_share("a") is None
    assert cached_price_share("unheard of") is None


@pytest.mark.usefixtures("without_litellm")
def test_without_litellm_the_list_is_empty() -> None:
    assert price_list() == {}
    assert listed_entry("gpt-4o") is None
    assert provider_of("gpt-4o") is None
    assert listed_providers() == frozenset()


def test_reading_the_list_does_not_import_litellm() -> None:
    code = (
        "import sys; from router.models.model_list import price_list; "
        "assert price_list(); print('litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
