"""How fast and in how much memory logs of the three commonest formats are imported, as JSON lines."""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.measuring import Figure, figure, in_fresh_process, machine, peak_memory, show

MODULE = "benchmarks.reading"
ROWS = 1_000_000
SECONDS, MEGABYTES = 120.0, 2_000.0
"""Targets for a million rows, about two GB of them, on two cores."""
WORDS = (
    "please the order parcel why how much invoice code function error when list of in python for customer a "
    "to is translate summary text answer with email subject date price delivery account table query"
).split()
MODELS = ("openai/gpt-4o", "openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5", "ollama/llama3.1")


def payloads(count: int, seed: int = 0) -> Iterator[bytes]:
    """Lines as LiteLLM writes them, about 2 KB each; one in twenty is a failure, a cache hit or internal.

    The members are those of a real proxy's payloads; of the price map only the first few prices are kept.
    """
    draw = random.Random(seed)
    for number in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(5, 60)))
        odd = draw.random()
        failed = odd < 0.02
        yield json.dumps(_payload(number, text, draw.choice(MODELS), failed=failed, odd=odd)).encode() + b"\n"


def _payload(number: int, text: str, model: str, *, failed: bool, odd: float) -> dict[str, object]:
    call, start = f"{number:032x}", 1_790_000_000 + number * 0.05
    answer = {"role": "assistant", "content": text[::-1], "tool_calls": None, "function_call": None}
    usage = {"prompt_tokens": len(text) // 4, "completion_tokens": 40, "total_tokens": len(text) // 4 + 40}
    error = (
        {"error_code": "429", "error_class": "RateLimitError", "llm_provider": "openai"} if failed else None
    )
    internal = "autorouter_classifier" if 0.02 <= odd < 0.03 else None
    system = {"role": "system", "content": "You answer customers of a shop, briefly and in their language."}
    metadata: dict[str, object] = {
        "user_api_key_hash": call, "user_api_key_alias": "shop", "user_api_key_team_id": "team-1",
        "spend_logs_metadata": {"task_type": "support"}, "requester_ip_address": "10.0.0.1",
        "internal_call_origin": internal, "usage_object": usage, "applied_guardrails": [],
    }  # fmt: skip
    choices = [{"finish_reason": "stop", "index": 0, "message": answer}]
    response = {"id": call, "object": "chat.completion", "model": model, "usage": usage, "choices": choices}
    return {
        "id": f"chatcmpl-{call}", "trace_id": f"trace-{number // 3}", "session_id": "",
        "litellm_call_id": call, "call_type": "acompletion", "stream": False, "cache_hit": 0.03 <= odd < 0.05,
        "status": "failure" if failed else "success", "custom_llm_provider": model.partition("/")[0],
        "startTime": start, "endTime": start + 1.25, "completionStartTime": start + 0.4,
        "response_time": 1.25, "model": model, "model_group": model.rpartition("/")[2], "model_id": call,
        "response_cost": 0.00021, "metadata": metadata, **usage,
        "request_tags": ["shop", "User-Agent: openai"], "end_user": "", "api_base": "https://api",
        "messages": [system, {"role": "user", "content": text}],
        "response": response, "error_str": None, "error_information": error,
        "model_parameters": {"stream": False, "temperature": 0.2},
        "hidden_params": {"model_id": call, "cache_key": None, "api_base": "https://api"},
        "model_map_information": {"model_map_key": model, "model_map_value": {"input_cost_per_token": 1e-6}},
        "guardrail_information": None, "saved_cache_cost": 0.0,
    }  # fmt: skip


def generations(count: int, seed: int = 0) -> Iterator[bytes]:
    """Lines of Langfuse's export of observations: in each trace a span, a generation and a tool's."""
    draw = random.Random(seed)
    for number in range(count):
        trace, kind = f"{number // 3:032x}", ("SPAN", "GENERATION", "TOOL")[number % 3]
        yield json.dumps(_observation(draw, number, trace, kind)).encode() + b"\n"


def _observation(draw: random.Random, number: int, trace: str, kind: str) -> dict[str, object]:
    text = " ".join(draw.choices(WORDS, k=draw.randint(5, 60)))
    day, clock = 1 + number // 100_000, (number // 3600 % 24, number // 60 % 60, number % 60)
    second = f"2026-10-{day:02d} {clock[0]:02d}:{clock[1]:02d}:{clock[2]:02d}"
    prompt, tokens = [_SYSTEM, {"role": "user", "content": text}], len(text) // 4
    called = kind == "GENERATION"
    return {
        "id": f"{number:016x}", "trace_id": trace, "project_id": "shop", "environment": "production",
        "type": kind, "parent_observation_id": None if kind == "SPAN" else f"{number - number % 3:016x}",
        "start_time": f"{second}.100000", "end_time": f"{second}.900000", "name": "answer",
        "metadata": {"task_type": "support", "resourceAttributes": {"service.name": "shop"}},
        "level": "DEFAULT", "status_message": "", "version": "", "input": json.dumps(prompt),
        "output": json.dumps({"role": "assistant", "content": text[::-1]}),
        "provided_model_name": draw.choice(MODELS).rpartition("/")[2] if called else None,
        "model_parameters": '{"temperature":0.2}' if called else "{}",
        "usage_details": {"input": tokens, "output": 40, "total": tokens + 40} if called else {},
        "cost_details": {"input": 0.0001, "output": 0.0002, "total": 0.0003} if called else {},
        "completion_start_time": None, "prompt_name": "", "prompt_version": None,
        "total_cost": 0.0003 if called else 0, "latency": 0.8, "time_to_first_token": None, "model_id": "m",
        "created_at": f"{second}.000000", "updated_at": f"{second}.000000", "prompt_id": "", "tool_calls": [],
        "tool_call_names": [], "tool_definitions": {}, "user_id": f"u{number % 977}",
        "session_id": f"s{trace[-6:]}", "trace_name": "chat", "tags": ["web"], "release": "",
        "bookmarked": False, "public": False,
    }  # fmt: skip


_SYSTEM = {"role": "system", "content": "You answer customers of a shop, briefly and in their language."}
_SPANS_EACH = 8


def spans(count: int, seed: int = 0) -> Iterator[bytes]:
    """Lines of a collector's file: requests of eight spans, in each trace an agent, two calls and a tool."""
    draw = random.Random(seed)
    resource_ = {"attributes": [_attribute("service.name", "shop")]}
    for first in range(0, count, _SPANS_EACH):
        several = [_span(draw, number) for number in range(first, min(first + _SPANS_EACH, count))]
        scope = {"scope": {"name": "instrumentation", "version": "1"}, "spans": several}
        yield json.dumps({"resourceSpans": [{"resource": resource_, "scopeSpans": [scope]}]}).encode() + b"\n"


def _span(draw: random.Random, number: int) -> dict[str, object]:
    start = 1_790_000_000_000_000_000 + number * 50_000_000
    operation = ("invoke_agent", "chat", "execute_tool", "chat")[number % 4]
    provider, _, model = draw.choice(MODELS).partition("/")
    said: dict[str, object] = {
        "gen_ai.operation.name": operation,
        "gen_ai.agent.name": "shop",
    }
    if operation == "chat":
        text = " ".join(draw.choices(WORDS, k=draw.randint(5, 60)))
        said |= {
            "gen_ai.provider.name": provider, "gen_ai.request.model": model, "gen_ai.response.model": model,
            "gen_ai.response.id": f"chatcmpl-{number:x}",
            "gen_ai.request.temperature": 0.2, "gen_ai.usage.input_tokens": len(text) // 4,
            "gen_ai.usage.output_tokens": 40, "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.conversation.id": f"c{number // 12}",
            "gen_ai.system_instructions": json.dumps([{"type": "text", "content": _SYSTEM["content"]}]),
            "gen_ai.input.messages": json.dumps([_parts("user", text)]),
            "gen_ai.output.messages": json.dumps([_parts("assistant", text[::-1])]),
        }  # fmt: skip
    return {
        "traceId": f"{number // 4:032x}", "spanId": f"{number:016x}", "name": operation, "kind": 3,
        "parentSpanId": f"{number - number % 4:016x}" if number % 4 else "",
        "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 1_250_000_000),
        "status": {"code": 1}, "events": [], "attributes": [_attribute(*one) for one in said.items()],
    }  # fmt: skip


def _parts(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _attribute(name: str, value: object) -> dict[str, object]:
    if isinstance(value, list):
        return {"key": name, "value": {"arrayValue": {"values": [{"stringValue": one} for one in value]}}}
    kind = {str: "stringValue", int: "intValue", float: "doubleValue"}[type(value)]
    return {"key": name, "value": {kind: str(value) if type(value) is int else value}}


LOGS: Mapping[str, Callable[[int], Iterator[bytes]]] = {
    "litellm": payloads, "langfuse": generations, "otel": spans,
}  # fmt: skip


def write(path: Path, lines: Iterator[bytes]) -> int:
    """Write the lines, and return their size in bytes."""
    with path.open("wb") as stream:
        stream.writelines(lines)
    return path.stat().st_size


def imported(path: str, out: str) -> dict[str, float]:
    """Seconds, processor time and most memory of importing one file into the canonical log; its result."""
    from router.settings.yaml_file import load_config
    from training.pipeline import import_log
    from training.progress import Silent
    from training.prompts.from_logs import ReadOptions

    reading = ReadOptions(
        mapping={}, rejects=Path(out).with_suffix(".rejects"), config=load_config(None), cache=Path(out)
    )
    began, before = time.perf_counter(), _processor_seconds()
    summary = import_log([path], Path(out), reading, Silent())
    seconds, busy = time.perf_counter() - began, _processor_seconds() - before
    return {
        "seconds": seconds, "processor": busy, "megabytes": peak_memory(), "calls": summary.calls,
        "set_apart": sum(summary.set_apart.values()),
    }  # fmt: skip


def _processor_seconds() -> float:
    """Seconds of processors that this process and those it waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def figures(name: str, count: int, repeats: int) -> list[Figure]:
    """Time and memory of importing so many rows of a format; the targets are those of a million."""
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder:
        log = Path(folder, f"{name}.jsonl")
        size = write(log, LOGS[name](count))
        runs = [
            in_fresh_process(MODULE, "imported", str(log), f"{folder}/calls.parquet") for _ in range(repeats)
        ]
    title = f"{name}: {count} rows, {size / 1e9:.2f} GB"
    share = count / ROWS
    return [
        figure(f"{title}: time", "s", [run["seconds"] for run in runs], SECONDS * share),
        figure(f"{title}: processor time", "s", [run["processor"] for run in runs]),
        figure(f"{title}: most memory", "MB", [run["megabytes"] for run in runs], MEGABYTES),
    ]


PARTS = {"imported": imported}


def main() -> None:
    """Run one part and print what it returns, or all of them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="of each format")
    parser.add_argument("--format", choices=LOGS, action="append", help="only this one; may be repeated")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    names = options.format or LOGS
    show(machine(), [one for name in names for one in figures(name, options.rows, options.repeats)])


if __name__ == "__main__":
    main()
