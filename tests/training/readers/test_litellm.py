"""What a real LiteLLM proxy logged, read back and compared with what was sent to it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.errors import CallLogError
from router.records import Json
from tests.services.litellm_logs import callback_sink, fill_table, spend_rows, written_proxy
from tests.services.postgres import Postgres
from tests.services.provider import KEY, Provider, Reply
from tests.services.proxy import running_proxy
from tests.services.waiting import wait_until
from tests.training.logs import read, write_lines
from tests.training.readers.example_litellm import EXAMPLES
from training.reading.calls import CallFiles

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
LONG = "a long prompt " * 300
FORM = {"type": "json_object"}
TOO_LONG = {"message": "This model's maximum context length is 10 tokens", "code": "context_length_exceeded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """Both logs of the same requests.

    Attributes:
        rows: of the spend log, as LiteLLM was about to insert them.
        payloads: of the callback.
        bodies: of the callback's requests, as they were sent.
    """

    rows: list[dict[str, Json]]
    payloads: list[dict[str, Json]]
    bodies: list[bytes]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("litellm")
    with Provider() as provider, callback_sink() as (sink, bodies):
        config = written_proxy(folder, provider.api_base, KEY)
        with running_proxy(config, folder, {"GENERIC_LOGGER_ENDPOINT": sink}) as proxy:
            client = httpx.Client(
                base_url=proxy.address, headers={"Authorization": f"Bearer {proxy.key}"}, timeout=120
            )
            _send_all(client, provider)
            wait_until(lambda: len(_payloads(bodies)) >= 16 and len(spend_rows(folder)) >= 15)
        yield Logged(rows=spend_rows(folder), payloads=_payloads(bodies), bodies=bodies)


def _send_all(client: httpx.Client, provider: Provider) -> None:
    def ask(model: str, text: str, headers: Mapping[str, str] | None = None, **fields: Json) -> None:
        messages = [{"role": "user", "content": text}]
        body = {"model": model, "messages": messages, **fields}
        client.post("/chat/completions", json=body, headers=headers)

    provider.script("broken", Reply(status=500, body={"error": {"message": "boom"}}))
    said = {"spend_logs_metadata": {"task_type": "math", "success": True}, "tags": ["a", "b"]}
    ask("small", "plain", metadata=said)
    ask("small", "with tools", tools=TOOLS, response_format=FORM)
    ask("small", "streamed", stream=True)
    ask("broken", "falls back")
    ask("small", LONG)
    ask("smart", "hello there")
    ask("small", "secret", headers={"x-litellm-enable-message-redaction": "true"})
    for _ in range(2):
        ask("small", "cached", cache={"use-cache": True})
    provider.script("large", Reply(status=400, body={"error": TOO_LONG}))
    ask("large", "too long")
    provider.script("large", Reply(status=429, body={"error": {"message": "slow down"}}))
    ask("large", "limited")
    ask("nosuch", "no such model")
    client.post("/embeddings", json={"model": "small", "input": "embedded"})
    blocks = [{"role": "user", "content": [{"type": "text", "text": "in blocks"}]}]
    tool = {"name": "g", "input_schema": {"type": "object", "properties": {}}}
    spoken = {"model": "claude", "max_tokens": 50, "system": "Be brief.", "messages": blocks, "tools": [tool]}
    client.post("/messages", json=spoken)
    client.post("/responses", json={"model": "claude", "instructions": "Be brief.", "input": "in items"})


def _payloads(bodies: list[bytes]) -> list[dict[str, Json]]:
    return [payload for body in bodies for payload in json.loads(body)]


def calls_of(files: CallFiles) -> dict[str, dict[str, Json]]:
    """The calls by the text of the user's last message; of a long one by its beginning."""
    rows = [row for frame in files.frames() for row in frame.to_pylist()]
    return {f"{_last_text(row)[:20]}|{row['model']}": row for row in rows}


def _last_text(row: Mapping[str, Json]) -> str:
    content = json.loads(row["messages"])[-1]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


CALLS = {
    "plain|openai/small", "with tools|openai/small", "streamed|openai/small", "falls back|openai/large",
    f"{LONG[:20]}|openai/small", "hello there|openai/small", "cached|openai/small", "too long|openai/large",
    "limited|openai/large", "in blocks|anthropic/claude-haiku-4-5", "in items|anthropic/claude-haiku-4-5",
}  # fmt: skip
"""Calls of the spend log; the alias `smart` is none, and `broken` failed before its fallback answered."""
APART = {
    "redacted": 1, "cache hit": 1, "error of the caller or the proxy": 1, "no chat or completion": 1,
}  # fmt: skip


