"""Hard limits: which models may serve a request at all."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from router.deciding.context_window import RequestSize, answer_tokens
from router.deciding.needs import NEEDS, is_given, needs_of
from router.models.locality import SELF_HOSTED, is_local, is_private
from router.models.model_list import Entry, listed_entry, provider_of, stated_ability, stated_number
from router.records import Json, Request, Wishes
from router.settings.sections import Config, ModelSettings

DENIED = "denied"
NOT_ALLOWED = "not among the allowed models"
NOT_LOCAL = "not local, and the request must stay on the team's own machines"

MINOR_PARAMETERS = frozenset(
    {
        "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "presence_penalty",
        "frequency_penalty", "stream", "stream_options", "user",
    }
)  # fmt: skip
"""Parameters that rule out no model, even if the settings say that it lacks them."""
SELDOM_LISTED = frozenset({"pdf_input", "video_input"})
"""Abilities that LiteLLM's list omits for many models that have them; without vision, omission means no."""
NEVER_LISTED = frozenset({"web_search_options"})
"""Abilities that the list states for hardly any model."""
SCHEMA_EVERYWHERE = frozenset({"predibase", "fireworks_ai", "nebius", "databricks"})
"""Providers whose models all take a JSON schema, according to LiteLLM's own code."""
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
"""Providers for which LiteLLM itself drops a parameter, which its list does not state."""
DETOURS = ("custom_llm_provider", "fallbacks", "context_window_fallback_dict", "model_list")
"""LiteLLM's arguments that may send a call to another model than the one it names."""
TRUNCATING = frozenset({"ollama", "ollama_chat", "llamafile"})
"""Servers that cut an answer at the end of the window; others refuse the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the limits know about one model.

    Attributes:
        names: the router's name for it, and the name in calls to LiteLLM.
        takes: per key of `NEEDS`, whether the model takes it; a key that is missing is unknown.
        lacks: further parameters that the model does not take, according to the settings.
        window: most input tokens; None: unknown.
        shared: whether the answer counts too.
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
    """The limits of one router under its settings; threads may share it."""

    def __init__(self, models: Sequence[str], config: Config) -> None:
        self.facts = facts_of(models, config)
        self._settings = config.limits
        self._home_tags = frozenset(map(_label, config.limits.local_only_tags))
        self._home_tasks = frozenset(map(_label, config.limits.local_only_task_types))

    def rule_out(
        self, request: Request, wishes: Wishes, tokens: float, cost: Mapping[str, float]
    ) -> dict[str, str]:
        """The models that may not serve a request, each with the first reason against it.

        Args:
            tokens: the encoder's estimate of the request's input tokens.
            cost: expected USD per model; NaN is unknown.
        """
        demand = _Demand(
            needs=needs_of(request),
            parameters=request.parameters,
            size=RequestSize(request, tokens),
            answer=answer_tokens(request.parameters),
            only_local=self._must_stay(request, wishes),
            cap=min(_or_infinite(wishes.max_cost_usd), _or_infinite(self._settings.max_cost_usd)),
        )
        reasons = (
            (name, _unwanted(facts, wishes) or _objection(facts, demand, cost.get(name, math.nan)))
            for name, facts in self.facts.items()
        )
        return {name: why for name, why in reasons if why is not None}

    def binding(self, request: Request, wishes: Wishes, *, labelled: bool) -> str | None:
        """The first limit that a request is under whatever model serves it, or None.

        Args:
            labelled: whether the request shows its tags and task type; if not, it may have any.
        """
        settings = self._settings
        limits = {
            "local_only": self._must_stay(request, wishes),
            "local_only_tags": not labelled and bool(self._home_tags),
            "local_only_task_types": not labelled and bool(self._home_tasks),
            "deny": bool(settings.deny or wishes.deny),
            "allow": wishes.allow is not None,
            "max_cost_usd": settings.max_cost_usd is not None or wishes.max_cost_usd is not None,
        }
        return next((name for name, binds in limits.items() if binds), None)

    def _must_stay(self, request: Request, wishes: Wishes) -> bool:
        """Whether a request may only go to a local model."""
        settings = self._settings
        return (
            wishes.local_only
            or settings.local_only
            or (request.task_type is not None and _label(request.task_type) in self._home_tasks)
            or not self._home_tags.isdisjoint(map(_label, request.tags))
        )


def facts_of(models: Sequence[str], config: Config) -> dict[str, ModelFacts]:
    """The facts of each model by the settings, else by LiteLLM's list."""
    return {model: _facts(model, config.of(model), config.limits.deny) for model in models}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demand:
    """What one request requires of a model."""

    needs: tuple[str, ...]
    parameters: Mapping[str, Json]
    size: RequestSize
    answer: int
    only_local: bool
    cap: float


