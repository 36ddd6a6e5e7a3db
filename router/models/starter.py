"""The first `pointsman.yaml` of a team: named models, with what LiteLLM's list says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

import yaml

from router.errors import ConfigError, MissingExtra
from router.models.locality import SELF_HOSTED
from router.models.model_list import (
    Entry,
    listed_entry,
    listed_providers,
    price_list,
    provider_of,
    stated_ability,
    stated_number,
)
from router.numbers import decimal, significant

CHATS: Final = frozenset({"chat", "responses", "completion"})
"""Modes of LiteLLM's list whose models answer a prompt."""
ABILITIES: Final = {
    "tools": "supports_function_calling",
    "images": "supports_vision",
    "documents": "supports_pdf_input",
    "JSON schemas": "supports_response_schema",
    "reasoning": "supports_reasoning",
}
PER_MILLION: Final = 1e6
HEAD: Final = """\
# The settings of pointsman, written by `pointsman init`. This file is a router already: its rules decide.
#
#   router = Router.load("pointsman.yaml"), or: pointsman route --router pointsman.yaml
#
# Once calls.db holds calls with outcomes (router.feedback), `pointsman train calls.db --out router` learns.

# Prices, windows and abilities come from LiteLLM's list, as the comments say. To override them, write
#   NAME:
#     price: {input_usd_per_million: 1.0, output_usd_per_million: 4.0}
#     capabilities: {vision: false, context_tokens: 32000}
#     api_base: http://10.0.0.7:11434
models:
"""
RULES: Final = """
rules:
  default: {default}  # answers every request that no other rule covers
  # task_types: {{support: {cheapest}}}  # per task type that the caller gives
  # heuristic: {{strong: {dearest}, middle: {default}, cheap: {cheapest}}}  # by words and length
  answer_tokens: 1000  # expected length of an answer, until a log teaches better

exploration:
  share: 0.02  # of the requests try another model, so that the log says something of each

log:
  url: calls.db  # SQLite; or a file ending in .jsonl, or postgresql://...
  text: full  # hash keeps no prompt, and then nothing can be learned of prompts

# limits: {{max_cost_usd: 0.10, local_only_tags: [patients]}}
# calls: {{timeout_s: 60, retries: 1}}
"""


def starter_text(models: Sequence[str]) -> str:
    """The text of the settings for some models; the first one is the default rule's.

    Raises:
        ConfigError: a model is named twice, answers no prompts, or is unknown.
        MissingExtra: LiteLLM, whose list this needs, is not installed.
    """
    if not price_list():
        raise MissingExtra("litellm", "litellm")
    if twice := next((name for name in models if models.count(name) > 1), None):
        raise ConfigError(f"{twice!r} is named twice: name each model once")
    for name in models:
        _check(name)
    known = [name for name in models if listed_entry(name)] or list(models)
    by_price = sorted(
        known, key=lambda name: stated_number(listed_entry(name), "output_cost_per_token") or 0.0
    )
    names = {"default": models[0], "cheapest": by_price[0], "dearest": by_price[-1]}
    lines = [line for name in models for line in _model_lines(name)]
    rules = RULES.format(**{role: _quoted(name) for role, name in names.items()})
    return "\n  ".join([HEAD.removesuffix("\n"), *lines]) + "\n" + rules


def _check(name: str) -> None:
    """Refuse a model that LiteLLM can't call; only a self-hosted one may be missing in its list.

    Raises:
        ConfigError: names the model, and those with a similar name.
    """
    provider, entry = provider_of(name), listed_entry(name)
    if provider in SELF_HOSTED and name != f"{provider}/":
        return
    if entry is None or ("/" in name and name not in price_list() and provider not in listed_providers()):
        guesses = (get_close_matches(one, price_list()) for one in (name, name.rpartition("/")[2]))
        close = next(filter(None, guesses), [])
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
        raise ConfigError(
            f"{name!r} is not in LiteLLM's list{hint} For a model of your own, name its server, such as "
            "ollama/NAME or hosted_vllm/NAME, or write it into the file"
        )
    if entry.get("mode") not in CHATS:
        raise ConfigError(f"{name!r} answers no prompts: LiteLLM's list calls it {entry.get('mode')!r}")


def _model_lines(name: str) -> Iterator[str]:
    """One model, and what is known of it as comments."""
    yield f"{_quoted(name)}: {{}}"
    entry = listed_entry(name)
    if entry is None:
        yield "# not in LiteLLM's list: its price and abilities are unknown"
        return
    yield f"# {_prices(entry)}"
    tokens = {"prompt": "max_input_tokens", "answer": "max_output_tokens"}
    longest = [
        f"{what} {decimal(size, 0)}"
        for what, member in tokens.items()
        if (size := stated_number(entry, member))
    ]
    if longest:
        yield f"# longest in tokens: {', '.join(longest)}"
    takes = [what for what, member in ABILITIES.items() if stated_ability(entry, member)]
    yield f"# takes {', '.join(takes) or 'text only'}"


def _prices(entry: Entry) -> str:
    members = {
        "input": "input_cost_per_token",
        "output": "output_cost_per_token",
        "cached input": "cache_read_input_token_cost",
    }
    stated = {what: stated_number(entry, member) for what, member in members.items()}
    prices = [
        f"{what} {significant(PER_MILLION * usd, 6)}" for what, usd in stated.items() if usd is not None
    ]
    return (
        f"USD per million tokens: {', '.join(prices)}" if prices else "no price per token in LiteLLM's list"
    )


def _quoted(name: str) -> str:
    """A name as YAML writes it inside a flow or block mapping."""
    return yaml.safe_dump([name], default_flow_style=True, width=10_000).strip()[1:-1]