@pytest.fixture
def spend(logged: Logged, postgres: Postgres, tmp_path: Path) -> CallFiles:
    url = postgres.new_database(f"spend_{tmp_path.name}")
    fill_table(url, "LiteLLM_SpendLogs", logged.rows)
    return read(tmp_path / "spend", url)


@pytest.fixture
def callback(logged: Logged, tmp_path: Path) -> CallFiles:
    (tmp_path / "payloads.jsonl").write_text("".join(json.dumps(one) + "\n" for one in logged.payloads))
    return read(tmp_path / "callback", str(tmp_path / "payloads.jsonl"))


def test_every_request_is_a_call_of_the_spend_log_or_set_apart_by_reason(spend: CallFiles) -> None:
    assert (set(calls_of(spend)), spend.summary.set_apart) == (CALLS, APART)
    assert (spend.summary.rows, spend.summary.rejected, spend.summary.duplicates) == (15, 0, 0)


def test_every_attempt_is_a_payload_of_the_callback(callback: CallFiles) -> None:
    assert (set(calls_of(callback)), callback.summary.set_apart) == (
        {*CALLS, "falls back|openai/broken"},
        APART,
    )


def test_a_failed_attempt_and_its_fallback_share_session_and_prompt(callback: CallFiles) -> None:
    calls = calls_of(callback)
    failed, answered = calls["falls back|openai/broken"], calls["falls back|openai/large"]
    shared = ("session_id", "prompt_key")
    assert [failed[name] for name in shared] == [answered[name] for name in shared]


def test_only_the_text_in_the_database_is_cut(spend: CallFiles, callback: CallFiles) -> None:
    cut, whole = calls_of(spend), calls_of(callback)
    assert [name for name, row in cut.items() if row["truncated"]] == [f"{LONG[:20]}|openai/small"]
    assert _last_text(whole[f"{LONG[:20]}|openai/small"]) == LONG
    assert not any(row["truncated"] for row in whole.values())
    assert cut[f"{LONG[:20]}|openai/small"]["input_tokens"] == 10


@pytest.mark.parametrize("log", ["spend", "callback"])
def test_what_was_sent_is_what_is_read(log: str, request: pytest.FixtureRequest) -> None:
    calls = calls_of(request.getfixturevalue(log))
    with_tools = calls["with tools|openai/small"]
    assert (json.loads(with_tools["tools"]), json.loads(with_tools["response_format"])) == (TOOLS, FORM)
    plain = calls["plain|openai/small"]
    assert (plain["tags"], plain["task_type"]) == (["a", "b"], "math")
    assert (plain["success"], plain["outcome_source"]) == (True, "feedback")
    assert (plain["input_tokens"], plain["output_tokens"]) == (10, 3)
    assert plain["cost_usd"] == pytest.approx(10 * 1e-6 + 3 * 2e-6)
    assert 0 <= plain["latency_s"] < 60
    assert plain["time"] is not None


@pytest.mark.parametrize("log", ["spend", "callback"])
def test_an_error_is_a_failure_where_it_says_something_of_the_model(
    log: str, request: pytest.FixtureRequest
) -> None:
    calls = calls_of(request.getfixturevalue(log))
    found = {
        name: (calls[f"{name}|openai/large"]["success"], calls[f"{name}|openai/large"]["outcome_source"])
        for name in ("too long", "limited", "falls back")
    }
    assert found == {"too long": (False, "error"), "limited": (None, "error"), "falls back": (None, None)}


def test_other_protocols_are_read_as_chat(spend: CallFiles) -> None:
    calls = calls_of(spend)
    for name in ("in blocks", "in items"):
        messages = json.loads(calls[f"{name}|anthropic/claude-haiku-4-5"]["messages"])
        assert messages[0] == {"role": "system", "content": "Be brief."}
    tools = json.loads(calls["in blocks|anthropic/claude-haiku-4-5"]["tools"])
    assert tools[0]["function"]["name"] == "g"


