from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import uvicorn

from router.call_log.log import read_rows
from router.errors import ConfigError
from router.records import Json
from router.serving import feedback_app
from router.serving.feedback_app import FORM, MOST_BYTES, FeedbackApp
from tests.services.runtime_log import STORES, record, write_log
from tests.services.waiting import wait_until

KEY = "a-key-of-the-test-0123456789"
SECRET = "a text that nobody may see again"
WITH_KEY = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(params=STORES)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return write_log(tmp_path / request.param, record("a"), record("b"))


@pytest.fixture
def address(log: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the application alone."""
    monkeypatch.setattr(feedback_app, "ROW_S", 0.05)
    monkeypatch.setattr(feedback_app, "BODY_S", 0.5)
    settings = uvicorn.Config(FeedbackApp(log, key=KEY), host="127.0.0.1", port=0, log_level="warning")
    listening, server = settings.bind_socket(), uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(60)
    listening.close()


def post(address: str, feedback: Json, **headers: str) -> httpx.Response:
    body = feedback if isinstance(feedback, bytes) else json.dumps(feedback).encode()
    return httpx.post(address, content=body, headers=headers or WITH_KEY, timeout=60)


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.strip("/").rpartition("/")[2].partition(":")
    return host, int(port)


def outcomes(log: str) -> dict[str, tuple[Json, Json, Json]]:
    return {row["call_id"]: (row["success"], row["score"], row["outcome_source"]) for row in read_rows(log)}


def test_feedback_is_stored_and_the_last_to_arrive_counts(address: str, log: str) -> None:
    feedbacks: list[dict[str, Json]] = [
        {"call_id": "a", "success": True},
        {"call_id": "a", "success": True},
        {"call_id": "b", "score": 0.25, "source": "reviewer"},
        {"call_id": "a", "success": False, "score": 0.5},
    ]
    for feedback in feedbacks:
        answer = post(address, feedback)
        assert (answer.status_code, answer.json()) == (200, {"stored": True})
    assert outcomes(log) == {"a": (False, 0.5, "feedback"), "b": (None, 0.25, "reviewer")}


NO_KEYS = {
    "none": {"Accept": "*/*"},
    "empty": {"Authorization": ""},
    "another": {"Authorization": f"Bearer {KEY}x"},
    "a part": {"Authorization": f"Bearer {KEY[:-1]}"},
    "no scheme": {"Authorization": KEY},
    "another scheme": {"Authorization": f"Basic {KEY}"},
    "another case": {"Authorization": f"Bearer {KEY.upper()}"},
    "another header": {"X-Api-Key": KEY},
}


@pytest.mark.parametrize("headers", NO_KEYS.values(), ids=NO_KEYS)
def test_without_the_key_nothing_is_read_or_stored(address: str, log: str, headers: dict[str, str]) -> None:
    before = outcomes(log)
    for feedback in ({"call_id": "a", "success": False}, {"call_id": "missing", "success": False}, b"\xff"):
        answer = post(address, feedback, **headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["error"].endswith("Authorization: Bearer KEY")
    assert outcomes(log) == before


HOSTILE: dict[str, Json] = {
    "no body": b"",
    "no JSON": b"call_id=a&success=true",
    "bytes": b"\xff\xfe\x00",
    "a list": [{"call_id": "a", "success": True}],
    "null": None,
    "deep": b"[" * 8000,
    "a huge number": b'{"call_id": "a", "score": ' + b"9" * 8000 + b"}",
    "infinity": b'{"call_id": "a", "score": Infinity}',
    "nan": b'{"call_id": "a", "score": NaN}',
    "a score over 1": {"call_id": "a", "score": 1.5},
    "a score of true": {"call_id": "a", "score": True},
    "a success of text": {"call_id": "a", "success": SECRET},
    "neither": {"call_id": "a"},
    "no call": {"success": True},
    "a call of no text": {"call_id": ["a"], "success": True},
    "an empty call": {"call_id": "", "success": True},
    "a source of no text": {"call_id": "a", "success": True, "source": {"a": SECRET}},
    "a further member": {"call_id": "a", "success": True, SECRET: 1},
    "gzip": b"\x1f\x8b\x08\x00" + bytes(100),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_another_form_is_refused_in_one_sentence(address: str, log: str, body: Json) -> None:
    before = outcomes(log)
    answer = post(address, body)
    assert (answer.status_code, answer.json()) == (400, {"error": FORM})
    assert outcomes(log) == before


@pytest.mark.parametrize("call_id", [SECRET, "x" * 5000, "\ud800", "\0", "a' OR '1'='1"])
def test_an_unknown_call_is_refused_and_its_id_not_repeated(address: str, log: str, call_id: str) -> None:
    before = outcomes(log)
    answer = post(address, {"call_id": call_id, "success": True, "source": SECRET})
    assert (answer.status_code, answer.json()) == (404, {"error": "the log has no call of this call_id"})
    assert outcomes(log) == before


def test_an_odd_source_is_stored_as_the_log_can_hold_it(address: str, log: str) -> None:
    assert post(address, {"call_id": "a", "success": True, "source": "\ud800\0" + "x" * 9000}).is_success
    assert outcomes(log)["a"][0] is True


def test_a_long_body_is_refused_before_its_end(address: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(50_000):
            yield b" " * 4096
        pytest.fail("the server goes on reading")

    assert post(address, b" " * MOST_BYTES).status_code == 400
    assert post(address, b" " * (MOST_BYTES + 1)).status_code == 413
    for headers, status in ((WITH_KEY, 413), (NO_KEYS["another"], 401)):
        with suppress(httpx.TransportError):  # the server may hang up before the client has read its answer
            assert httpx.post(address, content=endless(), headers=headers, timeout=60).status_code == status
    assert post(address, {"call_id": "a", "success": True}).is_success


def test_a_body_that_does_not_come_is_not_waited_for(address: str) -> None:
    with socket.create_connection(host_and_port(address), timeout=60) as client:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 100\r\n\r\n{{"
        client.sendall(head.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_served(address: str, method: str) -> None:
    answer = httpx.request(method, address, headers=WITH_KEY, timeout=60)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_row_that_comes_a_moment_later_is_waited_for(
    address: str, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_app, "ROW_S", 1.0)
    threading.Timer(0.1, write_log, (log, record("late"))).start()
    assert post(address, {"call_id": "late", "success": True}).status_code == 200


@pytest.mark.parametrize("log", ["calls.db"], indirect=True)
def test_a_log_that_can_t_be_read_is_said_to_be_so_without_its_address(address: str, log: str) -> None:
    Path(log).write_bytes(b"no database" * 1000)
    answer = post(address, {"call_id": "a", "success": True})
    assert answer.status_code == 503
    assert answer.json()["error"].endswith("give the feedback again later")


@pytest.mark.parametrize("key", ["", "short", "x" * 15])
def test_a_short_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{len(key)} characters: choose a random one of 16 or more"):
        FeedbackApp("calls.db", key=key)
