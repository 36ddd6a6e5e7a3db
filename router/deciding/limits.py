"""Hard limits: which models may serve a request at all."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from router.deciding.context_window import RequestSize, asked_tokens
from router.deciding.needs import NEEDS, is_given, needs_of
from router.models.locality import SELF_HOSTED, is_local, is_private
from router.models.model_list import Entry, listed_entry, provider_of, stated_ability, stated_number
from router.records import Json, Request, Wishes
from router.settings.sections import Config, ModelSettings

DENIED = "denied"
NOT_ALLOWED = "not among the allowed models"
NOT_LOCAL = "not local, and the request must stay on the team's own machines"

ONLY_COLOUR = frozenset(
    {
        "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "presence_penalty",
        "frequency_penalty", "stream", "stream_options", "user",
    }
)  # fmt: skip
"""Parameters that rule out no model, even where the settings say that one lacks them."""
SELDOM_SAID = frozenset({"pdf_input", "video_input"})
"""What LiteLLM's list leaves out for many models that have it: of one without vision, silence means no."""
NEVER_SAID = frozenset({"web_search_options"})
"""What the list says of hardly any model."""
SCHEMA_EVERYWHERE = frozenset({"predibase", "fireworks_ai", "nebius", "databricks"})
"""Providers whose models all take a JSON schema, as LiteLLM's own code has it."""
LACKED_BY_PROVIDER: Mapping[str, frozenset[str]] = {
    "logprobs": frozenset(
        {
            "anthropic", "bedrock", "bedrock_converse", "cerebras", "cohere", "cohere_chat", "databricks",
            "mistral", "perplexity", "sambanova",
        }
    ),
    "n": frozenset(
        {"anthropic", "bedrock", "bedrock_converse", "cerebras", "mistral", "perplexity", "sambanova"}
    ),
}  # fmt: skip
"""What LiteLLM's list does not say: providers for which LiteLLM itself drops the parameter."""
DETOURS = ("custom_llm_provider", "fallbacks", "context_window_fallback_dict", "model_list")
"""LiteLLM's arguments by which a call may reach another model than the one it names."""
SHARES_NO_WINDOW = frozenset({"ollama", "ollama_chat", "llamafile"})
"""Servers that cut an answer at the window's end, where others refuse the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the limits know of one model.

    Attributes:
        names: the router's name for it, and the one LiteLLM is called with.
        takes: per key of `NEEDS` whether the model has it; one that is not here is unknown.
        lacks: further parameters that the settings say it does not take.
        window: most input tokens; None: unknown.
        shared: the answer counts too.
    """

    name: str
    names: frozenset[str]
    denied: bool
    local: bool
    takes: Mapping[str, bool]
    lacks: frozenset[str]
    window: int | None
    shared: bool


class LimitCheck:
    """The limits of one router under its settings. It holds no mutable state, so threads may share it."""

    def __init__(self, models: Sequence[str], config: Config) -> None:
        self.facts = facts_of(models, config)
        self._settings = config.limits

    def rule_out(
        self, request: Request, wishes: Wishes, tokens: float, cost: Mapping[str, float]
    ) -> dict[str, str]:
        """The models that may not serve a request, each with the first reason against it.

        Args:
            tokens: the encoder's estimate of the request's input tokens.
            cost: expected USD per model; NaN is unknown.
        """
        asked = _Asked(
            needs=needs_of(request),
            parameters=request.parameters,
            size=RequestSize(request, tokens),
            answer=asked_tokens(request.parameters),
            only_local=self._must_stay(request, wishes),
            cap=min(_or_infinite(wishes.max_cost_usd), _or_infinite(self._settings.max_cost_usd)),
        )
        reasons = (
            (name, _unwanted(facts, wishes) or _against(facts, asked, cost.get(name, math.nan)))
            for name, facts in self.facts.items()
        )
        return {name: why for name, why in reasons if why is not None}

    def _must_stay(self, request: Request, wishes: Wishes) -> bool:
        """Whether a request may only go to a local model."""
        settings = self._settings
        return (
            wishes.local_only
            or settings.local_only
            or request.task_type in settings.local_only_task_types
            or any(tag in settings.local_only_tags for tag in request.tags)
        )


