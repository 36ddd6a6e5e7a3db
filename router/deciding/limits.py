"""Hard limits: which models may serve a request at all."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from router.deciding.arguments import CAP, UNCOUNTED, straying
from router.deciding.context_window import RequestSize
from router.deciding.needs import NEEDS, is_given, needs_of
from router.effort import effort_in, effort_of, endpoint_of
from router.forecasting.request_tokens import answer_tokens, tokens_of_one
from router.models.locality import SELF_HOSTED, is_local
from router.models.model_list import (
    Entry,
    Target,
    bills_searches,
    cache_write_share,
    provider_of,
    stated_ability,
    stated_number,
)
from router.models.names import ModelNames
from router.numbers import decimal, dollars
from router.records import Json, Request, Wishes
from router.settings.sections import Config, ModelSettings
from router.text import printable

DENIED = "denied"
NOT_ALLOWED = "not among the allowed models"
OTHER_EFFORT = "the request states another reasoning effort"
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
COUNTED = frozenset({"tools", "vision", "json_schema", "reasoning_effort", "thinking", "logprobs", "n"})
"""Keys of `NEEDS` whose cost is known before the call; audio, files and searches are billed by what they
turn out to hold."""
MOST_KNOWN = 1_000
"""Groups of deployments whose facts are kept."""
NO_TARGETS: Mapping[str, tuple[Target, ...]] = {}
TRUNCATING = frozenset({"ollama", "ollama_chat", "llamafile"})
"""Servers that cut an answer at the end of the window; others refuse the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the limits know about one model.

    Attributes:
        takes: per key of `NEEDS`, whether the model takes it; a key that is missing is unknown.
        lacks: further parameters that the model does not take, according to the settings.
        window: most input tokens; None: unknown.
        shared: whether the answer counts too.
        density: tokens that it counts for one of OpenAI's.
        cache_write: price of input written into the provider's prompt cache, as a share of the input's; not
            below 1.
        searches: whether it searches the web whatever the request, and bills that.
    """

    name: str
    denied: bool
    local: bool
    takes: Mapping[str, bool]
    lacks: frozenset[str]
    window: int | None
    shared: bool
    density: float
    cache_write: float
    searches: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """An argument that could take a request past a limit.

    Attributes:
        limit: the first limit that it could.
        name: as `straying` gives it.
    """

    limit: str
    name: str

    def __str__(self) -> str:
        """What is wrong, and the way out."""
        return (
            f"it is under the limit {self.limit!r}, which its argument {self.name!r} could pass by; leave "
            "that out, or add it to limits.arguments"
        )

    @property
    def short(self) -> str:
        """Likewise, as one model's reason."""
        name = printable(self.name[:40])
        return f"'{name}' could pass by limit {self.limit!r}; allow it in limits.arguments"


