"""LiteLLM's list of models with prices and abilities, read without importing LiteLLM."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from router.effort import endpoint_of
from router.records import Json

LIST_FILE = "model_prices_and_context_window_backup.json"
PATTERN = "sample_spec"
"""The entry that explains the others."""
SEARCHING = frozenset({"perplexity"})
"""Providers that search the web for every call, and bill each search."""
_SEARCHING_MODELS = re.compile(r"search-(preview|api)|deep-research")
Entry: TypeAlias = Mapping[str, Json]
STATED = ("supports_", "max_", "input_cost", "output_cost", "cache_")
"""How the members of an entry begin that a deployment may state itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the calls of a model go: to LiteLLM's own address of it, or to one deployment of a group.

    Attributes:
        called: the model's name in calls to LiteLLM.
        names: those to look up in its list, in order.
        stated: what the deployment says of itself, which replaces the list's.
    """

    called: str
    names: tuple[str | None, ...]
    stated: tuple[tuple[str, Json], ...] = ()

    @staticmethod
    def of(deployment: Mapping[str, Json], group: str) -> Target:
        """The target of a deployment of a `litellm.Router`; an unlisted one is what its group's name says."""
        params, info = (deployment.get(name) or {} for name in ("litellm_params", "model_info"))
        called, provider = str(params.get("model")), params.get("custom_llm_provider")
        if provider and not called.startswith(f"{provider}/"):
            called = f"{provider}/{called}"
        stated = {
            name: value
            for name, value in {**info, **params}.items()
            if name.startswith(STATED) and isinstance(value, bool | int | float)
        }
        names = info.get("base_model"), params.get("base_model"), called, group
        return Target(called=called, names=names, stated=tuple(sorted(stated.items())))

    @property
    def entry(self) -> Entry | None:
        """LiteLLM's entry for it, with what the deployment states."""
        listed = listed_entry(*self.names)
        return {**(listed or {}), **dict(self.stated)} if self.stated else listed


def listed_entry(*names: str | None) -> Entry | None:
    """LiteLLM's entry for a model, by the first of its names that is listed; None if none is.

    A name is looked up whole, then without its first part, and so on: `openrouter/openai/gpt-4o`, then
    `openai/gpt-4o`, then `gpt-4o`. The entry of an action is its model's.
    """
    listed = price_list()
    for name in (name if not name or name in listed else endpoint_of(name) for name in names):
        while name:
            if name in listed:
                return listed[name]
            name = name.partition("/")[2]
    return None


def bills_searches(called: str) -> bool:
    """Whether a model searches the web whatever the request, so that nobody knows the cost before."""
    return provider_of(called) in SEARCHING or _SEARCHING_MODELS.search(called) is not None


def provider_of(name: str) -> str | None:
    """The provider that LiteLLM calls for a name: the part before its first slash, or the list's."""
    prefix, slash, _ = name.partition("/")
    if slash:
        return prefix
    provider = price_list().get(endpoint_of(name), {}).get("litellm_provider")
    return provider if isinstance(provider, str) else None


def stated_number(entry: Entry | None, member: str) -> float | None:
    """A number of an entry; None if it has none, as is usual for what a provider does not publish."""
    value = entry.get(member) if entry is not None else None
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if usable else None


def stated_ability(entry: Entry | None, member: str) -> bool | None:
    """Whether a model can do something; None if its entry does not say."""
    value = entry.get(member) if entry is not None else None
    return value if isinstance(value, bool) else None


def cached_price_share(*names: str | None) -> float | None:
    """Price of an input token in the prompt cache, as a share of its full price; None if unlisted."""
    return _share_of_input("cache_read_input_token_cost", names)


def cache_write_share(*names: str | None, hour: bool = False) -> float | None:
    """Price of an input token that is written into the prompt cache, likewise.

    Args:
        hour: to be kept for an hour instead of some minutes, which costs more.
    """
    name = "cache_creation_input_token_cost"
    longer = _share_of_input(f"{name}_above_1hr", names) if hour else None
    return longer or _share_of_input(name, names)


def _share_of_input(name: str, models: tuple[str | None, ...]) -> float | None:
    entry = listed_entry(*models)
    stated, full = stated_number(entry, name), stated_number(entry, "input_cost_per_token")
    return None if stated is None or not full else stated / full


@cache
def listed_providers() -> frozenset[str]:
    """Providers that have a model in the list."""
    return frozenset(str(entry.get("litellm_provider")) for entry in price_list().values())


@cache
def price_list() -> Mapping[str, Entry]:
    """The whole list; empty if LiteLLM is not installed."""
    spec = importlib.util.find_spec("litellm")
    path = Path(spec.origin).with_name(LIST_FILE) if spec and spec.origin else None
    if path is None or not path.is_file():
        return {}
    loaded: dict[str, Entry] = json.loads(path.read_bytes())
    loaded.pop(PATTERN, None)
    return loaded
