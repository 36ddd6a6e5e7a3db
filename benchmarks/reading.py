"""How fast and in how much memory foreign logs are imported: LiteLLM's callback payloads as JSON lines."""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Figure, figure, in_fresh_process, machine, peak_memory, show

MODULE = "benchmarks.reading"
PAYLOADS = 1_000_000
SECONDS, MEGABYTES = 120.0, 2_000.0
"""Targets for a million payloads, two GB of them, on two cores."""
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


def write(path: Path, count: int) -> int:
    """Write so many payloads, and return their size in bytes."""
    with path.open("wb") as stream:
        stream.writelines(payloads(count))
    return path.stat().st_size


def imported(path: str, out: str) -> dict[str, float]:
    """Seconds and most memory of an import of one file into the canonical log, and its result."""
    from router.settings.yaml_file import load_config
    from training.pipeline import import_log
    from training.progress import Silent
    from training.prompts.from_logs import ReadOptions

    reading = ReadOptions(
        mapping={}, rejects=Path(out).with_suffix(".rejects"), config=load_config(None), cache=Path(out)
    )
    began = time.perf_counter()
    summary = import_log([path], Path(out), reading, Silent())
    seconds = time.perf_counter() - began
    apart = sum(summary.set_apart.values())
    return {"seconds": seconds, "megabytes": peak_memory(), "calls": summary.calls, "set_apart": apart}


def figures(count: int, repeats: int) -> list[Figure]:
    """Time and memory of importing so many payloads; the targets are those of a million."""
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder:
        log = Path(folder, "payloads.jsonl")
        size = write(log, count)
        runs = [
            in_fresh_process(MODULE, "imported", str(log), f"{folder}/calls.parquet") for _ in range(repeats)
        ]
    name = f"{count} payloads, {size / 1e9:.2f} GB"
    share = count / PAYLOADS
    return [
        figure(f"{name}: time", "s", [run["seconds"] for run in runs], SECONDS * share),
        figure(f"{name}: most memory", "MB", [run["megabytes"] for run in runs], MEGABYTES),
    ]


PARTS = {"imported": imported}


def main() -> None:
    """Run one part and print what it returns, or all of them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=PAYLOADS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    show(machine(), figures(options.payloads, options.repeats))


if __name__ == "__main__":
    main()