class LimitCheck:
    """The limits of one router under its settings; threads may share it."""

    def __init__(self, models: Sequence[str], config: Config) -> None:
        self.facts = facts_of(models, config)
        self.names = ModelNames(models, config)
        self._config = config
        self._settings = config.limits
        self._deployed: dict[tuple[str, tuple[Target, ...]], ModelFacts] = {}
        self._home_tags = frozenset(map(_label, config.limits.local_only_tags))
        self._home_tasks = frozenset(map(_label, config.limits.local_only_task_types))

    def rule_out(
        self,
        request: Request,
        wishes: Wishes,
        tokens: float,
        cost: Mapping[str, float],
        local: Collection[str] | None = None,
        targets: Mapping[str, tuple[Target, ...]] = NO_TARGETS,
    ) -> dict[str, str]:
        """The models that may not serve a request, each with the first reason against it.

        Args:
            tokens: the encoder's estimate of the request's input tokens.
            cost: USD per model that a cap is compared with; NaN or missing is unknown.
            local: models whose calls stay on the team's own machines now; None: as the settings say.
            targets: the deployments that serve each model now; a model that is missing is called by its name.
        """
        stray = None
        if limits := self.binding(request, wishes, labelled=True):
            stray = self._stray(limits, {**request.parameters, "tools": request.tools})
        if stray is not None and stray.name not in UNCOUNTED:
            return dict.fromkeys(self.facts, stray.short)
        demand = _Demand(
            needs=needs_of(request),
            parameters=request.parameters,
            size=RequestSize(request, tokens),
            answer=answer_tokens(request.parameters),
            only_local="local_only" in limits,
            local=local,
            cap=min(_or_infinite(wishes.max_cost_usd), _or_infinite(self._settings.max_cost_usd)),
            dearer=None if stray is None else stray.name,
        )
        denied = self.names.denied_by(wishes.deny) if wishes.deny else ()
        allowed = None if wishes.allow is None else self.names.allowed_by(wishes.allow)
        reasons = (
            (name, _unwanted(facts, denied, allowed) or _objection(facts, demand, cost.get(name, math.nan)))
            for name, facts in self._facts_at(targets)
        )
        rejected = {name: why for name, why in reasons if why is not None}
        return {**dict.fromkeys(self._at_other_efforts(request), OTHER_EFFORT), **rejected}

    def _facts_at(self, targets: Mapping[str, tuple[Target, ...]]) -> Iterator[tuple[str, ModelFacts]]:
        """The facts of each model, at its deployments where it has any."""
        for name, facts in self.facts.items():
            if name not in targets:
                yield name, facts
                continue
            key = name, targets[name]
            if key not in self._deployed:
                if len(self._deployed) >= MOST_KNOWN:
                    self._deployed = {}
                self._deployed[key] = _facts(name, self._config.of(name), facts.denied, targets[name])
            yield name, self._deployed[key]

    def _at_other_efforts(self, request: Request) -> Sequence[str]:
        """The actions at other efforts than the caller's, of the models that have one at the caller's."""
        if (effort := effort_of(request.parameters)) is None:
            return ()
        having = {endpoint_of(name) for name in self.facts if effort_in(name) == effort}
        return [name for name in self.facts if endpoint_of(name) in having and effort_in(name) != effort]

    def binding(self, request: Request, wishes: Wishes, *, labelled: bool) -> list[str]:
        """The limits that a request is under whatever model serves it.

        Args:
            labelled: whether the request shows its tags and task type; if not, it may have any.
        """
        settings = self._settings
        limits = {
            "local_only": self.must_stay(request, wishes),
            "local_only_tags": not labelled and bool(self._home_tags),
            "local_only_task_types": not labelled and bool(self._home_tasks),
            "deny": bool(settings.deny or wishes.deny),
            "allow": wishes.allow is not None,
            CAP: self.caps(wishes),
        }
        return [name for name, binds in limits.items() if binds]

    def caps(self, wishes: Wishes) -> bool:
        """Whether a cap on its cost binds a request."""
        return self._settings.max_cost_usd is not None or wishes.max_cost_usd is not None

    def passed_by(
        self, request: Request, wishes: Wishes, arguments: Mapping[str, Json], *, labelled: bool = True
    ) -> Stray | None:
        """The argument that could take a request past a limit, or None: it may be sent."""
        return self._stray(self.binding(request, wishes, labelled=labelled), arguments)

    def _stray(self, limits: Iterable[str], arguments: Mapping[str, Json]) -> Stray | None:
        for limit in limits:
            if (name := straying(arguments, limit, self._settings.arguments)) is not None:
                return Stray(limit=limit, name=name)
        return None

    def must_stay(self, request: Request, wishes: Wishes) -> bool:
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
    denied = ModelNames(models, config).denied_by(config.limits.deny)
    return {model: _facts(model, config.of(model), model in denied) for model in models}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demand:
    """What one request requires of a model."""

    needs: tuple[str, ...]
    parameters: Mapping[str, Json]
    size: RequestSize
    answer: int
    only_local: bool
    local: Collection[str] | None
    cap: float
    dearer: str | None

    @property
    def uncounted(self) -> str | None:
        """What has a cost that nobody knows before the call; None: nothing."""
        unknown = (NEEDS[need].what for need in self.needs if need not in COUNTED)
        return next(unknown, self.size.uncounted) or self.dearer


def _unwanted(facts: ModelFacts, denied: Collection[str], allowed: Collection[str] | None) -> str | None:
    """Why settings or caller exclude a model for any request, or None."""
    if facts.denied or facts.name in denied:
        return DENIED
    return None if allowed is None or facts.name in allowed else NOT_ALLOWED


