from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.records import Json
from tests.services.provider import Provider, answer, provider, rate_limit, tool_call

__all__ = ["provider"]  # fixture


def ask(api_base: str, model: str, **more: Json) -> Json:
    """The JSON that a model answers with, over plain HTTP."""
    return fetch(f"{api_base}/chat/completions", {"model": model, "messages": [], **more})


def fetch(url: str, body: Json = None) -> Json:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data)) as response:
        return json.loads(response.read())


def test_replies_come_in_order_and_the_last_one_again(provider: Provider) -> None:
    provider.script("m", answer("one"), answer("two"))
    texts = [ask(provider.api_base, "m")["choices"][0]["message"]["content"] for _ in range(3)]
    assert texts == ["one", "two", "two"]
    assert provider.models == ["m"] * 3


def test_a_model_without_a_script_answers_with_its_name(provider: Provider) -> None:
    assert ask(provider.api_base, "m")["choices"][0]["message"]["content"] == "answer from m"


def test_a_tool_call_is_an_answer(provider: Provider) -> None:
    provider.script("m", tool_call("add", a=1))
    choice = ask(provider.api_base, "m")["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}


def test_an_error_has_its_status_and_headers(provider: Provider) -> None:
    provider.script("m", rate_limit(retry_after=3))
    with pytest.raises(urllib.error.HTTPError, match="429") as caught:
        ask(provider.api_base, "m")
    assert caught.value.headers["Retry-After"] == "3"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[str]:
    """The address of a provider in a process of its own."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"m": [{"text": "one"}]}))
    command = [sys.executable, "-m", "tests.services.provider", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        yield started.stdout.readline().strip()
        started.terminate()


def test_a_process_of_its_own_takes_scripts_and_tells_what_it_received(process: str) -> None:
    root = process.removesuffix("/v1")
    assert ask(process, "m")["choices"][0]["message"]["content"] == "one"
    fetch(f"{root}/script", {"m": [{"text": "two"}]})
    assert ask(process, "m")["choices"][0]["message"]["content"] == "two"
    assert [request["model"] for request in fetch(f"{root}/requests")] == ["m", "m"]