def facts_of(models: Sequence[str], config: Config) -> dict[str, ModelFacts]:
    """What the settings and LiteLLM's list say of each model, the settings first."""
    return {model: _facts(model, config.of(model), config.limits.deny) for model in models}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What one request asks of a model."""

    needs: tuple[str, ...]
    parameters: Mapping[str, Json]
    size: RequestSize
    answer: int
    only_local: bool
    cap: float


def _unwanted(facts: ModelFacts, wishes: Wishes) -> str | None:
    """Why a model is not wanted, whatever the request."""
    if facts.denied or (wishes.deny and not facts.names.isdisjoint(wishes.deny)):
        return DENIED
    if wishes.allow is not None and facts.names.isdisjoint(wishes.allow):
        return NOT_ALLOWED
    return None


def _against(facts: ModelFacts, asked: _Asked, cost: float) -> str | None:
    """Why a model can't serve a request, or None."""
    if asked.only_local and not (facts.local and _stays_home(asked.parameters)):
        return NOT_LOCAL
    for need in asked.needs:
        if facts.takes.get(need) is False:
            return f"takes no {NEEDS[need].what}"
    for name in facts.lacks:
        if is_given(asked.parameters.get(name)):
            return f"takes no {name}"
    if facts.window is not None and asked.size.exceeds(facts.window, asked.answer if facts.shared else 0):
        return _too_long(facts.window, asked, facts.shared)
    return None if asked.cap == math.inf else _too_dear(cost, asked.cap)


def _stays_home(parameters: Mapping[str, Json]) -> bool:
    """Whether the call's own arguments send it nowhere else."""
    if not parameters:
        return True
    if any(is_given(parameters.get(name)) for name in DETOURS):
        return False
    given = (parameters.get(name) for name in ("api_base", "base_url"))
    return all(isinstance(address, str) and is_private(address) for address in given if address is not None)


def _too_long(window: int, asked: _Asked, shared: bool) -> str:
    answer = f" and an answer of {asked.answer:,}" if shared and asked.answer else ""
    return f"about {asked.size.count():,.0f} tokens{answer} don't fit its {window:,}"


def _too_dear(cost: float, cap: float) -> str | None:
    if math.isnan(cost):
        return f"costs an unknown amount, and the cap is ${cap:.3g}"
    return f"expected to cost ${cost:.3g}, over the cap of ${cap:.3g}" if cost > cap else None


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _facts(model: str, settings: ModelSettings, deny: Collection[str]) -> ModelFacts:
    called = settings.litellm_model or model
    entry = listed_entry(settings.litellm_model, model)
    provider = provider_of(called)
    own = settings.capabilities
    dropped = {*settings.drop, *settings.map}
    lacks = {name for name, takes in own.parameters.items() if not takes} - set(NEEDS) - ONLY_COLOUR - dropped
    names = frozenset({model, called})
    return ModelFacts(
        name=model,
        names=names,
        denied=not names.isdisjoint(deny),
        local=is_local(called, settings),
        takes=_abilities(entry, provider, settings),
        lacks=frozenset(lacks),
        window=own.context_tokens or _window(entry),
        shared=provider not in SHARES_NO_WINDOW and (provider in SELF_HOSTED or _is_shared(entry)),
    )


def _window(entry: Entry | None) -> int | None:
    found = stated_number(entry, "max_input_tokens")
    return int(found) if found else None


def _is_shared(entry: Entry | None) -> bool:
    """Whether the list gives the same number for input and output, as where they add up to it."""
    window = stated_number(entry, "max_input_tokens")
    return window is not None and window == stated_number(entry, "max_output_tokens")


def _abilities(entry: Entry | None, provider: str | None, settings: ModelSettings) -> dict[str, bool]:
    """Whether a model has each of `NEEDS`, where the settings or the list say it."""
    own = settings.capabilities
    stated = {"tools": own.tools, "vision": own.vision, "json_schema": own.json_schema}
    handled = {*settings.drop, *settings.map}
    found = {}
    for need in NEEDS:
        said = [stated.get(need), own.parameters.get(need), True if need in handled else None]
        known = next((one for one in said if one is not None), None)
        takes = _listed_ability(need, entry, provider) if known is None else known
        if takes is not None:
            found[need] = takes
    return found


def _listed_ability(need: str, entry: Entry | None, provider: str | None) -> bool | None:
    """Whether a model has a need, as far as LiteLLM's list goes; None where that says nothing.

    The list names what a company's model can do and is silent on the rest, so silence means no. Of programs
    such as Ollama it says little and of another company's copy of a model nothing for sure: unknown.
    """
    if provider in LACKED_BY_PROVIDER.get(need, ()):
        return False
    member = NEEDS[need].listed
    if entry is None or member is None:
        return None
    stated = stated_ability(entry, member)
    if stated is not None or provider in SELF_HOSTED or need in NEVER_SAID:
        return stated
    if need == "json_schema" and provider in SCHEMA_EVERYWHERE:
        return True
    if need in SELDOM_SAID and stated_ability(entry, "supports_vision"):
        return None
    return False