@pytest.mark.parametrize("layout", ["array", "lines", "one object a file", "pretty", "csv"])
def test_every_layout_holds_the_same_calls(logged: Logged, tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    rows = logged.rows
    if layout == "array":
        (folder / "a.json").write_text(json.dumps(rows))
    elif layout == "lines":
        (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    elif layout == "pretty":
        (folder / "a.json").write_text("\n".join(json.dumps(row, indent=2) for row in rows))
    elif layout == "csv":
        with (folder / "a.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        for number, row in enumerate(rows):
            (folder / f"{number:02}.json").write_text(json.dumps(row))
    files = read(tmp_path, str(folder))
    assert (set(calls_of(files)), files.summary.set_apart) == (CALLS, APART)


def test_the_bodies_of_the_callback_are_read_as_they_were_posted(logged: Logged, tmp_path: Path) -> None:
    folder = tmp_path / "posted"
    folder.mkdir()
    for number, body in enumerate(logged.bodies):
        (folder / f"{number}.json").write_bytes(body)
    files = read(tmp_path, str(folder))
    assert set(files.summary.readers) == {"litellm-callback"}
    assert set(calls_of(files)) == {*CALLS, "falls back|openai/broken"}


def test_a_spend_log_without_the_models_is_rejected_and_says_what_to_do(tmp_path: Path) -> None:
    rows = EXAMPLES["litellm-spend"]
    nameless = [{name: value for name, value in row.items() if name != "model"} for row in rows]
    with pytest.raises(CallLogError, match=r"2 x model is missing .*: export the column 'model', too"):
        read(tmp_path, write_lines(tmp_path / "spend.jsonl", *nameless))


def test_a_request_that_failed_before_a_model_was_chosen_is_set_apart(tmp_path: Path) -> None:
    row, failed = EXAMPLES["litellm-spend"]
    files = read(tmp_path, write_lines(tmp_path / "spend.jsonl", row, {**failed, "model": ""}))
    assert (files.summary.calls, files.summary.set_apart) == (1, {"failed before a model was chosen": 1})


@pytest.mark.parametrize(
    ("verdict", "real", "shadow"),
    [
        pytest.param("real", True, False, id="the real answer won"),
        pytest.param("shadow", False, True, id="the shadow won"),
        pytest.param("tie", True, True, id="a tie"),
    ],
)
def test_a_judged_request_is_two_calls_of_one_prompt(
    logged: Logged, postgres: Postgres, tmp_path: Path, verdict: str, real: bool, shadow: bool
) -> None:
    row = next(row for row in logged.rows if "streamed" in row["proxy_server_request"])
    attempt = {
        "id": "attempt-1", "job_id": "j", "request_id": row["request_id"], "outcome": verdict,
        "real_model": row["model"], "shadow_model": "openai/large", "shadow_cost": 0.25, "judge_cost": 0.01,
    }  # fmt: skip
    url = postgres.new_database(f"shadow_{verdict}")
    fill_table(url, "LiteLLM_SpendLogs", logged.rows)
    fill_table(url, "LiteLLM_ShadowEvalAttempt", [attempt])
    files = read(tmp_path, url)
    calls = calls_of(files)
    told = [calls["streamed|openai/small"], calls["streamed|openai/large"]]
    assert [call["success"] for call in told] == [real, shadow]
    assert {call["outcome_source"] for call in told} == {"shadow-evaluation"}
    assert told[0]["prompt_key"] == told[1]["prompt_key"]
    assert told[1]["cost_usd"] == 0.25
    assert (files.summary.rows, set(files.summary.readers)) == (16, {"litellm-shadow"})


ROW, _ = EXAMPLES["litellm-spend"]
PAYLOAD = EXAMPLES["litellm-callback"][0]


def spend_call(tmp_path: Path, **fields: Json) -> dict[str, Json]:
    """The one call of a row of the spend log with these fields."""
    files = read(tmp_path, write_lines(tmp_path / "spend.jsonl", {**ROW, **fields}))
    [call] = [row for frame in files.frames() for row in frame.to_pylist()]
    return dict(call)


@pytest.mark.parametrize("format", ["auto", "litellm-spend"])
def test_a_page_of_the_spend_log_holds_its_rows(tmp_path: Path, format: str) -> None:
    page = {"data": [ROW, {**ROW, "request_id": "r2"}], "total": 2, "page": 1, "total_pages": 1}
    (tmp_path / "page.json").write_text(json.dumps(page, indent=1), encoding="utf-8")
    summary = read(tmp_path, str(tmp_path / "page.json"), format=format).summary
    assert (dict(summary.readers), summary.rows, summary.calls) == ({"litellm-spend": 1}, 2, 2)


def test_the_spend_log_in_parquet_may_have_many_row_groups(tmp_path: Path) -> None:
    rows = [{**ROW, "request_id": f"r{number}"} for number in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "spend.parquet", row_group_size=2)
    assert read(tmp_path, str(tmp_path / "spend.parquet")).summary.calls == 4


def test_sums_of_a_day_are_no_calls_and_say_where_the_calls_are(tmp_path: Path) -> None:
    day = {"startTime": "2026-01-01", "spend": 1.5, "users": {}, "models": {"small": 1.5}}
    with pytest.raises(CallLogError, match=r"read /spend/logs/v2"):
        read(tmp_path, write_lines(tmp_path / "days.jsonl", day))


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        pytest.param("failure", "ContextWindowExceededError", (False, "error", None), id="the model's"),
        pytest.param("failure", "RateLimitError", (None, "error", None), id="nobody's"),
        pytest.param(None, "Timeout", (None, "error", None), id="an error without a status"),
        pytest.param("success", None, (None, None, 0.001), id="an answer"),
        pytest.param(None, None, (None, None, 0.001), id="an answer without a status"),
    ],
)
def test_rows_without_the_column_status_say_it_in_their_metadata(
    tmp_path: Path, status: str | None, error: str | None, outcome: tuple[Json, ...]
) -> None:
    metadata = {"status": status, "error_information": {"error_class": error}}
    call = spend_call(tmp_path, status=None, metadata=metadata, spend=0 if error else 0.001)
    assert (call["success"], call["outcome_source"], call["cost_usd"]) == outcome


@pytest.mark.parametrize(
    ("model", "about", "cost"),
    [
        pytest.param("no-such-model", {}, None, id="not listed"),
        pytest.param("gpt-4o", {}, None, id="listed with a price"),
        pytest.param("gpt-4o", {"model_map_value": None}, None, id="no price known to the proxy"),
        pytest.param(
            "own", {"model_map_value": {"input_cost_per_token": 1e-6}}, None, id="a price in the map"
        ),
        pytest.param(
            "own",
            {"model_map_value": {"input_cost_per_token": 0, "output_cost_per_token": 0}},
            0.0,
            id="free by the map",
        ),
        pytest.param("ollama/llama3.1", {}, 0.0, id="free by the list"),
    ],
)
def test_a_spend_of_zero_is_unknown_unless_the_price_is_zero(
    tmp_path: Path, model: str, about: Json, cost: float | None
) -> None:
    metadata = {"status": "success", "model_map_information": about} if about else {"status": "success"}
    fields = {"model": model, "custom_llm_provider": None, "spend": 0.0, "metadata": metadata}
    assert spend_call(tmp_path, **fields)["cost_usd"] == cost


def test_a_cost_that_is_not_final_is_unknown(tmp_path: Path) -> None:
    assert spend_call(tmp_path, metadata={"cost_finalized": False})["cost_usd"] is None
    assert spend_call(tmp_path, metadata={"cost_finalized": True})["cost_usd"] == 0.001


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param("2026-01-01T00:00:00Z", "2026-01-01T00:00:01.5Z", id="ISO"),
        pytest.param(1767225600.0, 1767225601.5, id="seconds"),
        pytest.param(1767225600000, 1767225601500, id="milliseconds"),
        pytest.param("2026-01-01 00:00:00+00:00", 1767225601.5, id="of two forms"),
    ],
)
def test_latency_is_the_time_from_start_to_end(tmp_path: Path, start: Json, end: Json) -> None:
    call = spend_call(tmp_path, startTime=start, endTime=end, request_duration_ms=None)
    assert call["latency_s"] == pytest.approx(1.5)


