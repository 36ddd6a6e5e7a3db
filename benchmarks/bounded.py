"""How long the dearest requests take to decide on, beside one of 3,000 tokens."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.measuring import in_fresh_process, machine, stay_on_one_core
from benchmarks.speed import trained

MODULE = "benchmarks.bounded"
USUAL = "3,000 tokens"
MOST_RATIO = 10.0
"""The highest 99th percentile that the project aims at, in medians of the usual request."""
TURNS = 40
WORDS = "Read the message of our customer and answer it politely: my parcel has not arrived yet. "
MB = 1_000_000


def user(text: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a text or parts
    """One user turn."""
    return [{"role": "user", "content": text}]


def tool(name: str, properties: Mapping[str, Any], text: str = WORDS) -> dict[str, Any]:
    """A tool's definition."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": text, "parameters": parameters}}


def nested(depth: int, value: Any = 1) -> Any:  # noqa: ANN401 - JSON
    """Objects inside each other."""
    for _ in range(depth):
        value = {"properties": value}
    return value


def requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """The usual request, then the dear ones, by name: the arguments of `Router.route`."""
    yield USUAL, {"prompt": user(WORDS * 140)}
    text = {"type": "string", "description": "one of the values"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBOR" * MB}}
    alphabets = "".join(chr(code) for start in (0x4E00, 0x600, 0x900) for code in range(start, start + 200))
    prompts = {
        "5 MB of words": user(WORDS * (5 * MB // len(WORDS))),
        "20 MB of words": user(WORDS * (20 * MB // len(WORDS))),
        "5 MB without a break": user("a" * 5 * MB),
        "20 MB of digits": user("7" * 20 * MB),
        "8,000 punctuation marks": user("?!" * 4_000),
        "20 MB of line ends": user("\n" * 20 * MB),
        "100,000 emoji": user("\N{GRINNING FACE}" * 100_000),
        "20 MB of other alphabets": user(alphabets * (20 * MB // 3 // len(alphabets))),
        "1 MB of distinct words": user(" ".join(f"w{n:x}" for n in range(MB // 6))),
        "5,000 messages": user(WORDS) * 5_000,
        "25,000 messages": user("x") * 25_000,
        "200,000 messages": user("x") * 200_000,
        "1 MB in 125 system messages": [{"role": "system", "content": WORDS * 90}] * 125 + user("hi"),
        "20,000 system messages": [{"role": "system", "content": WORDS * 2}] * 20_000 + user("hi"),
        "20 MB in 2,000 parts": user([{"type": "text", "text": WORDS * 115}] * 2_000),
        "4,900 parts": user([{"type": "text", "text": "x"}] * 4_900),
        "400,000 parts": user([{"type": "text", "text": "x"}] * 400_000),
        "20 MB of tool results": [*user("hi"), {"role": "tool", "content": WORDS * (20 * MB // len(WORDS))}],
        "three images of 5 MB": user([{"type": "text", "text": "What is this?"}, image, image, image]),
        "5 MB of data:a/aaaa": user("data:a/" + "a" * 5 * MB),
    }
    for name, messages in prompts.items():
        yield name, {"prompt": messages}
    tools = {
        "1,000 tools": [tool(f"t{n}", {"a": text}, WORDS * 10) for n in range(1_000)],
        "12,000 tools": [tool(f"t{n}", {}, "x") for n in range(12_000)],
        "one tool with 30,000 properties": [tool("t", {f"p{n}": text for n in range(30_000)})],
        "a schema of 4 million numbers": [tool("t", {"p": {"enum": [1] * 4 * MB}})],
        "a tool description of 20 MB": [tool("t", {}, WORDS * (20 * MB // len(WORDS)))],
        "a tool nested 200 deep": [tool("t", nested(200))],
        "2,000 tools nested 30 deep": [tool(f"t{n}", nested(30)) for n in range(2_000)],
    }
    for name, defined in tools.items():
        yield name, {"prompt": "hi", "tools": defined}
    yield "20 MB of parameters", {"prompt": "hi", "parameters": {"metadata": [{"a": 1}] * MB}}
    yield "100,000 tags", {"prompt": "hi", "tags": ["tag"] * 100_000}
    yield "a task type of 20 MB", {"prompt": "hi", "task_type": "t" * 20 * MB}
    yield "a session of 20 MB", {"prompt": "hi", "session_id": "s" * 20 * MB}


def timed(router: str, clock: str) -> dict[str, list[float]]:
    """Milliseconds of each decision on each request, the usual one's turns spread among the others'.

    Args:
        clock: name of a function of `time`, in seconds.
    """
    from router import Router
    from router.errors import RouterError

    stay_on_one_core()
    now: Callable[[], float] = getattr(time, clock)
    loaded = Router.load(router)
    usual: dict[str, Any] = {}

    def once(fields: Mapping[str, Any]) -> float:
        began = now()
        with suppress(RouterError):  # a refusal is an answer, too
            loaded.route(**fields)
        return 1e3 * (now() - began)

    spent: dict[str, list[float]] = {}
    for name, fields in requests():
        usual = usual or fields
        gc.collect()
        gc.freeze()  # the rounds of the collector through what the benchmark holds are not the router's
        for _ in range(3):
            once(fields)
        spent[name] = []
        for _ in range(TURNS):
            spent[name].append(once(fields))
            spent[USUAL].append(once(usual))
    return spent


PARTS: Mapping[str, Callable[..., Any]] = {"timed": timed}


def table(spent: Mapping[str, list[float]]) -> str:
    """Median, 99th percentile and the latter in medians of the usual request, as Markdown."""
    usual = sorted(spent[USUAL])[len(spent[USUAL]) // 2]
    lines = ["| request | median ms | p99 ms | p99 / usual median | |", "|---|---|---|---|---|"]
    for name, values in spent.items():
        ordered = sorted(values)
        median, high = ordered[len(ordered) // 2], ordered[-1 - len(ordered) // 100]
        over = "over" if high > MOST_RATIO * usual else ""
        lines.append(f"| {name} | {median:.1f} | {high:.1f} | {high / usual:.1f} | {over} |")
    return "\n".join(lines)


def main() -> None:
    """Run one part and print what it returns, or measure routers and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--router", type=Path, action="append", default=[], help="measure this one; repeatable"
    )
    parser.add_argument("--cache", type=Path, help="keeps encoders and embeddings between runs")
    parser.add_argument(
        "--processor", action="store_true", help="measure processor time: on a busy machine others add to p99"
    )
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    print("; ".join(f"{name} {value}" for name, value in machine().items()), file=sys.stderr)
    clock = "thread_time" if options.processor else "perf_counter"
    with tempfile.TemporaryDirectory(prefix="pointsman-bounded-") as folder:
        for router in options.router or trained(Path(folder), options.cache):
            print(f"\n{router.name}\n\n{table(in_fresh_process(MODULE, 'timed', router, clock))}")


if __name__ == "__main__":
    main()
