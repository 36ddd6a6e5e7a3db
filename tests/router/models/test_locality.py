from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.models import locality, model_list
from router.models.locality import DEFAULT_ADDRESSES, is_local, is_local_group, is_private
from router.records import Json
from router.settings.sections import ModelSettings

HOME = "http://192.168.1.20:8000/v1"
PUBLIC = "https://api.example.com/v1"


@pytest.mark.parametrize(
    ("called", "address", "local"),
    [
        pytest.param("ollama/llama3.1", None, True, id="ollama"),
        pytest.param("ollama_chat/qwen3:32b", None, True, id="ollama's chat"),
        pytest.param("llamafile/mistral", None, True, id="llamafile"),
        pytest.param("ollama/llama3.1", "http://localhost:11434", True, id="ollama at home"),
        pytest.param("ollama/llama3.1", PUBLIC, False, id="ollama elsewhere"),
        pytest.param("ollama/gpt-oss:120b-cloud", None, False, id="ollama's cloud"),
        pytest.param("ollama_chat/glm-4.6:cloud", None, False, id="ollama's cloud, the other form"),
        pytest.param("ollama/gpt-oss:120b-CLOUD", HOME, False, id="ollama's cloud, shouted"),
        pytest.param("openai/gpt-oss:120b-cloud", HOME, False, id="ollama's cloud by OpenAI's protocol"),
        pytest.param("lm_studio/qwen", None, False, id="LM Studio: without an address LiteLLM asks OpenAI"),
        pytest.param("hosted_vllm/qwen", None, False, id="vLLM: without an address LiteLLM asks OpenAI"),
        pytest.param("lm_studio/qwen", "http://127.0.0.1:1234/v1", True, id="LM Studio at its address"),
        pytest.param("hosted_vllm/qwen/qwen3-32b", HOME, True, id="vLLM at its address"),
        pytest.param("hosted_vllm/qwen", PUBLIC, False, id="vLLM rented elsewhere"),
        pytest.param("openai/our-own-model", HOME, True, id="an own server of OpenAI's protocol"),
        pytest.param("openai/our-own-model", PUBLIC, False, id="another's server of OpenAI's protocol"),
        pytest.param("house-model", HOME, True, id="an own model of no known provider"),
        pytest.param("house-model", None, False, id="a model that could be anywhere"),
        pytest.param("gpt-4o", None, False, id="a company's"),
        pytest.param("gpt-4o", HOME, False, id="a company's behind the team's gateway"),
        pytest.param("openai/gpt-4o", HOME, False, id="likewise, with its provider"),
        pytest.param("openai/claude-haiku-4-5", HOME, False, id="likewise, by another's protocol"),
        pytest.param("anthropic/some-new-model", HOME, False, id="a company's model that is not listed yet"),
        pytest.param("azure/our-deployment", HOME, False, id="a company's machine in the team's network"),
        pytest.param("litellm_proxy/anything", HOME, False, id="a proxy passes on"),
        pytest.param("Ollama/llama3", None, False, id="no provider of LiteLLM's"),
        pytest.param("", None, False, id="no name"),
    ],
)
def test_a_model_is_local_where_nothing_says_that_it_may_not_be(
    called: str, address: str | None, local: bool
) -> None:
    assert is_local(called, ModelSettings(api_base=address)) is local


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("called", ["gpt-4o", "ollama/llama3.1", "ollama/gpt-oss:120b-cloud"])
def test_the_setting_decides_before_anything_is_inferred(called: str, local: bool) -> None:
    assert is_local(called, ModelSettings(local=local, api_base=HOME)) is local


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://localhost:11434", id="localhost"),
        pytest.param("http://localhost./v1", id="localhost with its final dot"),
        pytest.param("HTTPS://LOCALHOST/v1", id="in capitals"),
        pytest.param("http://api.localhost:1/", id="below localhost"),
        pytest.param("http://127.0.0.1:8080/v1", id="loopback"),
        pytest.param("http://127.9.9.9", id="loopback's network"),
        pytest.param("http://[::1]:8080", id="loopback, version 6"),
        pytest.param("http://10.0.0.1", id="10"),
        pytest.param("http://172.31.255.1:80/x?y#z", id="172.16 to 172.31"),
        pytest.param("https://192.168.0.1", id="192.168"),
        pytest.param("http://169.254.1.1", id="link-local"),
        pytest.param("http://[fd00::1]", id="unique local"),
        pytest.param("http://[fe80::1]", id="link-local, version 6"),
        pytest.param("http://[::ffff:10.0.0.1]", id="version 4 in version 6"),
        pytest.param("http://user:password@10.0.0.1:80", id="with a login"),
        pytest.param("http://gpu.local:8000", id="of the local network"),
        pytest.param("http://vllm.models.svc.cluster.local", id="of a cluster"),
        pytest.param("http://llm.corp.internal", id="internal"),
        pytest.param("http://box.home.arpa", id="home"),
    ],
)
def test_loopback_and_private_addresses_are_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("https://api.openai.com/v1", id="a company's"),
        pytest.param("http://8.8.8.8", id="public"),
        pytest.param("http://172.32.0.1", id="just past 172.31"),
        pytest.param("http://192.169.0.1", id="just past 192.168"),
        pytest.param("http://11.0.0.1", id="just past 10"),
        pytest.param("http://100.64.0.1", id="a provider's network"),
        pytest.param("http://[2001:db8::1]", id="public, version 6"),
        pytest.param("http://[::ffff:8.8.8.8]", id="public version 4 in version 6"),
        pytest.param("http://127.0.0.1.example.com", id="a name that starts like an address"),
        pytest.param("http://localhost.example.com", id="a name that starts like localhost"),
        pytest.param("http://notlocalhost", id="a name that ends like localhost"),
        pytest.param("http://localhost@example.com", id="a login that looks like localhost"),
        pytest.param("http://example.com#@localhost", id="a fragment that looks like a host"),
        pytest.param("http://example.com?@localhost", id="a query that looks like a host"),
        pytest.param("http://example.com\\@localhost", id="a backslash, which programs read differently"),
        pytest.param("http://exa\tmple.com@localhost", id="a tab, which some programs leave out"),
        pytest.param("http://localhost\n.example.com", id="a line break"),
        pytest.param("http://\uff12\uff11\uff13", id="digits that are no ASCII"),
        pytest.param("http://2130706433", id="loopback as one number: not every program reads it so"),
        pytest.param("http://0x7f.1", id="loopback in hexadecimal"),
        pytest.param("http://127.1", id="loopback cut short"),
        pytest.param("http://vllm:8000", id="a name without a dot: who knows where it leads"),
        pytest.param("http://local", id="the bare suffix"),
        pytest.param("localhost:11434", id="no scheme"),
        pytest.param("ftp://localhost", id="another scheme"),
        pytest.param("file:///tmp", id="a file"),
        pytest.param("http://", id="no host"),
        pytest.param("http://[::1", id="a broken address"),
        pytest.param("http://[localhost]", id="a name in brackets"),
        pytest.param("", id="nothing"),
    ],
)
def test_any_other_address_is_not(address: str) -> None:
    assert not is_private(address)