def test_mirrored_traffic_is_a_shadow_call_that_nobody_was_served(tmp_path: Path) -> None:
    silent = {**PAYLOAD, "id": "s", "metadata": {**PAYLOAD["metadata"], "is_silent_experiment": True}}
    summary = read(tmp_path, write_lines(tmp_path / "payloads.jsonl", PAYLOAD, silent)).summary
    assert (summary.calls, summary.set_apart) == (1, {"shadow call of a silent experiment: never served": 1})


def test_a_payload_of_2024_is_read_with_cost_tokens_and_time(tmp_path: Path) -> None:
    later = ("trace_id", "status", "custom_llm_provider", "call_type")
    old = {name: value for name, value in PAYLOAD.items() if name not in later}
    files = read(tmp_path, write_lines(tmp_path / "payloads.jsonl", old))
    [call] = [row for frame in files.frames() for row in frame.to_pylist()]
    assert dict(files.summary.readers) == {"litellm-callback": 1}
    assert None not in [call[name] for name in ("cost_usd", "input_tokens", "latency_s", "time")]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"role": "user", "parts": [{"text": "Hi"}]}], id="contents"),
        pytest.param({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}, id="a body"),
        pytest.param(
            [{"role": "user", "content": '{"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}'}],
            id="a body in the one message of a pass-through endpoint",
        ),
    ],
)
def test_gemini_s_requests_are_read_as_chat(tmp_path: Path, messages: Json) -> None:
    payload = {**PAYLOAD, "call_type": "pass_through_endpoint", "messages": messages}
    files = read(tmp_path, write_lines(tmp_path / "payloads.jsonl", payload))
    [call] = [row for frame in files.frames() for row in frame.to_pylist()]
    assert json.loads(call["messages"]) == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("messages", [[{"role": "user", "content": [[9906, 1917]]}], [[9906, 1917]], [9906]])
