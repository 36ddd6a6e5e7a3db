"""Which models run on the team's own machines; if in doubt, a model does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from router.models.model_list import listed_entry, listed_providers, provider_of, stated_number
from router.records import Json
from router.settings.sections import ModelSettings

DEFAULT_ADDRESSES = {
    "ollama": "http://localhost:11434",
    "ollama_chat": "http://localhost:11434",
    "llamafile": "http://127.0.0.1:8080/v1",
}
"""Where LiteLLM sends calls of these providers without an address. It sends those of `lm_studio/` and
`hosted_vllm/` to OpenAI, so they are not here."""
SELF_HOSTED = frozenset({*DEFAULT_ADDRESSES, "lm_studio", "hosted_vllm", "vllm"})
"""Providers that are programs, not companies."""
ANY_SERVER = frozenset({"openai", "custom_openai", "text-completion-openai"})
"""Providers that may also be any server with OpenAI's protocol."""
RELAYS = frozenset({"litellm_proxy"})
PRIVATE = tuple(
    map(
        ip_network,
        (
            "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
            "::1/128", "fc00::/7", "fe80::/10",
        ),
    )
)  # fmt: skip
PRIVATE_NAMES = re.compile(r"(?:.+\.)?localhost|.+\.(?:local|internal|home\.arpa)", re.I)
"""Names that have no public address (RFC 6761, 6762 and 8375; ICANN reserved `internal` in 2024)."""
CLOUD = re.compile(r"(?:^|[-:_./])cloud(?:$|[-:_./])", re.I)
"""In a model's name: Ollama sends prompts for `gpt-oss:120b-cloud` to its own company's machines."""
ADDRESS = re.compile(r"https?://[!-\[\]-~]+", re.I)
"""An address that every program parses alike: no white space, no backslash, only ASCII."""


UNREADABLE = ("litellm_credential_name", "fallbacks", "context_window_fallback_dict", "model_list")
"""A deployment's parameters that may send its calls to another address or model than those it names."""


def is_local(called: str, settings: ModelSettings) -> bool:
    """Whether a model's calls stay on the team's own machines.

    The setting `local` decides. Without it, a model at a private address is local unless it is known to be
    another company's, such as `gpt-4o` behind a gateway in the team's network. Without an address, providers
    of `DEFAULT_ADDRESSES` are local.

    Args:
        called: the model's name in calls to LiteLLM.
    """
    return _is_at_home(called, settings.api_base) if settings.local is None else settings.local


def _is_at_home(called: str, address: str | None) -> bool:
    """The same by name and address alone."""
    if CLOUD.search(called):
        return False
    if address is None:
        return provider_of(called) in DEFAULT_ADDRESSES
    return is_private(address) and not _is_a_companys(called)


def is_local_group(deployments: Sequence[Mapping[str, Json]], settings: ModelSettings) -> bool:
    """Whether every deployment of a model group of a `litellm.Router` is on the team's own machines.

    The setting `local: true` counts only at private addresses and at the setting `api_base`, because
    deployments come and go. A group without deployments is not local.
    """
    return bool(deployments) and all(_is_local_deployment(one, settings) for one in deployments)


def _is_local_deployment(deployment: Mapping[str, Json], settings: ModelSettings) -> bool:
    """Likewise for one deployment; one that leaves its address to LiteLLM's environment is not local."""
    params = deployment.get("litellm_params")
    if settings.local is False or not isinstance(params, Mapping) or any(map(params.get, UNREADABLE)):
        return False
    called, provider = params.get("model"), params.get("custom_llm_provider")
    addresses = [address for name in ("api_base", "base_url") if (address := params.get(name)) is not None]
    if not isinstance(called, str) or not addresses or not all(isinstance(one, str) for one in addresses):
        return False
    if settings.local:
        return all(is_private(one) or one == settings.api_base for one in addresses)
    if provider and not called.startswith(f"{provider}/"):
        called = f"{provider}/{called}"
    return all(_is_at_home(called, address) for address in addresses)


def address_of(called: str, settings: ModelSettings) -> str | None:
    """The address of a model's calls; None: the provider's own."""
    # Local models need it too: LiteLLM would read an environment variable and send local prompts where it
    # points.
    return settings.api_base or DEFAULT_ADDRESSES.get(provider_of(called) or "")


@lru_cache(maxsize=1_000)
def is_private(address: str) -> bool:
    """Whether a web address names a loopback or private network, by its text alone; kept for reuse."""
    if not ADDRESS.fullmatch(address):
        return False
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return False
    try:
        number = ip_address(host)
    except ValueError:
        return PRIVATE_NAMES.fullmatch(host.removesuffix(".")) is not None
    number = getattr(number, "ipv4_mapped", None) or number
    return any(number in network for network in PRIVATE if network.version == number.version)


def _is_a_companys(called: str) -> bool:
    """Whether a model at a private address is a gateway's, according to the list of models."""
    provider = provider_of(called)
    if provider in SELF_HOSTED:
        return False
    if not listed_providers():
        return True
    if "/" in called and provider not in ANY_SERVER:
        return provider in listed_providers() or provider in RELAYS
    entry = listed_entry(called)
    return entry is not None and (stated_number(entry, "input_cost_per_token") or 0.0) > 0.0