def _objection(facts: ModelFacts, demand: _Demand, cost: float) -> str | None:
    """Why a model can't serve a request, or None."""
    local = facts.local if demand.local is None else facts.name in demand.local
    if demand.only_local and not local:
        return NOT_LOCAL
    for need in demand.needs:
        if facts.takes.get(need) is False:
            return f"takes no {NEEDS[need].what}"
    for name in facts.lacks:
        if is_given(demand.parameters.get(name)):
            return f"takes no {name}"
    if facts.window is not None and demand.size.exceeds(
        int(facts.window / facts.density), int(demand.answer / facts.density) if facts.shared else 0
    ):
        return _too_long(facts, demand)
    return None if demand.cap == math.inf else _too_dear(cost, facts, demand)


def _too_long(facts: ModelFacts, demand: _Demand) -> str:
    answer = f" and an answer of {demand.answer:,}" if facts.shared and demand.answer else ""
    count = demand.size.about * facts.density
    return f"about {decimal(count, 0)} tokens{answer} don't fit its {facts.window:,}"


def _too_dear(cost: float, facts: ModelFacts, demand: _Demand) -> str | None:
    cap = f"the cap is {dollars(demand.cap)}"
    if math.isnan(cost):
        return f"costs an unknown amount, and {cap}"
    cost *= facts.cache_write if demand.size.writes_cache else 1.0
    if cost > demand.cap:
        return f"expected to cost {dollars(cost)}, over the cap of {dollars(demand.cap)}"
    if cost > 0.0 and (what := "its searches" if facts.searches else demand.uncounted):
        return f"costs an unknown amount, as nobody can count {what} before the call, and {cap}"
    return None


def _label(text: str) -> str:
    """A tag or task type as limits compare it: without case, surrounding space, and what nobody sees.

    One text has several forms in Unicode, and files and forms change them on the way.
    """
    if not text.isascii() or not text.isprintable():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(one for one in text if one.isprintable() or one.isspace())
    return unicodedata.normalize("NFKC", text.strip().casefold())


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _facts(model: str, settings: ModelSettings, denied: bool, targets: Sequence[Target] = ()) -> ModelFacts:
    """What is known of a model; of several deployments, the least that holds for all of them."""
    called = settings.litellm_model or model
    everywhere = targets or [Target(called=called, names=(settings.litellm_model, model))]
    providers = [provider_of(one.called) for one in everywhere]
    entries = [one.entry for one in everywhere]
    windows = [window for window in map(_window, entries) if window is not None]
    own = settings.capabilities
    dropped = {*settings.drop, *settings.map}
    unsupported = {name for name, takes in own.parameters.items() if not takes}
    lacks = unsupported - set(NEEDS) - MINOR_PARAMETERS - dropped
    return ModelFacts(
        name=model,
        denied=denied,
        local=is_local(called, settings) and (bool(settings.local) or not _led_away(settings)),
        takes=_held_by_all([_abilities(*one, settings) for one in zip(entries, providers, strict=True)]),
        lacks=frozenset(lacks),
        window=own.context_tokens or min(windows, default=None),
        shared=any(
            provider not in TRUNCATING and (provider in SELF_HOSTED or _is_shared(entry))
            for entry, provider in zip(entries, providers, strict=True)
        ),
        density=max(tokens_of_one(one.called) for one in everywhere),
        cache_write=max(_cache_write(one, settings) for one in everywhere),
        searches=any(bills_searches(one.called) for one in everywhere),
    )


def _led_away(settings: ModelSettings) -> bool:
    """Whether the model's own parameters may send its calls elsewhere than its name and address say."""
    return straying(settings.parameters, "local_only") is not None


def _held_by_all(abilities: Sequence[Mapping[str, bool]]) -> dict[str, bool]:
    """What all deployments take, or one of them does not; the rest is unknown."""
    stated = {need: [one.get(need) for one in abilities] for need in NEEDS}
    return {need: all(takes) for need, takes in stated.items() if False in takes or None not in takes}


def _cache_write(target: Target, settings: ModelSettings) -> float:
    """The dearest share that is known: how long the caller wants a part kept is not looked at."""
    own = settings.price
    if own and own.cache_write_usd_per_million is not None:
        plain = own.input_usd_per_million
        return max(own.cache_write_usd_per_million / plain, 1.0) if plain else 1.0
    return max(cache_write_share(*target.names, hour=True) or 1.0, 1.0)


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