def _unwanted(facts: ModelFacts, wishes: Wishes) -> str | None:
    """Why settings or caller exclude a model for any request, or None."""
    if facts.denied or (wishes.deny and not facts.names.isdisjoint(wishes.deny)):
        return DENIED
    if wishes.allow is not None and facts.names.isdisjoint(wishes.allow):
        return NOT_ALLOWED
    return None


def _objection(facts: ModelFacts, demand: _Demand, cost: float) -> str | None:
    """Why a model can't serve a request, or None."""
    if demand.only_local and not (facts.local and _stays_home(demand.parameters)):
        return NOT_LOCAL
    for need in demand.needs:
        if facts.takes.get(need) is False:
            return f"takes no {NEEDS[need].what}"
    for name in facts.lacks:
        if is_given(demand.parameters.get(name)):
            return f"takes no {name}"
    if facts.window is not None and demand.size.exceeds(facts.window, demand.answer if facts.shared else 0):
        return _too_long(facts.window, demand, facts.shared)
    return None if demand.cap == math.inf else _too_dear(cost, demand.cap)


def _stays_home(parameters: Mapping[str, Json]) -> bool:
    """Whether no argument of the call sends it somewhere else."""
    if not parameters:
        return True
    if any(is_given(parameters.get(name)) for name in DETOURS):
        return False
    addresses = (parameters.get(name) for name in ("api_base", "base_url"))
    return all(isinstance(one, str) and is_private(one) for one in addresses if one is not None)


def _too_long(window: int, demand: _Demand, shared: bool) -> str:
    answer = f" and an answer of {demand.answer:,}" if shared and demand.answer else ""
    return f"about {demand.size.count():,.0f} tokens{answer} don't fit its {window:,}"


def _too_dear(cost: float, cap: float) -> str | None:
    if math.isnan(cost):
        return f"costs an unknown amount, and the cap is ${cap:.3g}"
    return f"expected to cost ${cost:.3g}, over the cap of ${cap:.3g}" if cost > cap else None


def _label(text: str) -> str:
    """A tag or task type as limits compare it: without case and surrounding space."""
    return text.strip().casefold()


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _facts(model: str, settings: ModelSettings, deny: Collection[str]) -> ModelFacts:
    called = settings.litellm_model or model
    entry = listed_entry(settings.litellm_model, model)
    provider = provider_of(called)
    own = settings.capabilities
    dropped = {*settings.drop, *settings.map}
    unsupported = {name for name, takes in own.parameters.items() if not takes}
    lacks = unsupported - set(NEEDS) - MINOR_PARAMETERS - dropped
    names = frozenset({model, called})
    return ModelFacts(
        name=model,
        names=names,
        denied=not names.isdisjoint(deny),
        local=is_local(called, settings),
        takes=_abilities(entry, provider, settings),
        lacks=frozenset(lacks),
        window=own.context_tokens or _window(entry),
        shared=provider not in TRUNCATING and (provider in SELF_HOSTED or _is_shared(entry)),
    )


def _window(entry: Entry | None) -> int | None:
    window = stated_number(entry, "max_input_tokens")
    return int(window) if window else None


def _is_shared(entry: Entry | None) -> bool:
    """Whether the list has one number for input and output, which means that they share it."""
    window = stated_number(entry, "max_input_tokens")
    return window is not None and window == stated_number(entry, "max_output_tokens")


def _abilities(entry: Entry | None, provider: str | None, settings: ModelSettings) -> dict[str, bool]:
    """Whether a model takes each of `NEEDS`; without those that neither settings nor list state."""
    own = settings.capabilities
    stated = {"tools": own.tools, "vision": own.vision, "json_schema": own.json_schema}
    handled = {*settings.drop, *settings.map}
    abilities = {}
    for need in NEEDS:
        configured = (stated.get(need), own.parameters.get(need), True if need in handled else None)
        takes = next((one for one in configured if one is not None), None)
        if takes is None:
            takes = _listed_ability(need, entry, provider)
        if takes is not None:
            abilities[need] = takes
    return abilities


def _listed_ability(need: str, entry: Entry | None, provider: str | None) -> bool | None:
    """Whether a model takes what `need` names, by LiteLLM's list; None if unknown.

    The list states what a company's model can do and omits the rest, so omission means no. It says little
    about programs such as Ollama, and nothing certain about another company's copy of a model: those are
    unknown.
    """
    if provider in LACKED_BY_PROVIDER.get(need, ()):
        return False
    member = NEEDS[need].listed
    if entry is None or member is None:
        return None
    stated = stated_ability(entry, member)
    if stated is not None or provider in SELF_HOSTED or need in NEVER_LISTED:
        return stated
    if need == "json_schema" and provider in SCHEMA_EVERYWHERE:
        return True
    if need in SELDOM_LISTED and stated_ability(entry, "supports_vision"):
        return None
    return False