def test_token_numbers_are_set_apart(tmp_path: Path, messages: Json) -> None:
    tokens = {**PAYLOAD, "id": "t", "call_type": "atext_completion", "messages": messages}
    summary = read(tmp_path, write_lines(tmp_path / "payloads.jsonl", PAYLOAD, tokens)).summary
    assert (summary.calls, summary.set_apart) == (1, {"prompt without text, image or tool call": 1})


def test_several_prompts_of_one_text_completion_are_set_apart(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": ["one", "two"]}]
    several = {**PAYLOAD, "id": "t", "call_type": "atext_completion", "messages": messages}
    summary = read(tmp_path, write_lines(tmp_path / "payloads.jsonl", PAYLOAD, several)).summary
    assert (summary.calls, summary.set_apart) == (1, {"several prompts in one call": 1})


def test_a_kind_of_call_that_nobody_knows_is_a_call_and_what_is_no_chat_is_not(tmp_path: Path) -> None:
    kinds = ("achat_completions_v3", "", "aembedding", "aget_responses", "arun_thread", "afile_list")
    payloads = [{**PAYLOAD, "id": kind or "none", "call_type": kind} for kind in kinds]
    files = read(tmp_path, write_lines(tmp_path / "payloads.jsonl", *payloads))
    assert (files.summary.calls, files.summary.set_apart) == (2, {"no chat or completion": 4})


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        pytest.param({"error_code": 401, "error_class": ""}, (0, 1), id="the caller's, by a number"),
        pytest.param({"error_code": 503}, (1, 0), id="nobody's, by a number"),
    ],
)
def test_a_failure_is_known_in_any_letters_by_its_status(
    tmp_path: Path, error: Json, summary: tuple[int, int]
) -> None:
    failed = {**PAYLOAD, "id": "f", "status": "FAILURE", "error_information": error}
    found = read(tmp_path, write_lines(tmp_path / "payloads.jsonl", PAYLOAD, failed)).summary
    assert (found.calls - 1, found.set_apart.get("error of the caller or the proxy", 0)) == summary


@pytest.mark.parametrize("missing", ["request_id", "status", "cache_hit", "metadata", "startTime", "spend"])
def test_a_row_is_a_call_without_what_a_call_does_not_need(tmp_path: Path, missing: str) -> None:
    row = {name: value for name, value in ROW.items() if name != missing}
    files = read(tmp_path, write_lines(tmp_path / "spend.jsonl", row), format="litellm-spend")
    assert (files.summary.calls, files.summary.rejected) == (1, 0)


def test_the_body_within_a_whole_request_is_read(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "2 + 2?"}]}
    request = {"url": "http://localhost/chat/completions", "method": "POST", "headers": {}, "body": body}
    call = spend_call(tmp_path, proxy_server_request=request)
    assert json.loads(str(call["messages"])) == body["messages"]


def test_a_status_tells_the_callers_errors_where_no_class_does(tmp_path: Path) -> None:
    failed = {
        "status": "failure",
        "metadata": {"error_information": {"error_class": "", "error_code": "401"}},
    }
    files = read(tmp_path, write_lines(tmp_path / "spend.jsonl", ROW, {**ROW, "request_id": "2", **failed}))
    assert files.summary.set_apart == {"error of the caller or the proxy": 1}