@given(st.text(max_size=40))
def test_no_text_stops_the_check_of_an_address(text: str) -> None:
    assert is_private(f"http://{text}.example.com/") in (True, False)
    assert is_private(text) in (True, False)


@given(st.ip_addresses(v=4))
def test_no_public_address_is_taken_for_private(address: object) -> None:
    assert not is_private(f"http://{address}/") or getattr(address, "is_private", False)


def test_litellms_default_addresses_are_private() -> None:
    assert all(is_private(address) for address in DEFAULT_ADDRESSES.values())


@pytest.mark.parametrize(
    ("called", "local"),
    [
        pytest.param("hosted_vllm/qwen", True, id="a program's"),
        pytest.param("openai/gpt-4o", False, id="whose model it is can't be looked up"),
    ],
)
def test_without_the_list_only_a_program_at_a_private_address_is_local(
    monkeypatch: pytest.MonkeyPatch, called: str, local: bool
) -> None:
    monkeypatch.setattr(model_list, "price_list", dict)
    monkeypatch.setattr(locality, "listed_providers", frozenset)
    assert is_local(called, ModelSettings(api_base=HOME)) is local


def deployed(**params: Json) -> dict[str, Json]:
    return {"model_name": "group", "litellm_params": {"model": "ollama/llama3.1", **params}}


ELSEWHERE = "https://llm.example.com"


@pytest.mark.parametrize(
    ("deployments", "settings", "local"),
    [
        pytest.param([deployed(api_base=HOME)], {}, True, id="at home"),
        pytest.param([], {}, False, id="no deployment"),
        pytest.param([deployed(api_base=HOME), deployed(api_base=ELSEWHERE)], {}, False, id="one elsewhere"),
        pytest.param([deployed()], {}, False, id="where the environment says"),
        pytest.param([deployed(api_base=HOME, base_url=ELSEWHERE)], {}, False, id="two addresses"),
        pytest.param([deployed(api_base=HOME, custom_llm_provider="azure")], {}, False, id="a company's"),
        pytest.param([deployed(api_base=HOME, model="openai/gpt-4o")], {}, False, id="a gateway's"),
        pytest.param([deployed(api_base=HOME, model="gpt-4o")], {"local": True}, True, id="the team's word"),
        pytest.param([deployed(api_base=ELSEWHERE)], {"local": True}, False, id="a word against evidence"),
        pytest.param(
            [deployed(api_base=ELSEWHERE)], {"local": True, "api_base": ELSEWHERE}, True, id="a named address"
        ),
        pytest.param([deployed(api_base=HOME)], {"local": False}, False, id="not local by the settings"),
        pytest.param([deployed(api_base=HOME, litellm_credential_name="x")], {}, False, id="credentials"),
        pytest.param([{"model_name": "group"}], {}, False, id="not readable"),
        pytest.param([deployed(api_base=5)], {}, False, id="no address"),
    ],
)
def test_a_group_is_local_only_if_all_its_deployments_are(
    deployments: list[dict[str, Json]], settings: dict[str, Json], local: bool
) -> None:
    assert is_local_group(deployments, ModelSettings(**settings)) is local
