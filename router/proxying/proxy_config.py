"""A LiteLLM proxy's configuration for a router: its models, and an alias for the router's decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from router.calling.litellm_call import NO_KEY, gets_no_key
from router.calling.reply import own_price
from router.calling.transport import chain_of
from router.errors import ConfigError
from router.loading.registry import SCHEMES
from router.models.locality import address_of
from router.records import Json
from router.settings.sections import ModelSettings
from router.version import Version

MOST_TIERS: Final = 8
LONGEST_TIER: Final = 64
"""LiteLLM's own bounds: the tiers of one alias, and the characters of a tier's name."""
DECISION_TIMEOUT_MS: Final = 10_000
"""How long LiteLLM waits for a decision. Only a burst of requests makes one take so long."""
HEADER = """\
# A LiteLLM proxy for a pointsman router, written by `pointsman litellm-config`.
#
#   pip install 'pointsman[proxy]'
#   export LITELLM_MASTER_KEY=...        # choose one: long, random, starting with sk-
#   export LITELLM_LOCAL_MODEL_COST_MAP=True
#   litellm --config {name} --port 4000
#
# Request the model {alias!r} to let the router choose. `metadata` may hold task_type, tags and session_id,
# and under `pointsman` a request's wishes: local_only, max_cost_usd, tradeoff, allow, deny, explore.
# The header x-litellm-call-id of the answer is the call_id in the call log. If POINTSMAN_FEEDBACK_KEY is set
# (long, random), the proxy takes outcomes: POST /pointsman/feedback {{"call_id": ..., "success": true}}, with
# that key in the header Authorization: Bearer.
#
# On SIGTERM the proxy waits GRACEFUL_SHUTDOWN_TIMEOUT seconds (30) for running requests, then cuts them off:
# set it below your supervisor's patience. The row of a request that is cut off says "cancelled".
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyPlan:
    """The input of a configuration.

    Attributes:
        router: the folder or registry address that the proxy loads.
        config: the team's settings; None: those in the router's folder.
        alias: the model name that stands for the router's decision.
    """

    version: Version
    router: str
    config: Path | None = None
    alias: str = "smart"


def proxy_config(plan: ProxyPlan) -> dict[str, Json]:
    """The configuration, as LiteLLM reads it.

    Raises:
        ConfigError: LiteLLM can't serve this router with these settings.
    """
    version = plan.version
    models = served_models(version)
    _check(plan, models)
    default = default_model(version, models)
    chains = _chains(version, models)
    calls = version.config.calls
    return {
        "model_list": [*(_deployment(version, model) for model in models), _alias(plan, models, default)],
        "router_settings": {
            "num_retries": calls.retries,
            "timeout": calls.timeout_s,
            "max_fallbacks": len(models) - 1,
            "fallbacks": chains,
            **_cool_down(version),
        },
        "litellm_settings": {
            "callbacks": ["router.litellm_plugin.callback"],
            "drop_params": True,
            "disable_hf_tokenizer_download": True,
        },
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        "environment_variables": _variables(plan),
    }


def as_yaml(config: dict[str, Json], *, name: str, alias: str) -> str:
    """The configuration's text; `name` is the name of its file."""
    text = yaml.safe_dump(config, sort_keys=False, width=110, allow_unicode=True)
    return f"{HEADER.format(name=name, alias=alias)}\n{text}"


def served_models(version: Version) -> tuple[str, ...]:
    """The router's models that some request may go to, the likeliest to succeed first."""
    local_only = version.config.limits.local_only
    facts = version.limits.facts.items()
    forbidden = {model for model, fact in facts if fact.denied or (local_only and not fact.local)}
    return tuple(model for model in version.likeliest if model not in forbidden)


def default_model(version: Version, models: Sequence[str]) -> str:
    """The model for a request that the router leaves to LiteLLM."""
    default = version.config.rules.default or version.policy.best_single
    return default if default in models else models[0]


def _check(plan: ProxyPlan, models: Sequence[str]) -> None:
    """Refuse a plan that LiteLLM would refuse or misunderstand.

    Raises:
        ConfigError: names the problem.
    """
    if plan.alias in models:
        raise ConfigError(f"the alias {plan.alias!r} is a model's name: choose another with --alias")
    if len(models) < 2:
        raise ConfigError(f"nothing to choose: the limits leave {', '.join(models) or 'no model'}")
    if len(models) > MOST_TIERS:
        extra = len(models) - MOST_TIERS
        raise ConfigError(
            f"LiteLLM chooses from at most {MOST_TIERS} models, and this router has {len(models)}: leave out "
            f"{extra} by limits.deny, for example {', '.join(dispensable(plan.version, models)[:extra])}"
        )
    if long := [model for model in models if len(model) > LONGEST_TIER]:
        raise ConfigError(f"{long[0]!r} has more than the {LONGEST_TIER} characters of a LiteLLM tier's name")


