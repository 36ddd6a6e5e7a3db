"""Provider parameters: what a caller's arguments become for one model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from router.models.model_list import listed_entry, stated_ability
from router.records import Json
from router.settings.sections import Config, ModelSettings

Supported: TypeAlias = Callable[[str, Json], bool]
"""Whether a model takes a parameter with this value."""

ANY_OTHER = "*"
"""Key of `map` for every value that it does not name."""

_SAME_BY_ANOTHER_NAME = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_NEXT_BEST = {("tool_choice", "required"): "auto"}
"""Where a model does not take a value: the one that comes closest."""


def arguments_for(
    model: str, caller_arguments: Mapping[str, Json], config: Config, supported: Supported | None
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """LiteLLM's arguments for one model, and a note for each of the caller's that it gets otherwise.

    The model's own `parameters` stand in for arguments that the caller does not give. Of the caller's, `drop`
    leaves some out and `map` changes some by their value. Headers of both are sent, the caller's first. What
    the model does not take is left out, or becomes what comes closest.

    A value is looked up in `map` as text: `true`, `0.5`, and of an object its `type` (`json_schema`).

    Args:
        supported: what LiteLLM knows of the model; None: nothing, so that all is passed on.

    Returns:
        The arguments, and notes that hold names but no values: those may be private.
    """
    settings = config.of(model)
    notes: list[str] = []
    chosen = _changed(model, caller_arguments, settings, notes)
    merged = {**settings.parameters, **chosen, **_headers(settings.parameters, chosen)}
    fitting = _fitting(model, merged, settings, supported, notes)
    return fitting, tuple(notes)


def _changed(
    model: str, given: Mapping[str, Json], settings: ModelSettings, notes: list[str]
) -> dict[str, Json]:
    """The caller's arguments after `drop` and `map`; those that are None count as not given."""
    changed: dict[str, Json] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in settings.drop:
            notes.append(f"{model} does not get {name!r}: left out, as configured")
            continue
        becomes = _mapped(value, settings.map[name]) if name in settings.map else value
        if becomes is not None:
            changed[name] = becomes
        if becomes is not value:
            notes.append(f"{model} gets another {name!r}, as configured")
    return changed


def _mapped(value: Json, mapping: Mapping[str, Json]) -> Json:
    """What the model gets instead of a value; the value itself where it is equal or nothing maps it."""
    becomes = mapping.get(parameter_text(value), mapping.get(ANY_OTHER, value))
    return value if becomes == value else becomes


def parameter_text(value: Json) -> str:
    """A parameter's value as `map` names it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return str(value["type"])
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, default=lambda other: type(other).__name__)


def _headers(own: Mapping[str, Json], chosen: Mapping[str, Json]) -> dict[str, Json]:
    """The headers of both, by names whose case does not matter."""
    defaults, given = own.get("extra_headers"), chosen.get("extra_headers")
    if not defaults or not given:
        return {}
    names = {name.lower() for name in given}
    kept = {name: value for name, value in defaults.items() if name.lower() not in names}
    return {"extra_headers": {**kept, **given}}


def _fitting(
    model: str,
    merged: Mapping[str, Json],
    settings: ModelSettings,
    supported: Supported | None,
    notes: list[str],
) -> dict[str, Json]:
    """The arguments that the model takes; LiteLLM is told to drop what it refuses all the same."""
    stated = settings.capabilities.parameters
    wanted = [name for name, able in stated.items() if able and name in merged]
    allowed = {*(merged.get("allowed_openai_params") or ()), *wanted}

    def takes(name: str, value: Json) -> bool:
        if name in allowed:
            return True
        return stated.get(name, True) and (supported is None or supported(name, value))

    fitting: dict[str, Json] = {"drop_params": True}
    for name, value in merged.items():
        if name == "response_format" and _asks_for_a_schema(value) and not _takes_schemas(model, settings):
            fitting[name] = {"type": "json_object"}
            notes.append(f"{model} takes no JSON schema: asked for a JSON object instead")
        elif takes(name, value):
            fitting[name] = value
        else:
            fitting.update(_closest(model, name, value, takes, notes))
    if allowed:
        fitting["allowed_openai_params"] = sorted(allowed)
    return fitting


def _closest(model: str, name: str, value: Json, takes: Supported, notes: list[str]) -> dict[str, Json]:
    """What stands in for an argument that the model does not take; nothing, where nothing comes close."""
    other = _SAME_BY_ANOTHER_NAME.get(name)
    if other is not None and takes(other, value):
        notes.append(f"{model} does not take {name!r}: sent as {other!r}")
        return {other: value}
    instead = _NEXT_BEST.get((name, value)) if isinstance(value, str) else None
    if instead is not None and takes(name, instead):
        notes.append(f"{model} does not take {name!r} as {value!r}: sent as {instead!r}")
        return {name: instead}
    notes.append(f"{model} does not take {name!r} as given: left out")
    return {}


def _asks_for_a_schema(value: Json) -> bool:
    return value["type"] == "json_schema" if isinstance(value, Mapping) and "type" in value else False


def _takes_schemas(model: str, settings: ModelSettings) -> bool:
    """By the settings, else by LiteLLM's list; a model that neither names does."""
    stated = settings.capabilities.json_schema
    if stated is None:
        stated = stated_ability(listed_entry(settings.litellm_model, model), "supports_response_schema")
    return stated is not False
