"""Provider parameters: turns a caller's arguments into those that one model takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from router.effort import EFFORT_PARAMETERS, effort_of
from router.models.model_list import listed_entry, stated_ability
from router.records import Json
from router.settings.sections import Config, ModelSettings

Supported: TypeAlias = Callable[[str, Json], bool]
"""Whether a model takes a parameter with this value."""

ANY_OTHER = "*"
"""Key of `map` for every value without a key of its own."""

_SAME_BY_ANOTHER_NAME = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_NEXT_BEST = {("tool_choice", "required"): "auto"}
"""For a value that a model does not take, the closest one."""


def arguments_for(
    model: str, caller_arguments: Mapping[str, Json], config: Config, supported: Supported | None
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """LiteLLM's arguments for one model, and a note for each changed argument of the caller's.

    The model's own `parameters` fill in for arguments that the caller did not set. `drop` leaves out some of
    the caller's arguments, and `map` changes some by their value. The headers of both are merged, the
    caller's first. An effort of the caller's replaces the model's, whichever parameters state the two. An
    argument that the model does not take is left out or replaced by the closest one.

    `map` looks a value up as text: `true`, `0.5`, or the `type` of an object (`json_schema`).

    Args:
        supported: what LiteLLM knows about the model; None: nothing, so that every argument passes.

    Returns:
        The arguments, and notes that hold names but no values, as values may be private.
    """
    settings = config.of(model)
    notes: list[str] = []
    chosen = _changed(model, caller_arguments, settings, notes)
    own = own_parameters(settings, chosen)
    merged = {**own, **chosen, **_headers(own, chosen)}
    fitting = _fitting(model, merged, settings, supported, notes)
    return fitting, tuple(notes)


def own_parameters(settings: ModelSettings, callers: Mapping[str, Json]) -> dict[str, Json]:
    """The model's `parameters`, without those of its effort if the caller states another."""
    stated = EFFORT_PARAMETERS if effort_of(callers) is not None else frozenset[str]()
    return {name: value for name, value in settings.parameters.items() if name not in stated}


def _changed(
    model: str, caller_arguments: Mapping[str, Json], settings: ModelSettings, notes: list[str]
) -> dict[str, Json]:
    """The caller's arguments after `drop` and `map`; None counts as not set."""
    changed: dict[str, Json] = {}
    for name, value in caller_arguments.items():
        if value is None:
            continue
        if name in settings.drop:
            notes.append(f"{model} does not get {name!r}: left out, as configured")
            continue
        new_value = _mapped(value, settings.map[name]) if name in settings.map else value
        if new_value is not None:
            changed[name] = new_value
        if new_value is not value:
            notes.append(f"{model} gets another {name!r}, as configured")
    return changed


def _mapped(value: Json, mapping: Mapping[str, Json]) -> Json:
    """The value that the model gets: this very object if the mapping leaves it unchanged."""
    new_value = mapping.get(parameter_text(value), mapping.get(ANY_OTHER, value))
    return value if new_value == value else new_value


def parameter_text(value: Json) -> str:
    """A parameter's value as a key of `map`."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return str(value["type"])
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, default=lambda other: type(other).__name__)


def _headers(own: Mapping[str, Json], chosen: Mapping[str, Json]) -> dict[str, Json]:
    """The merged headers if both have some; names match in any case."""
    defaults, headers = own.get("extra_headers"), chosen.get("extra_headers")
    if not defaults or not headers:
        return {}
    names = {name.lower() for name in headers}
    kept = {name: value for name, value in defaults.items() if name.lower() not in names}
    return {"extra_headers": {**kept, **headers}}


def _fitting(
    model: str,
    merged: Mapping[str, Json],
    settings: ModelSettings,
    supported: Supported | None,
    notes: list[str],
) -> dict[str, Json]:
    """The arguments that the model takes, with the order to LiteLLM to drop any that it still refuses."""
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
    """The closest substitute for an argument that the model does not take; empty if there is none."""
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
    """Whether a model takes JSON schemas, by the settings or else LiteLLM's list; yes if neither knows."""
    stated = settings.capabilities.json_schema
    if stated is None:
        stated = stated_ability(listed_entry(settings.litellm_model, model), "supports_response_schema")
    return stated is not False