def dispensable(version: Version, models: Sequence[str]) -> list[str]:
    """The models, first those that another one beats at less cost, then those least likely to succeed."""
    dominated = version.manifest["data"].get("dominated", {})
    likeliest_last = models[::-1]
    return sorted(likeliest_last, key=lambda model: model not in dominated)


def _deployment(version: Version, model: str) -> dict[str, Json]:
    """One model as LiteLLM calls it; the callback fits the caller's arguments to it."""
    settings, calls = version.config.of(model), version.config.calls
    called, timeout = settings.litellm_model or model, settings.timeout_s or calls.timeout_s
    optional = {
        "api_base": address_of(called, settings),
        "api_key": _key(called, settings),
        "num_retries": settings.retries,
    }
    return {
        "model_name": model,
        "litellm_params": {
            "model": called,
            **{name: value for name, value in optional.items() if value is not None},
            "timeout": timeout,
            "stream_timeout": timeout,
            **_price(model, settings),
        },
    }


def _key(called: str, settings: ModelSettings) -> str | None:
    """Where LiteLLM reads the key; None: in the provider's usual place."""
    if settings.api_key_env is not None:
        return f"os.environ/{settings.api_key_env}"
    return NO_KEY if gets_no_key(called, settings) else None


def _price(model: str, settings: ModelSettings) -> dict[str, float]:
    """The team's price in LiteLLM's terms."""
    price = own_price(model, settings)
    if price is None or price.cached_input_usd_per_million is None:
        return {}
    return {
        "input_cost_per_token": price.input_usd_per_million / 1e6,
        "output_cost_per_token": price.output_usd_per_million / 1e6,
        "cache_read_input_token_cost": price.cached_input_usd_per_million / 1e6,
    }


def _alias(plan: ProxyPlan, models: Sequence[str], default: str) -> dict[str, Json]:
    """The model name that stands for the router's decision: one tier per model.

    LiteLLM's own steps before and after the decision are off: they know nothing about a request's limits, and
    a summary of a private conversation is as private as the conversation.
    """
    return {
        "model_name": plan.alias,
        "litellm_params": {
            "model": "auto_router/complexity_router",
            "complexity_router_default_model": default,
            "complexity_router_config": {
                "classifier_type": "custom",
                "classifier_plugin": "router.litellm_plugin.classifier",
                "classifier_plugin_timeout_ms": DECISION_TIMEOUT_MS,
                "tier_definitions": [
                    {"name": model, "description": f"what pointsman sends to {model}"} for model in models
                ],
                "tiers": {model: model for model in models},
                "fallback_tier": default,
                "max_tokens_from_tier_model": False,
                "route_housekeeping_to_cheapest_tier": False,
                "context_compaction": False,
                "deployment_affinity": False,
            },
        },
    }


def _chains(version: Version, models: Sequence[str]) -> list[dict[str, list[str]]]:
    """The fallbacks of each model: all the others.

    The callback skips those that a request may not go to, and stops after `max_models`.
    """
    whole = version.config.calls.model_copy(update={"max_models": len(models)})
    chains = []
    for model in models:
        ranking = (model, *(other for other in models if other != model))
        rest = [other for other in chain_of(model, ranking, whole) if other != model]
        if rest:
            chains.append({model: rest})
    return chains


def _cool_down(version: Version) -> dict[str, Json]:
    settings = version.config.calls.cool_down
    if not settings.failures:
        return {"disable_cooldowns": True}
    return {"allowed_fails": settings.failures - 1, "cooldown_time": settings.seconds}


def _variables(plan: ProxyPlan) -> dict[str, str]:
    """The plugin's environment, with absolute paths, so that the proxy may start in any folder."""
    from_registry = plan.router.startswith(SCHEMES)
    variables = {"POINTSMAN_ROUTER": plan.router if from_registry else str(Path(plan.router).resolve())}
    if plan.config is not None:
        variables["POINTSMAN_CONFIG"] = str(plan.config.resolve())
    return variables
