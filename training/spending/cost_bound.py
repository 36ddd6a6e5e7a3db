"""The most that one call of a model can cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from router.calling.attempt import Usage
from router.calling.litellm_call import takes
from router.calling.parameters import arguments_for
from router.errors import ConfigError
from router.models.model_list import Entry, listed_entry, stated_number
from router.models.prices import PER_MILLION, ModelPrice
from router.records import Json, Request
from router.settings.sections import Config

FRAME_TOKENS = 64
"""Most tokens that a provider adds around the messages."""
TOOL_TOKENS = 1024
"""Most tokens of a provider's own instructions for tools and response formats."""
_CAPS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The highest prices of a model, and the most tokens of its answer.

    Attributes:
        per_input_token, per_output_token, per_call: USD.
        output_tokens: of the longest answer, or of all answers if a call requests several.
        arguments: LiteLLM's, which limit the answer to that length.
    """

    per_input_token: float
    per_output_token: float
    per_call: float
    output_tokens: int
    arguments: Mapping[str, Json]

    def at_most(self, request: Request) -> float:
        """The most USD that one attempt at a request of text can cost."""
        return self._cost(most_input_tokens(request), self.output_tokens)

    def of(self, usage: Usage) -> float | None:
        """USD for the tokens that the provider counted; None if it counted none."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        return self._cost(usage.input_tokens, usage.output_tokens)

    def _cost(self, input_tokens: int, output_tokens: int) -> float:
        by_tokens = input_tokens * self.per_input_token + output_tokens * self.per_output_token
        return by_tokens + self.per_call


def most_input_tokens(request: Request) -> int:
    """At least the tokens of a request of text: a tokenizer makes at most one token of each byte."""
    whole = [request.messages, request.tools or None, request.response_format or None]
    size = len(json.dumps(whole, ensure_ascii=False, default=str).encode("utf-8", "replace"))
    return size + FRAME_TOKENS + (TOOL_TOKENS if request.tools or request.response_format else 0)


def only_texts(request: Request) -> bool:
    """Whether a request holds only text, no images or files."""
    contents = (message.get("content") for message in request.messages)
    return all(_all_text(content) for content in contents if not isinstance(content, str | None))


def _all_text(content: Json) -> bool:
    return isinstance(content, list | tuple) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in content
    )


def bound_of(model: str, config: Config, price: ModelPrice, max_tokens: int) -> Bound:
    """The most that a call of a model can cost under these settings.

    Args:
        price: the router's.
        max_tokens: longest answer if the model's settings have no limit.

    Raises:
        ConfigError: settings, LiteLLM's list and log have no price of the model, or nothing limits the length
            of its answers.
    """
    settings = config.of(model)
    entry = listed_entry(settings.litellm_model, model)
    per_token = _dearest(model, config, price, entry)
    requested = {} if any(settings.parameters.get(name) for name in _CAPS) else {"max_tokens": max_tokens}
    supported = partial(takes, settings.litellm_model or model, settings.api_base)
    sent, _ = arguments_for(model, requested, config, supported)
    bounds = [int(sent[name]) for name in _CAPS if isinstance(sent.get(name), int)]
    if (listed := stated_number(entry, "max_output_tokens")) is not None:
        bounds.append(int(listed))
    if not bounds:
        raise ConfigError(
            f"models.{model}: it takes no 'max_tokens' and LiteLLM lists no limit for its answers, so no "
            "budget could be kept; call another model"
        )
    answers = sent.get("n")
    return Bound(
        per_input_token=per_token[0],
        per_output_token=per_token[1],
        per_call=price.per_call if price.source == "log" else 0.0,
        output_tokens=min(bounds) * (answers if isinstance(answers, int) else 1),
        arguments={"max_tokens": min(bounds)} if requested else {},
    )


def _dearest(model: str, config: Config, price: ModelPrice, entry: Entry | None) -> tuple[float, float]:
    """USD per input and output token: the team's own price, else the highest known one."""
    own = config.of(model).price
    if own is not None:
        return own.input_usd_per_million * PER_MILLION, own.output_usd_per_million * PER_MILLION
    inputs = _listed(entry, "input_cost_per_token", "cache_creation_input_token_cost")
    outputs = _listed(entry, "output_cost_per_token", "output_cost_per_reasoning_token")
    if price.source == "log":
        inputs.append(price.per_input_token)
        outputs.append(price.per_output_token)
    if not inputs or not outputs:
        raise ConfigError(
            f"models.{model}.price: no price is known, so no budget could be kept; set one, or call another "
            "model"
        )
    return max(inputs), max(outputs)


def _listed(entry: Entry | None, *beginnings: str) -> list[float]:
    """All prices of a kind in LiteLLM's list, with those of long prompts and cache writes."""
    names = [name for name in entry or () if name.startswith(beginnings) and "batch" not in name]
    return [price for name in names if (price := stated_number(entry, name)) is not None]
