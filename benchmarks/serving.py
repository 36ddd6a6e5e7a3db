"""The cost of a router in an application: beside LiteLLM alone, and with many threads."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figure, figure, in_fresh_process, machine, show, stay_on_one_core
from benchmarks.speed import MESSAGES

MODULE = "benchmarks.serving"
TURNS = 500
REPEATS = 5
DECISIONS = 1_600
ANSWER = "It will be there tomorrow."


def overhead(router: str) -> dict[str, list[float]]:
    """Milliseconds of a mocked call by LiteLLM, of the same by the router, and of the encoder; on one core.

    Turn by turn, so that a busy moment touches all three. The router keeps its log in SQLite meanwhile.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    from router import Request, Router

    stay_on_one_core()
    request = Request.of(MESSAGES)
    with tempfile.TemporaryDirectory() as folder, Router.load(router, log=Path(folder, "calls.db")) as loaded:
        model = loaded.route(MESSAGES).model
        steps: dict[str, Callable[[], object]] = {
            "litellm": lambda: litellm.completion(model=model, messages=MESSAGES, mock_response=ANSWER),
            "router": lambda: loaded.completion(messages=MESSAGES, mock_response=ANSWER),
            "encoder": lambda: loaded.version.encode(request),
        }
        spent: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(TURNS + 20):
            for name, step in steps.items():
                began = time.perf_counter()
                step()
                if turn >= 20:
                    spent[name].append(1e3 * (time.perf_counter() - began))
    return spent


def threads(router: str) -> list[tuple[float, float]]:
    """Decisions a second from one thread and from eight, turn by turn; on at most two cores."""
    from router import Router

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))
    loaded = Router.load(router)
    loaded.route(MESSAGES)
    return [(_rate(loaded, 1), _rate(loaded, 8)) for _ in range(REPEATS)]


def coroutines(router: str) -> list[float]:
    """Mocked completions a second from 200 coroutines at once."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from router import Router

    async def burst(loaded: Router) -> float:
        began = time.perf_counter()
        calls = [loaded.acompletion(messages=MESSAGES, mock_response=ANSWER) for _ in range(200)]
        await asyncio.gather(*calls)
        return 200 / (time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder, Router.load(router, log=Path(folder, "calls.db")) as loaded:
        asyncio.run(burst(loaded))
        return [asyncio.run(burst(loaded)) for _ in range(REPEATS)]


PARTS: Mapping[str, Callable[..., Any]] = {part.__name__: part for part in (overhead, threads, coroutines)}


def _rate(loaded: Any, workers: int) -> float:  # noqa: ANN401 - a Router
    """Decisions a second, from so many threads."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: loaded.route(MESSAGES), range(workers)))
        began = time.perf_counter()
        list(pool.map(lambda _: loaded.route(MESSAGES), range(DECISIONS)))
        return DECISIONS / (time.perf_counter() - began)


def measure(name: str, router: Path) -> Iterator[Figure]:
    """Every figure of one router."""
    spent = in_fresh_process(MODULE, "overhead", router)
    for step, title in (
        ("litellm", "LiteLLM alone"),
        ("router", "through the router"),
        ("encoder", "the encoder"),
    ):
        yield figure(f"{name}: a mocked completion, {title}", "ms", spent[step])
    turns = zip(spent["router"], spent["litellm"], spent["encoder"], strict=True)
    added = [routed - plain - encoding for routed, plain, encoding in turns]
    yield figure(f"{name}: added by the router, without the encoder", "ms", added, 1.0)
    rates = in_fresh_process(MODULE, "threads", router)
    yield figure(f"{name}: decisions a second, 1 thread", "/s", [one for one, _ in rates])
    yield figure(f"{name}: decisions a second, 8 threads", "/s", [eight for _, eight in rates])
    ratios = [eight / one for one, eight in rates]
    yield figure(f"{name}: 8 threads over 1 (at least 1.6 wanted)", "", ratios)
    yield figure(
        f"{name}: completions a second, 200 coroutines", "/s", in_fresh_process(MODULE, "coroutines", router)
    )


def main() -> None:
    """Run one part and print what it returns, or all of them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--router", type=Path, action="append", default=[], help="measure this one; repeatable"
    )
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*options.part[1:])))
        return
    figures = [
        one for router in options.router or [Path("models/demo")] for one in measure(router.name, router)
    ]
    show(machine(), figures)


if __name__ == "__main__":
    main()
