"""Each protocol of LiteLLM's proxy, called by its own client: one row per answered call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
import yaml
from google import genai

from router.records import Json
from tests.services.protocols import CACHED, INPUT, OUTPUT, TEXT, ManyProtocols
from tests.services.provider import KEY
from tests.services.proxy import Proxy, running_proxy
from tests.services.waiting import wait_until
from tests.whole.test_proxy import all_rows, client_of, written_config

KINDS = {
    "gpt-4.1-mini": "hosted_vllm/mini",
    "gpt-4o": "anthropic/claude-sonnet-4-5",
    "gpt-5": "openai/gpt-5",
    "ollama/llama3.1": "hosted_vllm/uncounted",
}
"""The router's models, and what LiteLLM calls for them; the last one's server reports no token counts."""
UNCOUNTED = "ollama/llama3.1"
# LiteLLM itself loses counts where it translates Gemini's protocol: the cached tokens, and all of a stream.
ESTIMATE = (14, None, 3)
"""What LiteLLM counts itself where a stream's server does not; it is the same to us as a server's count."""
UNKNOWN = "gemini/gemini-2.5-flash"
"""A group of the proxy's that the router does not know."""
PRICE = {"input_usd_per_million": 1.0, "cached_input_usd_per_million": 0.1, "output_usd_per_million": 10.0}
COST = ((INPUT - CACHED) * 1.0 + CACHED * 0.1 + OUTPUT * 10.0) / 1e6
LISTED = 0.000557
"""USD of the unknown group's answer, by LiteLLM's list."""
PROMPT = "Which bus goes to the station?"

Ask = Callable[[Proxy, str, bool], str]


@pytest.fixture(scope="module")
def provider() -> Iterator[ManyProtocols]:
    with ManyProtocols() as running:
        yield running


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("protocols") / "calls.db"


@pytest.fixture(scope="module")
def proxy(provider: ManyProtocols, router_folder: Path, log: Path) -> Iterator[Proxy]:
    settings = log.with_name("pointsman.yaml")
    settings.write_text(yaml.safe_dump(settings_of(provider, log)), encoding="utf-8")
    config = written_config(router_folder, settings)
    whole = yaml.safe_load(config.read_text(encoding="utf-8"))
    params = {"model": UNKNOWN, "api_key": KEY, "api_base": provider.address}
    whole["model_list"].append({"model_name": UNKNOWN, "litellm_params": params})
    config.write_text(yaml.safe_dump(whole), encoding="utf-8")
    with running_proxy(config, log.parent, {"TEAM_KEY": KEY}) as running:
        yield running


def settings_of(provider: ManyProtocols, log: Path) -> Json:
    models = {
        name: {
            "litellm_model": called,
            "api_base": provider.address + ("" if called.startswith("anthropic/") else "/v1"),
            "api_key_env": "TEAM_KEY",
            "price": PRICE,
        }
        for name, called in KINDS.items()
    }
    return {"models": models, "rules": {"default": "gpt-5"}, "log": {"url": str(log)}}


def chat(proxy: Proxy, model: str, stream: bool) -> str:
    create: Any = client_of(proxy).chat.completions.create
    reply = create(model=model, messages=[{"role": "user", "content": PROMPT}], stream=stream)
    if not stream:
        return str(reply.choices[0].message.content)
    return "".join(piece.choices[0].delta.content or "" for piece in reply if piece.choices)


def legacy(proxy: Proxy, model: str, stream: bool) -> str:
    create: Any = client_of(proxy).completions.create
    reply = create(model=model, prompt=PROMPT, stream=stream)
    return "".join(piece.choices[0].text or "" for piece in (reply if stream else [reply]) if piece.choices)


def responses(proxy: Proxy, model: str, stream: bool) -> str:
    create: Any = client_of(proxy).responses.create
    reply = create(model=model, input=PROMPT, stream=stream)
    if not stream:
        return str(reply.output_text)
    return "".join(event.delta for event in reply if event.type == "response.output_text.delta")


def messages(proxy: Proxy, model: str, stream: bool) -> str:
    client: Any = anthropic.Anthropic(
        base_url=proxy.address[:-3], api_key=proxy.key, max_retries=0, timeout=120
    )
    reply = client.messages.create(
        model=model, max_tokens=100, messages=[{"role": "user", "content": PROMPT}], stream=stream
    )
    if not stream:
        return str(reply.content[0].text)
    return "".join(event.delta.text for event in reply if event.type == "content_block_delta")


def gemini(proxy: Proxy, model: str, stream: bool) -> str:
    options: Any = {"base_url": proxy.address[:-3], "api_version": "v1beta"}
    options["headers"] = {"Authorization": f"Bearer {proxy.key}"}
    with genai.Client(api_key=proxy.key, http_options=options) as client:
        ask = client.models.generate_content_stream if stream else client.models.generate_content
        reply: Any = ask(model=model, contents=PROMPT)
        return "".join(piece.text or "" for piece in (reply if stream else [reply]))


NO_ALIAS = ("gemini", "smart")
"""LiteLLM refuses an alias of its complexity router in Gemini's protocol."""
PROTOCOLS: dict[str, Ask] = {one.__name__: one for one in (chat, legacy, responses, messages, gemini)}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("protocol", "model"),
    [(one, model) for one in PROTOCOLS for model in (*KINDS, UNKNOWN, "smart") if (one, model) != NO_ALIAS],
)
def test_an_answered_call_leaves_one_row_with_its_model_tokens_and_cost(
    proxy: Proxy, log: Path, protocol: str, model: str, stream: bool
) -> None:
    before = len(all_rows(log))
    assert PROTOCOLS[protocol](proxy, model, stream) == TEXT
    (row,) = wait_until(lambda: all_rows(log)[before:])
    assert row["model"] in KINDS if model == "smart" else row["model"] == model
    assert (row["error"], row["finish_reason"], row["stream"], row["attempt"]) == (None, "stop", stream, 1)
    assert (row["decision_source"] == "pinned") == (model != "smart")
    counts = row["input_tokens"], row["cached_input_tokens"], row["output_tokens"]
    if protocol == "gemini" and model != UNKNOWN:
        assert counts == ((None, None, None) if stream or model == UNCOUNTED else (INPUT, None, OUTPUT))
    elif row["model"] == UNCOUNTED:
        assert counts in ((None, None, None), ESTIMATE)
    else:
        assert counts == (INPUT, CACHED, OUTPUT)
        assert row["cost_usd"] == pytest.approx(LISTED if model == UNKNOWN else COST)


def test_no_call_leaves_a_second_row_later(proxy: Proxy, log: Path) -> None:
    chat(proxy, "gpt-5", stream=False)
    proxy.stop()
    assert Counter(row["request_id"] for row in all_rows(log)).most_common(1)[0][1] == 1
