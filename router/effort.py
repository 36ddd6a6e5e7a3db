"""Reasoning effort: how much a model thinks before it answers, in one word for every provider's parameter."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

_HOLDERS = (
    "generationConfig", "generation_config", "config", "extra_body", "google", "optional_params",
    "additionalModelRequestFields", "additional_model_request_fields",
)  # fmt: skip
"""Objects of a request that hold parameters of some providers."""
_THINKING = ("thinking", "thinkingConfig", "thinking_config", "reasoning_config", "reasoningConfig")
_STATED = ("reasoning_effort", "reasoningEffort", "reasoning", "output_config")
_BUDGETS = ("budget_tokens", "budgetTokens", "thinkingBudget", "thinking_budget", "max_tokens")
_WORDS = ("effort", "maxReasoningEffort", "thinkingLevel", "thinking_level")
_READ = frozenset((*_HOLDERS, *_THINKING, *_STATED))
_DEFAULTS = frozenset({"", "default", "auto", "unspecified"})
_NONE = frozenset({"none", "disable", "disabled", "off"})
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,30}|thinking=[1-9][0-9]{0,8}")
_ADAPTIVE = "adaptive"
_DEEPEST = 2


def effort_of(body: Mapping[str, object]) -> str | None:
    """The reasoning effort that a request states, in any protocol; None if that is left to the provider.

    `low`, `high` and other words stand as they are; a budget is `thinking=8192`, no thinking `none`, and
    thinking as long as the model likes `adaptive`. A word or a budget comes before `adaptive`.
    """
    if _READ.isdisjoint(body):  # most requests: every decision asks this
        return None
    stated = [effort for effort in _efforts(body, _DEEPEST) if effort is not None]
    return next((effort for effort in stated if effort != _ADAPTIVE), next(iter(stated), None))


def effort_word(value: object) -> str | None:
    """The effort in one value: a word, or a number of thinking tokens; None for anything else."""
    if isinstance(value, str):
        word = value.strip().lower().removeprefix("thinking_level_")
        if not word.removeprefix("-").isdecimal():
            word = "none" if word in _NONE else word
            return word if word not in _DEFAULTS and _WORD.fullmatch(word) else None
        value = int(word) if len(word) < 10 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if value < 0:
        return _ADAPTIVE
    return effort_word(f"thinking={int(value)}") if value else "none"


def _efforts(body: Mapping[str, object], depth: int) -> Iterator[str | None]:
    yield from (_of_value(body.get(name)) for name in (*_THINKING, *_STATED))
    for name in _HOLDERS if depth else ():
        if inner := _object(body.get(name)):
            yield from _efforts(inner, depth - 1)


def _of_value(value: object) -> str | None:
    """The effort of a parameter: a word or a number, or an object that holds one."""
    thinking = _object(value)
    if not thinking:
        return None if isinstance(value, Mapping) else effort_word(value)
    if thinking.get("type") == "disabled" or thinking.get("enabled") is False:
        return "none"
    stated = (effort_word(thinking.get(name)) for name in (*_WORDS, *_BUDGETS))
    adaptive = _ADAPTIVE if thinking.get("type") == _ADAPTIVE else None
    return next((effort for effort in stated if effort is not None), adaptive)


def _object(value: object) -> Mapping[str, object]:
    """An object, or one as JSON text; else an empty one."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", _ADAPTIVE)
"""Words that the name of an action may end in, from least to most effort; so may a budget."""
EFFORT_PARAMETERS = frozenset({*_THINKING, *_STATED})
"""Parameters that state an effort."""
_ACTION = re.compile(
    rf"(?P<endpoint>.+)@(?P<effort>{'|'.join(EFFORTS)}|thinking=[1-9][0-9]{{0,8}})", re.DOTALL
)


def action_name(model: str, effort: str | None) -> str:
    """The name of a model at an effort, `gpt-5@low`; the model's own if the effort is not one of these."""
    named = f"{model}@{effort}"
    return named if effort is not None and effort_in(named) == effort else model


def endpoint_of(name: str) -> str:
    """The model of an action: what has an address, a price and limits. A date or version is no effort."""
    action = _ACTION.fullmatch(name)
    return action["endpoint"] if action else name


def effort_in(name: str) -> str | None:
    """The effort in the name of an action; None if the name is a model's alone."""
    action = _ACTION.fullmatch(name)
    return action["effort"] if action else None


def effort_rank(effort: str | None) -> int:
    """A number that rises with the effort; a budget counts its tokens, which is more than any word."""
    if effort is None:
        return -1
    return EFFORTS.index(effort) if effort in EFFORTS else len(EFFORTS) + int(effort.partition("=")[2])


def parameters_of(effort: str) -> dict[str, object]:
    """LiteLLM's arguments for an effort, which it turns into the provider's own."""
    if effort == _ADAPTIVE:
        return {"thinking": {"type": _ADAPTIVE}}
    tokens = effort.partition("=")[2]
    return (
        {"thinking": {"type": "enabled", "budget_tokens": int(tokens)}}
        if tokens
        else {"reasoning_effort": effort}
    )


def parameters_in(call_type: str, effort: str) -> dict[str, object]:
    """LiteLLM's arguments for an effort in a kind of call; empty if the protocol has none for it."""
    if call_type in ("aresponses", "responses"):
        is_word = effort != _ADAPTIVE and "=" not in effort
        return {"reasoning": {"effort": effort}} if is_word else {}
    return parameters_of(effort) if call_type in ("acompletion", "anthropic_messages", "completion") else {}
